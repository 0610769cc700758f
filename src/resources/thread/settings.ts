/** Settings of one thread that prctl(2) knows: the signal on its parent's death and no_new_privs, which cannot be taken back. */
import * as v from 'valibot';
import { u32 } from '../../image/schema.ts';
import { PR } from '../../kernel/abi/prctl.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import type { ThreadAspect } from '../resource.ts';

const schema = v.strictObject({ parentDeathSignal: v.pipe(u32, v.maxValue(64)), noNewPrivs: v.boolean() });

export const threadSettings: ThreadAspect<v.InferOutput<typeof schema>> = {
  name: 'settings',
  schema,
  collect: ({ batch }) => {
    const signal = batch.data(8);
    batch.call('read the parent death signal', SYS.prctl, PR.PR_GET_PDEATHSIG, signal.address);
    const noNewPrivs = batch.call('read no_new_privs', SYS.prctl, PR.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
    return () => ({ parentDeathSignal: signal.bytes.readUInt32LE(0), noNewPrivs: noNewPrivs.result === 1 });
  },
  restore: (state, { batch }) => {
    batch.call('set the parent death signal', SYS.prctl, PR.PR_SET_PDEATHSIG, state.parentDeathSignal);
    if (state.noNewPrivs) batch.call('set no_new_privs', SYS.prctl, PR.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  },
};
