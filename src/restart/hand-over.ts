/**
 * Descriptors of ours to the process that is being rebuilt: SCM_RIGHTS over the doorbell of its agent (unix(7)); what the kernel passes in no message, the
 * process takes from us.
 */
import { FCNTL } from '../kernel/abi/fcntl.ts';
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

/**
 * The process takes descriptors of ours (pidfd_getfd(2)), each to the lowest free number; `place` is called for each when it is there. Needs the right
 * to trace us, which a process that has no fewer rights than we have has.
 */
export function takeByHandle(
  receiver: DescriptorReceiver,
  fds: readonly LocalFd[],
  place: (index: number, number: number, batch: CallBatch) => void = () => {},
): number[] {
  if (fds.length === 0) return [];
  const batch = new CallBatch(receiver);
  const opened = batch.call('open a handle of the restart', SYS.pidfd_open, process.pid, 0);
  batch.run();
  // Out of the way of what is taken.
  const handle = batch.call('move a handle', SYS.fcntl, opened.result, FCNTL.F_DUPFD_CLOEXEC, receiver.doorbellNumber);
  batch.call('close a handle', SYS.close, opened.result);
  batch.run();
  const numbers = fds.map((fd, index) => {
    const taken = batch.call('take a descriptor', SYS.pidfd_getfd, handle.result, fd, 0);
    batch.run();
    place(index, taken.result, batch);
    batch.run();
    return taken.result;
  });
  batch.call('close a handle', SYS.close, handle.result);
  batch.run();
  return numbers;
}

/** As {@link handOver}, or as {@link takeByHandle} what `byHandle` says. */
export function handOverEither(
  receiver: DescriptorReceiver,
  passed: readonly { readonly fd: LocalFd; readonly byHandle: boolean }[],
): number[] {
  const those = (which: boolean): LocalFd[] => passed.flatMap(({ fd, byHandle }) => (byHandle === which ? [fd] : []));
  const inMessages = handOver(receiver, those(false));
  const taken = takeByHandle(receiver, those(true));
  return passed.map(({ byHandle }) => (byHandle ? taken : inMessages).shift() ?? -1);
}
