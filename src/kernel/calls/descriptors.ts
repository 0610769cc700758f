/** Descriptors: our own, and duplicates of a target's. A duplicate is the same open file description, not a new one. */
import type { LocalFd, Pid, RemoteFd, Tid } from '../../support/brand.ts';
import { ERRNO, errnoName } from '../abi/errno.ts';
import { FCNTL, OPEN } from '../abi/fcntl.ts';
import { KCMP } from '../abi/fs.ts';
import { SOCKET } from '../abi/socket.ts';
import { SYS } from '../abi/syscall.ts';
import { check, isFailure, KernelError } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { OwnedFd } from '../owned-fd.ts';
import { cString, newCall, scratch } from '../scratch.ts';

/** PIDFD_THREAD of linux/pidfd.h, Linux 6.9. */
const PIDFD_THREAD = OPEN.O_EXCL;

/**
 * pidfd_open(2). Undefined if there is no such process. Of a thread that is no leader: its own descriptor table is what
 * {@link duplicateFrom} takes from then; before Linux 6.9 there is none, and this throws.
 */
export function tryOpenPidfd(pid: Pid): OwnedFd | undefined {
  let fd = rawSyscall(SYS.pidfd_open, pid, 0);
  // EINVAL before Linux 6.15 (pidfd_prepare() in the kernel).
  if (fd === -ERRNO.ENOENT || fd === -ERRNO.EINVAL) fd = rawSyscall(SYS.pidfd_open, pid, PIDFD_THREAD);
  if (fd === -ERRNO.ESRCH) return undefined;
  return new OwnedFd(check('pidfd_open', fd, { doing: 'open a handle', pid }));
}

/** Linux 6.9: asked of a thread. */
export function hasThreadPidfd(tid: Tid): boolean {
  const fd = rawSyscall(SYS.pidfd_open, tid, PIDFD_THREAD);
  if (!isFailure(fd)) new OwnedFd(fd).close();
  return fd !== -ERRNO.EINVAL;
}

/** pidfd_getfd(2), Linux 5.6: our duplicate of a target's descriptor, close-on-exec. */
export function duplicateFrom(pidfd: LocalFd, fd: RemoteFd, pid: Pid): OwnedFd {
  const own = rawSyscall(SYS.pidfd_getfd, pidfd, fd, 0);
  return new OwnedFd(check('pidfd_getfd', own, { doing: `take a duplicate of descriptor ${fd}`, pid }));
}

/** A connected pair of unix sockets that keep message borders, close-on-exec. */
export function newDoorbell(): { ours: OwnedFd; theirs: OwnedFd } {
  newCall();
  const pair = scratch(8);
  const type = SOCKET.SOCK_SEQPACKET | SOCKET.SOCK_CLOEXEC;
  check('socketpair', rawSyscall(SYS.socketpair, SOCKET.AF_UNIX, type, 0, pair.address), { doing: 'make a doorbell' });
  return { ours: new OwnedFd(pair.view.getInt32(0, true)), theirs: new OwnedFd(pair.view.getInt32(4, true)) };
}

/** open(2) with the caller's rights. */
export function openFile(path: string, flags: number, mode = 0): OwnedFd {
  newCall();
  const name = cString(path);
  const fd = rawSyscall(SYS.openat, FCNTL.AT_FDCWD, name.address, flags | OPEN.O_CLOEXEC, mode);
  return new OwnedFd(check('openat', fd, { doing: `open ${path}` }));
}

/** {@link openFile} that expects to fail. */
export function tryOpenFile(path: string, flags: number): OwnedFd | undefined {
  newCall();
  const fd = rawSyscall(SYS.openat, FCNTL.AT_FDCWD, cString(path).address, flags | OPEN.O_CLOEXEC, 0);
  return isFailure(fd) ? undefined : new OwnedFd(fd);
}

/**
 * faccessat2(2), Linux 5.8, asked with the effective ids: whether the kernel would refuse `mode` (R_OK, W_OK, X_OK) of that path for lack of rights, or
 * because its file system is read-only. The errno's name; undefined if it would not, or cannot be asked. Unlike open(2) it breaks no lease and tells no watch.
 */
export function whyNoAccess(path: string, mode: number): string | undefined {
  newCall();
  const answer = rawSyscall(SYS.faccessat2, FCNTL.AT_FDCWD, cString(path).address, mode, FCNTL.AT_EACCESS);
  return REFUSALS.has(-answer) ? errnoName(-answer) : undefined;
}

const REFUSALS: ReadonlySet<number> = new Set([ERRNO.EACCES, ERRNO.EPERM, ERRNO.EROFS]);

/** A duplicate of our own descriptor, close-on-exec. */
export function duplicate(fd: LocalFd): OwnedFd {
  return new OwnedFd(fcntl(fd, FCNTL.F_DUPFD_CLOEXEC, 0, `duplicate descriptor ${fd}`));
}

/** linux/memfd.h */
const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
const MFD_HUGETLB = 4;

