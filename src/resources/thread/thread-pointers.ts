/**
 * What the kernel keeps of a thread's own memory: the robust futex list (get_robust_list(2)), the address it clears when
 * the thread ends (set_tid_address(2), read with PR_GET_TID_ADDRESS) and the restartable sequence (rseq(2), read with
 * PTRACE_GET_RSEQ_CONFIGURATION). A 32-bit program has a robust list of its own kind, beside the other. rseq is registered last of all, because the kernel writes to the address at once.
 */
import * as v from 'valibot';
import { u32, u64 } from '../../image/schema.ts';
import { PR } from '../../kernel/abi/prctl.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import { SYS_I386 } from '../../kernel/abi/syscall-i386.ts';
import { getRseqConfiguration } from '../../kernel/calls/ptrace.ts';
import { getRobustList } from '../../kernel/calls/task-attributes.ts';
import type { ThreadAspect } from '../resource.ts';

const rseq = v.strictObject({ address: u64, sizeBytes: u32, signature: u32 });
const schema = v.strictObject({
  robustList: u64,
  robustListSize: u64,
  /** Only of a 32-bit program; 0 for none. Images from before them do not have it. */
  compatRobustList: v.optional(u32, 0),
  clearTid: u64,
  rseq,
});
/** sizeof(struct compat_robust_list_head), linux/compat.h. */
const COMPAT_ROBUST_LIST_SIZE = 12;
type ThreadPointers = v.InferOutput<typeof schema>;

export const threadPointers: ThreadAspect<ThreadPointers> = {
  name: 'threadPointers',
  schema,
  collect: ({ tid, batch, is32Bit }) => {
    const robust = getRobustList(tid);
    const { address = 0, sizeBytes = 0, signature = 0 } = getRseqConfiguration(tid) ?? {};
    const clearTid = batch.data(8);
    batch.call('read the address of the thread id', SYS.prctl, PR.PR_GET_TID_ADDRESS, clearTid.address);
    const compat = batch.data(8);
    if (is32Bit) {
      const { address: head } = compat;
      batch.callI386('read the robust futex list', SYS_I386.get_robust_list, 0, head, head + 4);
    }
    return () => ({
      robustList: BigInt(robust.address),
      robustListSize: BigInt(robust.sizeBytes),
      compatRobustList: compat.bytes.readUInt32LE(0),
      clearTid: clearTid.bytes.readBigUInt64LE(0),
      rseq: {
        address: BigInt(address),
        sizeBytes: address === 0 ? 0 : sizeBytes,
        signature: address === 0 ? 0 : signature,
      },
    });
  },
  touches: ({ robustList, compatRobustList, clearTid, rseq: { address } }) => [
    robustList,
    BigInt(compatRobustList),
    clearTid,
    address,
  ],
  restore: (state, { batch }) => {
    if (state.robustList !== 0n) {
      batch.call('set the robust futex list', SYS.set_robust_list, state.robustList, state.robustListSize);
    }
    if (state.compatRobustList !== 0) {
      const { set_robust_list } = SYS_I386;
      batch.callI386('set the robust futex list', set_robust_list, state.compatRobustList, COMPAT_ROBUST_LIST_SIZE);
    }
    batch.call('set the address of the thread id', SYS.set_tid_address, state.clearTid);
    if (state.rseq.address !== 0n) {
      const { address, sizeBytes, signature } = state.rseq;
      batch.call('register the restartable sequence', SYS.rseq, address, sizeBytes, 0, signature);
    }
  },
};
