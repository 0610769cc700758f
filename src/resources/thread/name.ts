/** The thread's name (comm): PR_SET_NAME, 15 bytes. Set from inside, because /proc takes it only from the same process. */
import * as v from 'valibot';
import { boundedString } from '../../image/schema.ts';
import { PR } from '../../kernel/abi/prctl.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import type { ThreadAspect } from '../resource.ts';

const COMM_SIZE = 16;

const schema = v.strictObject({ comm: boundedString(COMM_SIZE * 4) });

export const threadName: ThreadAspect<{ comm: string }> = {
  name: 'name',
  schema,
  collect: ({ batch }) => {
    const data = batch.data(COMM_SIZE);
    batch.call('read the name', SYS.prctl, PR.PR_GET_NAME, data.address);
    // Names are bytes: latin1 keeps every one of them.
    return () => ({ comm: data.bytes.subarray(0, data.bytes.indexOf(0)).toString('latin1') });
  },
  restore: (state, { batch }) => {
    const bytes = Buffer.alloc(COMM_SIZE);
    bytes.write(state.comm, 'latin1');
    batch.call('set the name', SYS.prctl, PR.PR_SET_NAME, batch.bytes(bytes).address);
  },
};
