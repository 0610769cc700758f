/** process_vm_readv(2) and process_vm_writev(2): many ranges of a target, one range of ours, one call. */
import type { LocalAddress, Pid, RemoteAddress } from '../../support/brand.ts';
import { SYS } from '../abi/syscall.ts';
import { check, KernelError } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { newCall, scratch } from '../scratch.ts';

export interface RemoteRange {
  readonly start: RemoteAddress;
  readonly sizeBytes: number;
}

/** UIO_MAXIOV, linux/uio.h. */
export const MAX_RANGES = 1024;

function transfer(
  call: number,
  name: string,
  pid: Pid,
  local: LocalAddress,
  ranges: readonly RemoteRange[],
  doing: string,
): void {
  let total = 0;
  newCall();
  const remote = scratch(16 * ranges.length);
  ranges.forEach((range, index) => {
    remote.view.setBigUint64(index * 16, BigInt(range.start), true);
    remote.view.setBigUint64(index * 16 + 8, BigInt(range.sizeBytes), true);
    total += range.sizeBytes;
  });
  const own = scratch(16);
  own.view.setBigUint64(0, BigInt(local), true);
  own.view.setBigUint64(8, BigInt(total), true);
  const moved = rawSyscall(call, pid, own.address, 1, remote.address, ranges.length, 0);
  check(name, moved, { doing, pid });
  // A short count means that a range was not there: EFAULT, which the kernel only reports for the first one.
  if (moved !== total) throw new KernelError(name, 14, { doing, pid });
}

/** Reads the ranges one behind the other into our memory. At most {@link MAX_RANGES} of them. */
export function readMemory(pid: Pid, into: LocalAddress, ranges: readonly RemoteRange[]): void {
  transfer(SYS.process_vm_readv, 'process_vm_readv', pid, into, ranges, 'read the memory');
}

/** Writes our memory into the ranges one behind the other. At most {@link MAX_RANGES} of them. */
export function writeMemory(pid: Pid, from: LocalAddress, ranges: readonly RemoteRange[]): void {
  transfer(SYS.process_vm_writev, 'process_vm_writev', pid, from, ranges, 'write the memory');
}
