/**
 * What the kernel keeps of a thread's own memory: the robust futex list (get_robust_list(2)), the address it clears when
 * the thread ends (set_tid_address(2), read with PR_GET_TID_ADDRESS) and the restartable sequence (rseq(2), read with
 * PTRACE_GET_RSEQ_CONFIGURATION). rseq is registered last of all, because the kernel writes to the address at once.
 */
import * as v from 'valibot';
import { u32, u64 } from '../../image/schema.ts';
import { PR } from '../../kernel/abi/prctl.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import { getRseqConfiguration } from '../../kernel/calls/ptrace.ts';
import { getRobustList } from '../../kernel/calls/task-attributes.ts';
import type { ThreadAspect } from '../resource.ts';

const rseq = v.strictObject({ address: u64, sizeBytes: u32, signature: u32 });
const schema = v.strictObject({ robustList: u64, robustListSize: u64, clearTid: u64, rseq });
type ThreadPointers = v.InferOutput<typeof schema>;

export const threadPointers: ThreadAspect<ThreadPointers> = {
  name: 'threadPointers',
  schema,
  collect: ({ tid, batch }) => {
    const robust = getRobustList(tid);
    const { address = 0, sizeBytes = 0, signature = 0 } = getRseqConfiguration(tid) ?? {};
    const clearTid = batch.data(8);
    batch.call('read the address of the thread id', SYS.prctl, PR.PR_GET_TID_ADDRESS, clearTid.address);
    return () => ({
      robustList: BigInt(robust.address),
      robustListSize: BigInt(robust.sizeBytes),
      clearTid: clearTid.bytes.readBigUInt64LE(0),
      rseq: {
        address: BigInt(address),
        sizeBytes: address === 0 ? 0 : sizeBytes,
        signature: address === 0 ? 0 : signature,
      },
    });
  },
  restore: (state, { batch }) => {
    if (state.robustList !== 0n) {
      batch.call('set the robust futex list', SYS.set_robust_list, state.robustList, state.robustListSize);
    }
    batch.call('set the address of the thread id', SYS.set_tid_address, state.clearTid);
    if (state.rseq.address !== 0n) {
      const { address, sizeBytes, signature } = state.rseq;
      batch.call('register the restartable sequence', SYS.rseq, address, sizeBytes, 0, signature);
    }
  },
};
