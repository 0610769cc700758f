/** Locks that belong to an open file description: flock(2), and fcntl(2) with F_OFD_SETLK. */
import type { LocalFd } from '../../support/brand.ts';
import { ERRNO } from '../abi/errno.ts';
import { FCNTL } from '../abi/fcntl.ts';
import { SYS } from '../abi/syscall.ts';
import { check, KernelError } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { newCall, scratch } from '../scratch.ts';

/** Locks the whole file, or throws at once if somebody else has it. */
export function lockFile(fd: LocalFd, exclusive: boolean, path: string): void {
  const operation = (exclusive ? FCNTL.LOCK_EX : FCNTL.LOCK_SH) | FCNTL.LOCK_NB;
  check('flock', rawSyscall(SYS.flock, fd, operation), { doing: `lock ${path} again` });
}

/** As {@link lockFile}; false if somebody else has it. */
export function tryLockFile(fd: LocalFd, exclusive: boolean, path: string): boolean {
  try {
    lockFile(fd, exclusive, path);
    return true;
  } catch (error) {
    if (error instanceof KernelError && error.errno === ERRNO.EAGAIN) return false;
    throw error;
  }
}

/** Locks a range, given as struct flock, or throws at once if somebody else has it. */
export function lockRange(fd: LocalFd, flock: Uint8Array, path: string): void {
  newCall();
  const block = scratch(flock.length);
  block.bytes.set(flock);
  check('fcntl', rawSyscall(SYS.fcntl, fd, FCNTL.F_OFD_SETLK, block.address), { doing: `lock ${path} again` });
}
