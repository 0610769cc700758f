/** System V shared memory: shmget(2), shmat(2), shmctl(2). */
import { defineAbi } from './define-abi.ts';

export const SHM = {
  IPC_PRIVATE: 0,
  IPC_CREAT: 0o1000,
  IPC_EXCL: 0o2000,
  IPC_RMID: 0,
  IPC_SET: 1,
  /** Of huge pages. */
  SHM_HUGETLB: 0o4000,
  SHM_RDONLY: 0o10000,
  SHM_LOCK: 11,
  SHM_UNLOCK: 12,
  /** Of the mode: removed, and there until nobody has it attached any more. */
  SHM_DEST: 0o1000,
  SHM_LOCKED: 0o2000,
} as const;

export const shmAbi = defineAbi({
  headers: ['sys/shm.h'],
  constants: { ...SHM },
  structs: {
    shmid_ds: {
      size: 112,
      fields: {
        'shm_perm.uid': [4, 'u32'],
        'shm_perm.gid': [8, 'u32'],
        'shm_perm.mode': [20, 'u32'],
      },
    },
  },
});
