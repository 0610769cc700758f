/** membarrier(2). */
import { defineAbi } from './define-abi.ts';

/** Younger than the headers of some systems; each names the kernel and the header that brought it. */
const NEWER_MEMBARRIER = {
  /** Linux 6.3, linux/membarrier.h */
  MEMBARRIER_CMD_GET_REGISTRATIONS: 0x200,
} as const;

export const MEMBARRIER = {
  MEMBARRIER_CMD_QUERY: 0,
  MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED: 0x4,
  MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED: 0x10,
  MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE: 0x40,
  MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ: 0x100,
  ...NEWER_MEMBARRIER,
} as const;

export const membarrierAbi = defineAbi({
  headers: ['linux/membarrier.h'],
  constants: { ...MEMBARRIER },
  unlisted: NEWER_MEMBARRIER,
  structs: {},
});
