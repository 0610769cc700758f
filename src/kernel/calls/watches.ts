/** What watches: inotify(7), pidfd_open(2), and files by their handles, open_by_handle_at(2). */
import type { LocalFd, Pid } from '../../support/brand.ts';
import { OPEN } from '../abi/fcntl.ts';
import { FS } from '../abi/fs.ts';
import { INOTIFY } from '../abi/inotify.ts';
import { SYS } from '../abi/syscall.ts';
import { check, isFailure } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { OwnedFd } from '../owned-fd.ts';
import { cString, newCall, scratch } from '../scratch.ts';
import { bytesQueued } from './descriptors.ts';

/** Without watches, close-on-exec. */
export const makeInotify = (flags: number): OwnedFd =>
  new OwnedFd(
    check('inotify_init1', rawSyscall(SYS.inotify_init1, flags | INOTIFY.IN_CLOEXEC), { doing: 'make an inotify' }),
  );

/** The number of the watch. */
export function addWatch(inotify: LocalFd, path: string, mask: number): number {
  newCall();
  const name = cString(path);
  const result = rawSyscall(SYS.inotify_add_watch, inotify, name.address, mask);
  return check('inotify_add_watch', result, { doing: `watch ${path}` });
}

export function removeWatch(inotify: LocalFd, watch: number): void {
  check('inotify_rm_watch', rawSyscall(SYS.inotify_rm_watch, inotify, watch), { doing: 'remove a watch' });
}

const EVENTS_SIZE = 65_536;

/** Reads all events that wait, and forgets them. */
export function forgetEvents(inotify: LocalFd): void {
  while (bytesQueued(inotify, FS.FIONREAD) > 0) {
    newCall();
    const events = scratch(EVENTS_SIZE);
    check('read', rawSyscall(SYS.read, inotify, events.address, EVENTS_SIZE), {
      doing: 'read the events of an inotify',
    });
  }
}

/** A descriptor (O_PATH: nobody notices) for the file with this handle. Undefined if there is none, or we may not ask. */
export function tryOpenByHandle(mount: LocalFd, type: number, handle: Uint8Array): OwnedFd | undefined {
  newCall();
  const file = scratch(8 + handle.length);
  file.view.setUint32(0, handle.length, true);
  file.view.setInt32(4, type, true);
  file.bytes.set(handle, 8);
  const fd = rawSyscall(SYS.open_by_handle_at, mount, file.address, OPEN.O_PATH | OPEN.O_CLOEXEC);
  return isFailure(fd) ? undefined : new OwnedFd(fd);
}

/** pidfd_open(2) with flags. */
export function openProcess(pid: Pid, flags: number): OwnedFd {
  const fd = rawSyscall(SYS.pidfd_open, pid, flags);
  return new OwnedFd(check('pidfd_open', fd, { doing: 'open a process', pid }));
}
