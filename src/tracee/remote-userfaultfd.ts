/** A userfaultfd of a target's memory that is ours at once: it is never left in the target's table, whatever becomes of us. */
import { OPEN } from '../kernel/abi/fcntl.ts';
import { SOCKET } from '../kernel/abi/socket.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import { startUserfaultfd } from '../kernel/calls/userfaultfd.ts';
import type { OwnedFd } from '../kernel/owned-fd.ts';
import { listProcNumbers } from '../procfs/proc-file.ts';
import type { Agent } from './agent.ts';
import { CallBatch } from './call-batch.ts';

/**
 * Undefined where the kernel does not have it, or does not let the target have it, as its seccomp filter may. All threads must stand still: the number that the descriptor
 * has in the target for a moment is known beforehand, so that one batch makes, sends and closes it. `flags`: of userfaultfd(2).
 */
export function makeUserfaultfd(agent: Agent, flags: number, features: number): OwnedFd | undefined {
  const taken = new Set(listProcNumbers(agent.pid, 'fd'));
  let number = 0;
  while (taken.has(number)) number++;
  const { guard } = agent.task;
  // A filter that answers it when we are dead would have the batch close what the program has opened under that number.
  if (
    guard !== undefined &&
    guard.treatmentOf({ number: SYS.userfaultfd, args: [OPEN.O_CLOEXEC | flags] }) !== 'made'
  ) {
    return undefined;
  }
  const batch = new CallBatch(agent);
  batch.tryCall('make a userfaultfd', SYS.userfaultfd, OPEN.O_CLOEXEC | flags);
  const message = descriptorMessage(batch, number);
  batch.tryCall('send the userfaultfd', SYS.sendmsg, agent.doorbellNumber, message, SOCKET.MSG_NOSIGNAL);
  batch.tryCall('close the userfaultfd', SYS.close, number);
  let arrived: OwnedFd | undefined;
  batch.runBy((calls, dataBytes) => {
    arrived = agent.runBatchThatSends(calls, dataBytes);
  });
  if (arrived === undefined) return undefined;
  try {
    startUserfaultfd(arrived.number, features);
    return arrived;
  } catch {
    arrived.close();
    return undefined;
  }
}

/** struct msghdr with one byte and one descriptor: recvmsg(2), unix(7). */
function descriptorMessage(batch: CallBatch, fd: number): number {
  const byte = batch.data(8);
  const iov = batch.data(16);
  iov.bytes.writeBigUInt64LE(BigInt(byte.address), 0);
  iov.bytes.writeBigUInt64LE(1n, 8);
  const control = batch.data(24);
  control.bytes.writeBigUInt64LE(20n, 0);
  control.bytes.writeInt32LE(SOCKET.SOL_SOCKET, 8);
  control.bytes.writeInt32LE(SOCKET.SCM_RIGHTS, 12);
  control.bytes.writeInt32LE(fd, 16);
  const message = batch.data(56);
  message.bytes.writeBigUInt64LE(BigInt(iov.address), 16);
  message.bytes.writeBigUInt64LE(1n, 24);
  message.bytes.writeBigUInt64LE(BigInt(control.address), 32);
  message.bytes.writeBigUInt64LE(20n, 40);
  return message.address;
}
