/** userfaultfd(2): its ioctls, which work on the memory of whoever made the descriptor, whoever has it now. */
import type { LocalFd } from '../../support/brand.ts';
import { ERRNO } from '../abi/errno.ts';
import { SYS } from '../abi/syscall.ts';
import { UFFD } from '../abi/userfaultfd.ts';
import { check, isFailure } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { newCall, scratch } from '../scratch.ts';

/** Must be first. Throws KernelError EINVAL where a feature is missing. */
export function startUserfaultfd(uffd: LocalFd, features: number): void {
  newCall();
  const api = scratch(24);
  api.view.setBigUint64(0, BigInt(UFFD.UFFD_API), true);
  api.view.setBigUint64(8, BigInt(features), true);
  check('ioctl(UFFDIO_API)', rawSyscall(SYS.ioctl, uffd, UFFD.UFFDIO_API, api.address), {
    doing: 'begin with a userfaultfd',
  });
}

/** False where the kernel does not take this memory. */
export function tryRegister(uffd: LocalFd, start: number, sizeBytes: number, mode: number): boolean {
  newCall();
  const range = scratch(32);
  range.view.setBigUint64(0, BigInt(start), true);
  range.view.setBigUint64(8, BigInt(sizeBytes), true);
  range.view.setBigUint64(16, BigInt(mode), true);
  return !isFailure(rawSyscall(SYS.ioctl, uffd, UFFD.UFFDIO_REGISTER, range.address));
}

/** How far a copy came. `errno`: why not further, negative; 0 if all is there. */
export interface CopyResult {
  readonly copiedBytes: number;
  readonly errno: number;
}

/**
 * Puts pages of ours where there are none yet, and lets who waits for them go on. EAGAIN: an event waits to be read, and until then nothing is
 * put anywhere. ENOENT: the range is not in one registered mapping. EEXIST: a page is there. EFAULT: `from` cannot be read. ESRCH: the
 * memory is gone with its last process.
 */
export function copyInto(uffd: LocalFd, to: number, from: number, sizeBytes: number): CopyResult {
  newCall();
  const copy = scratch(40);
  copy.view.setBigUint64(0, BigInt(to), true);
  copy.view.setBigUint64(8, BigInt(from), true);
  copy.view.setBigUint64(16, BigInt(sizeBytes), true);
  const errno = rawSyscall(SYS.ioctl, uffd, UFFD.UFFDIO_COPY, copy.address);
  return { copiedBytes: Math.max(0, Number(copy.view.getBigInt64(32, true))), errno };
}

/** The same with zeros. */
export function zeroInto(uffd: LocalFd, to: number, sizeBytes: number): CopyResult {
  newCall();
  const zero = scratch(32);
  zero.view.setBigUint64(0, BigInt(to), true);
  zero.view.setBigUint64(8, BigInt(sizeBytes), true);
  const errno = rawSyscall(SYS.ioctl, uffd, UFFD.UFFDIO_ZEROPAGE, zero.address);
  return { copiedBytes: Math.max(0, Number(zero.view.getBigInt64(24, true))), errno };
}

/** Lets who waits for pages there look again. */
export function wakeWaiters(uffd: LocalFd, start: number, sizeBytes: number): void {
  newCall();
  const range = scratch(16);
  range.view.setBigUint64(0, BigInt(start), true);
  range.view.setBigUint64(8, BigInt(sizeBytes), true);
  rawSyscall(SYS.ioctl, uffd, UFFD.UFFDIO_WAKE, range.address);
}

export type MemoryEvent =
  | { readonly kind: 'fault'; readonly address: number }
  /** The child's memory has a descriptor of its own, which is ours. */
  | { readonly kind: 'fork'; readonly uffd: number }
  | { readonly kind: 'moved'; readonly from: number; readonly to: number; readonly sizeBytes: number }
  /** Dropped (madvise(2)) or unmapped. */
  | { readonly kind: 'gone'; readonly start: number; readonly end: number };

const MESSAGE_SIZE = 32;
const MESSAGES = 64;

/** What has happened, in its order, of a descriptor that does not block. Whoever caused an event other than a fault waits until it is read. */
export function readMemoryEvents(uffd: LocalFd): MemoryEvent[] {
  newCall();
  const room = scratch(MESSAGE_SIZE * MESSAGES);
  const length = rawSyscall(SYS.read, uffd, room.address, MESSAGE_SIZE * MESSAGES);
  if (length === -ERRNO.EAGAIN || length === -ERRNO.EINTR) return [];
  check('read', length, { doing: 'read what has happened to memory' });
  return Array.from({ length: length / MESSAGE_SIZE }, (_, index) => decodeEvent(room.view, index * MESSAGE_SIZE));
}

function decodeEvent(view: DataView, at: number): MemoryEvent {
  const word = (index: number): number => Number(view.getBigUint64(at + 8 + index * 8, true));
  const event = view.getUint8(at);
  if (event === UFFD.UFFD_EVENT_PAGEFAULT) return { kind: 'fault', address: word(1) };
  if (event === UFFD.UFFD_EVENT_FORK) return { kind: 'fork', uffd: view.getUint32(at + 8, true) };
  if (event === UFFD.UFFD_EVENT_REMAP) return { kind: 'moved', from: word(0), to: word(1), sizeBytes: word(2) };
  if (event === UFFD.UFFD_EVENT_REMOVE || event === UFFD.UFFD_EVENT_UNMAP)
    return { kind: 'gone', start: word(0), end: word(1) };
  throw new Error(`userfaultfd event ${event} is not known`);
}
