/** Robust futex lists: get_robust_list(2), set_robust_list(2); and the bits of a futex word. */
import { defineAbi } from './define-abi.ts';

export const FUTEX = {
  FUTEX_WAIT: 0x0,
  FUTEX_WAKE: 0x1,
  FUTEX_FD: 0x2,
  FUTEX_REQUEUE: 0x3,
  FUTEX_CMP_REQUEUE: 0x4,
  FUTEX_WAKE_OP: 0x5,
  FUTEX_LOCK_PI: 0x6,
  FUTEX_UNLOCK_PI: 0x7,
  FUTEX_TRYLOCK_PI: 0x8,
  FUTEX_WAIT_BITSET: 0x9,
  FUTEX_WAKE_BITSET: 0xa,
  FUTEX_WAIT_REQUEUE_PI: 0xb,
  FUTEX_CMP_REQUEUE_PI: 0xc,
  FUTEX_LOCK_PI2: 0xd,
  FUTEX_PRIVATE_FLAG: 0x80,
  FUTEX_CLOCK_REALTIME: 0x100,
  FUTEX_WAITERS: 0x80000000,
  FUTEX_OWNER_DIED: 0x40000000,
  FUTEX_TID_MASK: 0x3fffffff,
} as const;

export const futexAbi = defineAbi({
  headers: ['linux/futex.h'],
  constants: { ...FUTEX },
  structs: {
    robust_list_head: {
      size: 24,
      fields: {
        'list.next': [0, 'addr'],
        futex_offset: [8, 'i64'],
        list_op_pending: [16, 'addr'],
      },
    },
  },
});
