/** Pseudo-terminals: ioctl_tty(2), TIOCGPTPEER(2const), pts(4). What is asked here changes nothing. */
import type { LocalFd } from '../../support/brand.ts';
import { ERRNO } from '../abi/errno.ts';
import { FCNTL, OPEN } from '../abi/fcntl.ts';
import { IOCTL } from '../abi/ioctl.ts';
import { SYS } from '../abi/syscall.ts';
import { check } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { OwnedFd } from '../owned-fd.ts';
import { newCall, scratch } from '../scratch.ts';
import { fcntl } from './descriptors.ts';

const TERMIOS2_SIZE = 44;
const WINDOW_SIZE = 8;

/** struct winsize. */
export interface WindowSize {
  readonly rows: number;
  readonly columns: number;
  readonly xPixels: number;
  readonly yPixels: number;
}

const doing = (what: string): { doing: string } => ({ doing: `${what} of a terminal` });

/** An ioctl that answers with an int. */
export function askTerminal(fd: LocalFd, request: number, what: string): number {
  newCall();
  const answer = scratch(4);
  check('ioctl', rawSyscall(SYS.ioctl, fd, request, answer.address), doing(`ask for the ${what}`));
  return answer.view.getInt32(0, true);
}

/** An ioctl that takes a pointer to an int. */
export function tellTerminal(fd: LocalFd, request: number, value: number, what: string): void {
  newCall();
  const argument = scratch(4);
  argument.view.setInt32(0, value, true);
  check('ioctl', rawSyscall(SYS.ioctl, fd, request, argument.address), doing(`set the ${what}`));
}

/** TIOCEXCL: nobody else may open it. */
export function makeExclusive(fd: LocalFd): void {
  check('ioctl', rawSyscall(SYS.ioctl, fd, IOCTL.TIOCEXCL, 0), doing('set the exclusive mode'));
}

/** struct termios2, whole. Asked of a master it is that of the slave. */
export function terminalSettings(fd: LocalFd): Buffer {
  newCall();
  const settings = scratch(TERMIOS2_SIZE);
  check('ioctl', rawSyscall(SYS.ioctl, fd, IOCTL.TCGETS2, settings.address), doing('ask for the settings'));
  return Buffer.from(settings.bytes);
}

export function setTerminalSettings(fd: LocalFd, content: Uint8Array): void {
  newCall();
  const settings = scratch(TERMIOS2_SIZE);
  settings.bytes.set(content);
  check('ioctl', rawSyscall(SYS.ioctl, fd, IOCTL.TCSETS2, settings.address), doing('set the settings'));
}

/** TCXONC: stops or starts its output. */
export function controlFlow(fd: LocalFd, action: number): void {
  check('ioctl', rawSyscall(SYS.ioctl, fd, IOCTL.TCXONC, action), doing('stop the output'));
}

/** How many bytes it took; undefined if it has no room now. */
export function tryWriteTerminal(fd: LocalFd, content: Uint8Array): number | undefined {
  newCall();
  const bytes = scratch(content.length);
  bytes.bytes.set(content);
  const written = rawSyscall(SYS.write, fd, bytes.address, content.length);
  return written === -ERRNO.EAGAIN ? undefined : check('write', written, doing('write to one end'));
}

/** struct termios of the lock bits (TIOCGLCKTRMIOS): all zero where nobody has locked any. */
export function hasLockedSettings(fd: LocalFd): boolean {
  newCall();
  const locks = scratch(TERMIOS2_SIZE);
  check('ioctl', rawSyscall(SYS.ioctl, fd, IOCTL.TIOCGLCKTRMIOS, locks.address), doing('ask for locked settings'));
  return locks.bytes.some((byte) => byte !== 0);
}

export function windowSize(fd: LocalFd): WindowSize {
  newCall();
  const size = scratch(WINDOW_SIZE);
  check('ioctl', rawSyscall(SYS.ioctl, fd, IOCTL.TIOCGWINSZ, size.address), doing('ask for the window size'));
  const [rows = 0, columns = 0, xPixels = 0, yPixels = 0] = [0, 2, 4, 6].map((at) => size.view.getUint16(at, true));
  return { rows, columns, xPixels, yPixels };
}

export function setWindowSize(fd: LocalFd, { rows, columns, xPixels, yPixels }: WindowSize): void {
  newCall();
  const size = scratch(WINDOW_SIZE);
  [rows, columns, xPixels, yPixels].forEach((value, index) => {
    size.view.setUint16(index * 2, value, true);
  });
  check('ioctl', rawSyscall(SYS.ioctl, fd, IOCTL.TIOCSWINSZ, size.address), doing('set the window size'));
}

/**
 * The slave of a master (Linux 4.13), which must not be locked. It becomes nobody's controlling terminal. O_CLOEXEC would stay among
 * the flags of the description for good, and F_GETFL and fdinfo would show it under every number (seen on 6.18).
 */
export function openPeer(master: LocalFd, flags: number): OwnedFd {
  const fd = rawSyscall(SYS.ioctl, master, IOCTL.TIOCGPTPEER, flags | OPEN.O_NOCTTY);
  const peer = new OwnedFd(check('ioctl', fd, { doing: 'open the slave of a pseudo-terminal' }));
  fcntl(peer.number, FCNTL.F_SETFD, FCNTL.FD_CLOEXEC, 'set a flag of a terminal');
  return peer;
}