/** An empty file in memory (memfd_create(2)). */
/** `hugeSizeFlag`: of huge pages of that size, as MFD_HUGE_* tells it. */
export function newMemoryFile(name: string, options: { sealable?: boolean; hugeSizeFlag?: number } = {}): OwnedFd {
  newCall();
  const label = cString(name);
  const huge = options.hugeSizeFlag === undefined ? 0 : MFD_HUGETLB | options.hugeSizeFlag;
  const flags = MFD_CLOEXEC | (options.sealable ? MFD_ALLOW_SEALING : 0) | huge;
  const result = rawSyscall(SYS.memfd_create, label.address, flags);
  return new OwnedFd(check('memfd_create', result, { doing: 'make a file in memory' }));
}

/** A memfd that holds a program. Not sealed: only we have it. */
export function executableFromBytes(name: string, bytes: Uint8Array): OwnedFd {
  const fd = newMemoryFile(name);
  newCall();
  const copy = scratch(bytes.length);
  copy.bytes.set(bytes);
  check('write', rawSyscall(SYS.write, fd.number, copy.address, bytes.length), { doing: 'write a program' });
  return fd;
}

/** fcntl(2) with an integer argument. */
export function fcntl(fd: LocalFd, command: number, argument: number, doing: string): number {
  return check('fcntl', rawSyscall(SYS.fcntl, fd, command, argument), { doing });
}

/** Whom it signals (F_GETOWN_EX): F_OWNER_TID, F_OWNER_PID or F_OWNER_PGRP. Undefined for nobody, or nobody any more. */
export function signalOwner(fd: LocalFd): { type: number; pid: number } | undefined {
  newCall();
  const owner = scratch(8);
  check('fcntl', rawSyscall(SYS.fcntl, fd, FCNTL.F_GETOWN_EX, owner.address), { doing: 'ask whom a file signals' });
  const pid = owner.view.getInt32(4, true);
  return pid === 0 ? undefined : { type: owner.view.getInt32(0, true), pid };
}

/** ftruncate(2). */
export function setFileSize(fd: LocalFd, sizeBytes: number): void {
  check('ftruncate', rawSyscall(SYS.ftruncate, fd, sizeBytes), { doing: 'set the size of a file' });
}

/** lseek(2). Offsets are below 2^53 on every file system. Undefined where the object cannot seek. */
export function trySeek(fd: LocalFd, offset: number, whence: number): number | undefined {
  const result = rawSyscall(SYS.lseek, fd, offset, whence);
  return isFailure(result) ? undefined : result;
}

/** The order of two open file descriptions in the kernel: 0 same, 1 less, 2 greater (kcmp(2)). */
export function compareDescriptions(pidA: Pid, a: RemoteFd, pidB: Pid, b: RemoteFd): number {
  const KCMP_FILE = 0;
  return check('kcmp', rawSyscall(SYS.kcmp, pidA, pidB, KCMP_FILE, a, b), {
    doing: 'compare open files',
    pid: pidA,
  });
}

/** As {@link compareDescriptions} for processes that run; undefined where one of the two is gone. */
export const tryCompareDescriptions = (pidA: Pid, a: RemoteFd, pidB: Pid, b: RemoteFd): number | undefined =>
  unlessGone(() => compareDescriptions(pidA, a, pidB, b));

/** As {@link duplicateFrom} a process that runs; undefined where it has ended, or has closed the descriptor. */
export const tryDuplicateFrom = (pidfd: LocalFd, fd: RemoteFd, pid: Pid): OwnedFd | undefined =>
  unlessGone(() => duplicateFrom(pidfd, fd, pid));

function unlessGone<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch (error) {
    if (error instanceof KernelError && (error.errno === ERRNO.ESRCH || error.errno === ERRNO.EBADF)) return undefined;
    throw error;
  }
}

/** kcmp(2): is it one open file description? False also where one of the two is gone. */
export const isSameDescription = (pidA: Pid, a: RemoteFd, pidB: Pid, b: RemoteFd): boolean =>
  rawSyscall(SYS.kcmp, pidA, pidB, KCMP.KCMP_FILE, a, b) === 0;

/** kcmp(2) of what two tasks share: KCMP_FS, KCMP_FILES, KCMP_VM. */
export function compareTasks(a: Tid, b: Tid, type: number): boolean {
  const result = rawSyscall(SYS.kcmp, a, b, type, 0, 0);
  // A task that has ended shares nothing that would be missed.
  if (result === -ERRNO.ESRCH) return true;
  return check('kcmp', result, { doing: 'compare two threads', pid: a }) === 0;
}

/** The kernel's order of what two tasks have (kcmp(2)); undefined where we may not look into one, or one is gone. */
export function tryOrderTasks(a: Tid, b: Tid, type: number): 'same' | 'before' | 'behind' | undefined {
  const result = rawSyscall(SYS.kcmp, a, b, type, 0, 0);
  return (['same', 'before', 'behind'] as const)[result];
}

