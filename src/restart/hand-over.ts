/** Descriptors of ours to the process that is being rebuilt: SCM_RIGHTS over the doorbell of its agent (unix(7)). */
import { SYS } from '../kernel/abi/syscall.ts';
import { MAX_DESCRIPTORS_PER_MESSAGE } from '../kernel/calls/descriptors.ts';
import type { LocalFd } from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';
import type { DescriptorReceiver } from '../tracee/agent.ts';
import { CallBatch } from '../tracee/call-batch.ts';

/** Sends descriptors of ours; the result are their numbers in the process, the lowest free ones in order. */
export function handOver(receiver: DescriptorReceiver, fds: readonly LocalFd[]): number[] {
  const numbers: number[] = [];
  for (let index = 0; index < fds.length; index += MAX_DESCRIPTORS_PER_MESSAGE) {
    numbers.push(...handOverMessage(receiver, fds.slice(index, index + MAX_DESCRIPTORS_PER_MESSAGE)));
  }
  return numbers;
}

function handOverMessage(receiver: DescriptorReceiver, fds: readonly LocalFd[]): number[] {
  const batch = new CallBatch(receiver.receiving([fds]));
  const byte = batch.data(8);
  const iov = batch.data(16);
  iov.bytes.writeBigUInt64LE(BigInt(byte.address), 0);
  iov.bytes.writeBigUInt64LE(1n, 8);
  const controlBytes = 16 + fds.length * 4;
  const control = batch.data((controlBytes + 7) & ~7);
  const message = batch.data(56);
  message.bytes.writeBigUInt64LE(BigInt(iov.address), 16);
  message.bytes.writeBigUInt64LE(1n, 24);
  message.bytes.writeBigUInt64LE(BigInt(control.address), 32);
  message.bytes.writeBigUInt64LE(BigInt(control.bytes.length), 40);
  batch.call('receive descriptors', SYS.recvmsg, receiver.doorbellNumber, message.address, 0);
  batch.run();
  const received = (Number(control.bytes.readBigUInt64LE(0)) - 16) / 4;
  if (received !== fds.length)
    throw new QuicksaveError('descriptors-lost', 'Not all descriptors arrived in the new process.');
  return fds.map((_, index) => control.bytes.readInt32LE(16 + index * 4));
}
