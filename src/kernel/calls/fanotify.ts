/** Groups of fanotify(7): fanotify_init(2), fanotify_mark(2). */
import type { LocalFd } from '../../support/brand.ts';
import { FAN, fanotifyAbi } from '../abi/fanotify.ts';
import { FCNTL } from '../abi/fcntl.ts';
import { FS } from '../abi/fs.ts';
import { SYS } from '../abi/syscall.ts';
import { check, isFailure } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { OwnedFd } from '../owned-fd.ts';
import { cString, newCall, scratch } from '../scratch.ts';
import { structOf } from '../struct.ts';
import { bytesQueued, fcntl } from './descriptors.ts';

/** Without marks, close-on-exec. `eventFlags`: of the files that it opens for events. */
export function makeFanotify(flags: number, eventFlags: number): OwnedFd {
  const fd = rawSyscall(SYS.fanotify_init, flags, eventFlags);
  const made = new OwnedFd(check('fanotify_init', fd, { doing: 'make a fanotify' }));
  fcntl(made.number, FCNTL.F_SETFD, FCNTL.FD_CLOEXEC, 'set a flag of a fanotify');
  return made;
}

export function addMark(group: LocalFd, flags: number, mask: number, path: string): void {
  newCall();
  const name = cString(path);
  const result = rawSyscall(SYS.fanotify_mark, group, flags | FAN.FAN_MARK_ADD, mask, FCNTL.AT_FDCWD, name.address);
  check('fanotify_mark', result, { doing: `mark ${path}` });
}

const EVENTS_SIZE = 65_536;
/** The kernel's default length of a queue. */
const MOST_FAILURES = 16_384;
const event = structOf(fanotifyAbi.structs.fanotify_event_metadata);
const infoHeader = structOf(fanotifyAbi.structs.fanotify_event_info_header);
const pidfdInfo = structOf(fanotifyAbi.structs.fanotify_event_info_pidfd);

/** Reads all events that wait, and forgets them, with the files that came open with them. */
export function forgetMarkEvents(group: LocalFd): void {
  for (let failed = 0; failed < MOST_FAILURES && bytesQueued(group, FS.FIONREAD) > 0; ) {
    newCall();
    const events = scratch(EVENTS_SIZE);
    const length = rawSyscall(SYS.read, group, events.address, EVENTS_SIZE);
    // A file that cannot be opened takes its event with it.
    if (isFailure(length)) failed++;
    else for (const fd of descriptorsIn(events.view, length)) new OwnedFd(fd).close();
  }
}

/** Those that came with events. */
export function descriptorsIn(view: DataView, length: number): number[] {
  const found: number[] = [];
  for (let at = 0; at + event.size <= length; ) {
    const { event_len: size, metadata_len: head, fd } = event.read(view, at);
    if (size < event.size) break;
    if (fd >= 0) found.push(fd);
    for (let info = at + head; info + infoHeader.size <= at + size; ) {
      const { info_type: type, len } = infoHeader.read(view, info);
      if (len < infoHeader.size) break;
      if (type === FAN.FAN_EVENT_INFO_TYPE_PIDFD) {
        const { pidfd } = pidfdInfo.read(view, info);
        if (pidfd >= 0) found.push(pidfd);
      }
      info += len;
    }
    at += size;
  }
  return found;
}