/** Bytes that can be read at once from a pipe, terminal or socket (ioctl FIONREAD). */
export function bytesQueued(fd: LocalFd, FIONREAD: number): number {
  newCall();
  const count = scratch(4);
  check('ioctl', rawSyscall(SYS.ioctl, fd, FIONREAD, count.address), { doing: 'ask how many bytes are queued' });
  return count.view.getInt32(0, true);
}

/** poll(2) for input on one descriptor; false when the time is over. Hang-up counts as input. */
export function waitReadable(fd: LocalFd, timeoutMs: number): boolean {
  newCall();
  const entry = scratch(8);
  entry.view.setInt32(0, fd, true);
  entry.view.setInt16(4, 1, true);
  const result = rawSyscall(SYS.poll, entry.address, 1, timeoutMs);
  if (result === -ERRNO.EINTR) return false;
  return check('poll', result, { doing: 'wait for an answer' }) > 0;
}

/** Sends one byte; false if the other end is gone. */
export function ring(fd: LocalFd): boolean {
  newCall();
  const byte = scratch(8);
  const result = rawSyscall(SYS.sendto, fd, byte.address, 1, SOCKET.MSG_NOSIGNAL, 0, 0);
  if (result === -ERRNO.EPIPE || result === -ERRNO.ECONNRESET) return false;
  check('sendto', result, { doing: 'ring the agent' });
  return true;
}

/** Receives one byte without waiting: `end` when the other end is gone. */
export function takeRing(fd: LocalFd): 'rung' | 'nothing' | 'end' {
  newCall();
  const byte = scratch(8);
  const result = rawSyscall(SYS.recvfrom, fd, byte.address, 8, SOCKET.MSG_DONTWAIT, 0, 0);
  if (result === -ERRNO.EAGAIN || result === -ERRNO.EINTR) return 'nothing';
  if (result === 0 || result === -ERRNO.ECONNRESET) return 'end';
  check('recvfrom', result, { doing: 'hear the agent' });
  return 'rung';
}

/** SCM_MAX_FD of net/scm.h: descriptors in one message. */
export const MAX_DESCRIPTORS_PER_MESSAGE = 253;

/** Hands descriptors over in one message (unix(7), SCM_RIGHTS). */
export function sendDescriptors(socket: LocalFd, fds: readonly LocalFd[]): void {
  newCall();
  const byte = scratch(8);
  const iov = scratch(16);
  iov.view.setBigUint64(0, BigInt(byte.address), true);
  iov.view.setBigUint64(8, 1n, true);
  const controlSize = 16 + fds.length * 4;
  const control = scratch((controlSize + 7) & ~7);
  control.view.setBigUint64(0, BigInt(controlSize), true);
  control.view.setInt32(8, SOCKET.SOL_SOCKET, true);
  control.view.setInt32(12, SOCKET.SCM_RIGHTS, true);
  fds.forEach((fd, index) => {
    control.view.setInt32(16 + index * 4, fd, true);
  });
  const message = scratch(56);
  message.view.setBigUint64(16, BigInt(iov.address), true);
  message.view.setBigUint64(24, 1n, true);
  message.view.setBigUint64(32, BigInt(control.address), true);
  message.view.setBigUint64(40, BigInt(controlSize), true);
  check('sendmsg', rawSyscall(SYS.sendmsg, socket, message.address, SOCKET.MSG_NOSIGNAL), {
    doing: 'hand descriptors over',
  });
}

/**
 * Receives one message without waiting: a ring, or a ring with a descriptor (SCM_RIGHTS), which is ours then, close-on-exec.
 */
export function takeRingOrDescriptor(socket: LocalFd): ReturnType<typeof takeRing> | OwnedFd {
  newCall();
  const byte = scratch(8);
  const iov = scratch(16);
  iov.view.setBigUint64(0, BigInt(byte.address), true);
  iov.view.setBigUint64(8, 8n, true);
  const control = scratch(32);
  const message = scratch(56);
  message.view.setBigUint64(16, BigInt(iov.address), true);
  message.view.setBigUint64(24, 1n, true);
  message.view.setBigUint64(32, BigInt(control.address), true);
  message.view.setBigUint64(40, 24n, true);
  const flags = SOCKET.MSG_DONTWAIT | SOCKET.MSG_CMSG_CLOEXEC;
  const result = rawSyscall(SYS.recvmsg, socket, message.address, flags);
  if (result === -ERRNO.EAGAIN || result === -ERRNO.EINTR) return 'nothing';
  if (result === 0 || result === -ERRNO.ECONNRESET) return 'end';
  check('recvmsg', result, { doing: 'hear the agent' });
  const carries = message.view.getBigUint64(40, true) >= 20n && control.view.getInt32(12, true) === SOCKET.SCM_RIGHTS;
  return carries ? new OwnedFd(control.view.getInt32(16, true)) : 'rung';
}
