/** System V semaphore sets and message queues, by their ids: semctl(2), msgctl(2), msgrcv(2). */
import { ERRNO } from '../abi/errno.ts';
import { SYS } from '../abi/syscall.ts';
import { IPC, MSG, messageAbi, SEM, semaphoreAbi } from '../abi/system-v.ts';
import { check } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { NativeMemory } from '../native-memory.ts';
import { newCall, scratch } from '../scratch.ts';
import { structOf } from '../struct.ts';

const semid = structOf(semaphoreAbi.structs.semid_ds);
const msqid = structOf(messageAbi.structs.msqid_ds);

interface Access {
  readonly owner: { readonly uid: number; readonly gid: number };
  /** Permission bits. */
  readonly mode: number;
}

/** Who has used a semaphore of a set last; 0: nobody yet. A negative errno where we may not read it, or it is gone. */
export const tryLastUser = (id: number, index: number): number => rawSyscall(SYS.semctl, id, index, SEM.GETPID, 0);

/** `count`: how many there are. */
export function semaphoreValues(id: number, count: number): number[] {
  newCall();
  const values = scratch(2 * count);
  const got = rawSyscall(SYS.semctl, id, 0, SEM.GETALL, values.address);
  check('semctl', got, { doing: `read the System V semaphores ${id}` });
  return Array.from({ length: count }, (_, index) => values.view.getUint16(2 * index, true));
}

export function setSemaphoreValues(id: number, values: readonly number[]): void {
  newCall();
  const block = scratch(2 * values.length);
  values.forEach((value, index) => {
    block.view.setUint16(2 * index, value, true);
  });
  const set = rawSyscall(SYS.semctl, id, 0, SEM.SETALL, block.address);
  check('semctl', set, { doing: `set the System V semaphores ${id}` });
}

export function setSemaphoreAccess(id: number, { owner, mode }: Access): void {
  newCall();
  const block = scratch(semid.size);
  semid.write(block.view, 0, { 'sem_perm.uid': owner.uid, 'sem_perm.gid': owner.gid, 'sem_perm.mode': mode });
  const set = rawSyscall(SYS.semctl, id, 0, IPC.IPC_SET, block.address);
  check('semctl', set, { doing: `set owner and mode of the System V semaphores ${id}` });
}

export function removeSemaphores(id: number): void {
  check('semctl', rawSyscall(SYS.semctl, id, 0, IPC.IPC_RMID, 0), { doing: `remove the System V semaphores ${id}` });
}

/** msg_qbytes: how many bytes may wait in it. */
export function queueCapacity(id: number): number {
  newCall();
  const block = scratch(msqid.size);
  check('msgctl', rawSyscall(SYS.msgctl, id, IPC.IPC_STAT, block.address), {
    doing: `look at the System V message queue ${id}`,
  });
  return Number(msqid.read(block.view).msg_qbytes);
}

/** More than msgmnb of proc_sys_kernel(5) takes CAP_SYS_RESOURCE: then the answer is -EPERM. */
export function trySetQueueAccess(
  id: number,
  { owner, mode, capacity }: Access & { readonly capacity: number },
): number {
  newCall();
  const block = scratch(msqid.size);
  const fields = { 'msg_perm.uid': owner.uid, 'msg_perm.gid': owner.gid, 'msg_perm.mode': mode };
  msqid.write(block.view, 0, { ...fields, msg_qbytes: BigInt(capacity) });
  return rawSyscall(SYS.msgctl, id, IPC.IPC_SET, block.address);
}

export function removeQueue(id: number): void {
  check('msgctl', rawSyscall(SYS.msgctl, id, IPC.IPC_RMID, 0), { doing: `remove the System V message queue ${id}` });
}

export interface Message {
  readonly type: bigint;
  readonly bytes: Buffer;
}

/** All that waits in a queue, which stays there: MSG_COPY, CONFIG_CHECKPOINT_RESTORE. `capacity`: that of the queue. */
export function copyMessages(id: number, capacity: number): Message[] {
  const memory = NativeMemory.allocate(8 + capacity);
  try {
    const found: Message[] = [];
    for (;;) {
      const flags = MSG.MSG_COPY | MSG.IPC_NOWAIT;
      const length = rawSyscall(SYS.msgrcv, id, memory.address, capacity, found.length, flags);
      if (length === -ERRNO.ENOMSG) return found;
      check('msgrcv', length, { doing: `look into the System V message queue ${id}` });
      const bytes = Buffer.from(memory.bytes.subarray(8, 8 + length));
      found.push({ type: memory.bytes.readBigInt64LE(0), bytes });
    }
  } finally {
    memory.free();
  }
}
