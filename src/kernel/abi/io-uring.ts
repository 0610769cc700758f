/** io_uring(7). */
import { defineAbi } from './define-abi.ts';

/** Younger than the headers of some systems; each names the kernel that brought it. */
const NEWER_IORING = {
  /** Linux 6.1 */
  IORING_SETUP_DEFER_TASKRUN: 0x2000,
  /** Linux 6.5 */
  IORING_SETUP_NO_MMAP: 0x4000,
  IORING_SETUP_REGISTERED_FD_ONLY: 0x8000,
  /** Linux 6.6 */
  IORING_SETUP_NO_SQARRAY: 0x1_0000,
  /** Linux 6.14 */
  IORING_SETUP_HYBRID_IOPOLL: 0x2_0000,
} as const;

export const IORING = {
  IORING_SETUP_IOPOLL: 0x1,
  IORING_SETUP_SQPOLL: 0x2,
  IORING_SETUP_SQ_AFF: 0x4,
  IORING_SETUP_CQSIZE: 0x8,
  IORING_SETUP_CLAMP: 0x10,
  IORING_SETUP_ATTACH_WQ: 0x20,
  IORING_SETUP_R_DISABLED: 0x40,
  IORING_SETUP_SUBMIT_ALL: 0x80,
  IORING_SETUP_COOP_TASKRUN: 0x100,
  IORING_SETUP_TASKRUN_FLAG: 0x200,
  IORING_SETUP_SQE128: 0x400,
  IORING_SETUP_CQE32: 0x800,
  IORING_SETUP_SINGLE_ISSUER: 0x1000,
  IORING_OFF_SQ_RING: 0,
  IORING_OFF_CQ_RING: 0x800_0000,
  IORING_OFF_SQES: 0x1000_0000,
  IORING_OP_NOP: 0,
  IOSQE_CQE_SKIP_SUCCESS: 0x40,
  IORING_ENTER_GETEVENTS: 0x1,
  IORING_REGISTER_EVENTFD: 4,
  IORING_REGISTER_EVENTFD_ASYNC: 7,
  IORING_REGISTER_FILES2: 13,
  IORING_REGISTER_FILES_UPDATE2: 14,
  IORING_REGISTER_BUFFERS2: 15,
  IORING_REGISTER_BUFFERS_UPDATE: 16,
  IORING_REGISTER_IOWQ_MAX_WORKERS: 19,
  IORING_REGISTER_FILE_ALLOC_RANGE: 25,
  IORING_RSRC_REGISTER_SPARSE: 1,
  ...NEWER_IORING,
} as const;

export const ioUringAbi = defineAbi({
  headers: ['linux/io_uring.h'],
  constants: { ...IORING },
  unlisted: { ...NEWER_IORING },
  structs: {
    io_uring_params: {
      size: 120,
      fields: {
        sq_entries: [0, 'u32'],
        cq_entries: [4, 'u32'],
        flags: [8, 'u32'],
        'sq_off.array': [64, 'u32'],
        'cq_off.cqes': [100, 'u32'],
      },
    },
    io_uring_sqe: {
      size: 64,
      fields: { opcode: [0, 'u8'], flags: [1, 'u8'] },
    },
    io_uring_cqe: {
      size: 16,
      fields: { user_data: [0, 'u64'] },
    },
    io_uring_file_index_range: {
      size: 16,
      fields: { off: [0, 'u32'], len: [4, 'u32'] },
    },
    io_uring_rsrc_register: {
      size: 32,
      fields: { nr: [0, 'u32'], flags: [4, 'u32'], data: [16, 'u64'], tags: [24, 'u64'] },
    },
    io_uring_rsrc_update2: {
      size: 32,
      fields: { offset: [0, 'u32'], data: [8, 'u64'], tags: [16, 'u64'], nr: [24, 'u32'] },
    },
  },
});
