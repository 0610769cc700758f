/** Which process group a terminal belongs to: tcgetpgrp(3), tcsetpgrp(3). */
import type { LocalFd } from '../../support/brand.ts';
import { IOCTL } from '../abi/ioctl.ts';
import { SIGNAL } from '../abi/signal.ts';
import { SYS } from '../abi/syscall.ts';
import { rawSyscall } from '../ffi.ts';
import { newCall, scratch } from '../scratch.ts';

/** The foreground process group; undefined if this is not our controlling terminal. */
export function foregroundGroup(terminal: LocalFd): number | undefined {
  newCall();
  const group = scratch(4);
  if (rawSyscall(SYS.ioctl, terminal, IOCTL.TIOCGPGRP, group.address) < 0) return undefined;
  return group.view.getInt32(0, true);
}

/**
 * Puts a group of our session into the foreground; false if that cannot be. A caller in the background would be stopped by
 * SIGTTOU, unless it is blocked.
 */
export function trySetForegroundGroup(terminal: LocalFd, group: number): boolean {
  newCall();
  const wanted = scratch(4);
  wanted.view.setInt32(0, group, true);
  const masks = scratch(16);
  masks.view.setBigUint64(0, 1n << BigInt(SIGNAL.SIGTTOU - 1), true);
  rawSyscall(SYS.rt_sigprocmask, SIGNAL.SIG_BLOCK, masks.address, masks.address + 8, 8);
  const result = rawSyscall(SYS.ioctl, terminal, IOCTL.TIOCSPGRP, wanted.address);
  rawSyscall(SYS.rt_sigprocmask, SIGNAL.SIG_SETMASK, masks.address + 8, 0, 8);
  return result === 0;
}
