/** System V semaphores and message queues: semctl(2), msgctl(2), msgrcv(2). */
import { defineAbi } from './define-abi.ts';

export const SEM = { GETPID: 11, GETALL: 13, SETVAL: 16, SETALL: 17, IPC_NOWAIT: 0o4000, SEM_UNDO: 0x1000 } as const;
export const MSG = { IPC_NOWAIT: 0o4000, MSG_COPY: 0o40000 } as const;
/** The three kinds have the same. */
export const IPC = {
  IPC_PRIVATE: 0,
  IPC_CREAT: 0o1000,
  IPC_EXCL: 0o2000,
  IPC_RMID: 0,
  IPC_SET: 1,
  IPC_STAT: 2,
} as const;

const permissions = (prefix: string): Record<string, readonly [number, 'u32']> => ({
  [`${prefix}.uid`]: [4, 'u32'],
  [`${prefix}.gid`]: [8, 'u32'],
  [`${prefix}.mode`]: [20, 'u32'],
});

export const semaphoreAbi = defineAbi({
  headers: ['sys/sem.h'],
  constants: { ...SEM },
  structs: { semid_ds: { size: 104, fields: { ...permissions('sem_perm') } } },
});

export const messageAbi = defineAbi({
  headers: ['sys/msg.h'],
  constants: { ...MSG },
  structs: { msqid_ds: { size: 120, fields: { ...permissions('msg_perm'), msg_qbytes: [88, 'u64'] } } },
});
