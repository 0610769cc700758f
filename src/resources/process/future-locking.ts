/**
 * mlockall(2) with MCL_FUTURE: whether mappings that the process will make are locked. The kernel shows it nowhere, but our
 * own mapping in the process has been made under it, and its VmFlags tell. Restored when nothing of ours is mapped any more
 * but the agent, which is unmapped whole.
 */
import * as v from 'valibot';
import { MLOCK } from '../../kernel/abi/mman.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import type { ProcessAspect } from '../resource.ts';

const schema = v.strictObject({ mode: v.picklist(['none', 'all', 'on-fault']) });

export const futureLocking: ProcessAspect<v.InferOutput<typeof schema>> = {
  name: 'futureLocking',
  schema,
  stage: 'late',
  belongsTo: 'memory',
  collect: ({ flagsOfNewMappings: flags }) => {
    return () => ({ mode: flags.includes('lf') ? 'on-fault' : flags.includes('lo') ? 'all' : 'none' });
  },
  restore: (state, { batch }) => {
    if (state.mode === 'none') return;
    const onFault = state.mode === 'on-fault' ? MLOCK.MCL_ONFAULT : 0;
    batch.call('lock what will be mapped', SYS.mlockall, MLOCK.MCL_FUTURE | onFault);
  },
};
