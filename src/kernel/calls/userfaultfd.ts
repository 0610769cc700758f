/** userfaultfd(2): its ioctls, which work on the memory of whoever made the descriptor, whoever has it now. */
import type { LocalFd } from '../../support/brand.ts';
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
