/** Pipes of our own, and looking into somebody else's without taking anything out. */
import type { LocalFd } from '../../support/brand.ts';
import { QuicksaveError } from '../../support/errors.ts';
import { ERRNO } from '../abi/errno.ts';
import { FCNTL, OPEN } from '../abi/fcntl.ts';
import { FS } from '../abi/fs.ts';
import { STAT } from '../abi/stat.ts';
import { SYS } from '../abi/syscall.ts';
import { check } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { NativeMemory } from '../native-memory.ts';
import { OwnedFd } from '../owned-fd.ts';
import { cString, newCall, scratch } from '../scratch.ts';
import { bytesQueued, fcntl } from './descriptors.ts';

export interface PipePair {
  readonly read: OwnedFd;
  readonly write: OwnedFd;
}

export function makePipe(): PipePair {
  newCall();
  const pair = scratch(8);
  check('pipe2', rawSyscall(SYS.pipe2, pair.address, OPEN.O_CLOEXEC), { doing: 'make a pipe' });
  return { read: new OwnedFd(pair.view.getInt32(0, true)), write: new OwnedFd(pair.view.getInt32(4, true)) };
}

/**
 * Of a write end: the kernel itself writes what it watches into it (O_NOTIFICATION_PIPE, watch_queue(7)). Nobody else may, which a write of nothing
 * shows (pipe_write() in the kernel, Linux 6.7: EXDEV); to any other pipe it does nothing.
 */
export function isNotificationPipe(writeEnd: LocalFd): boolean {
  newCall();
  return rawSyscall(SYS.write, writeEnd, scratch(8).address, 0) === -ERRNO.EXDEV;
}

/** SPLICE_F_NONBLOCK, splice(2). */
const SPLICE_F_NONBLOCK = 2;

export interface PipeContent {
  readonly bytes: Buffer;
  /** Their lengths as reads get them: packets (O_DIRECT) come one by one, a stream as a whole. */
  readonly pieces: readonly number[];
}

/** A copy of all bytes in a pipe, which stay there: tee(2) into a pipe of ours that is as large. */
export function pipeContent(readEnd: LocalFd): PipeContent {
  const queued = bytesQueued(readEnd, FS.FIONREAD);
  if (queued === 0) return { bytes: Buffer.alloc(0), pieces: [] };
  const copy = makePipe();
  try {
    const capacity = fcntl(readEnd, FCNTL.F_GETPIPE_SZ, 0, 'ask for the capacity of a pipe');
    fcntl(copy.write.number, FCNTL.F_SETPIPE_SZ, capacity, 'make a pipe as large');
    const moved = rawSyscall(SYS.tee, readEnd, copy.write.number, queued, SPLICE_F_NONBLOCK);
    check('tee', moved, { doing: 'copy what is queued in a pipe' });
    if (moved !== queued) {
      throw new QuicksaveError('pipe-content', `Only ${moved} of ${queued} bytes in a pipe could be copied.`);
    }
    return readAll(copy.read.number, queued);
  } finally {
    copy.read.close();
    copy.write.close();
  }
}

function readAll(fd: LocalFd, sizeBytes: number): PipeContent {
  const memory = NativeMemory.allocate(sizeBytes);
  const pieces: number[] = [];
  try {
    for (let done = 0; done < sizeBytes; ) {
      const count = rawSyscall(SYS.read, fd, memory.address + done, sizeBytes - done);
      pieces.push(check('read', count, { doing: 'read from a pipe' }));
      done += count;
    }
    return { bytes: Buffer.from(memory.bytes), pieces };
  } finally {
    memory.free();
  }
}

/** Writes bytes into a pipe that has room for them. */
export function fillPipe(writeEnd: LocalFd, content: Uint8Array): void {
  const memory = NativeMemory.allocate(content.length);
  try {
    memory.bytes.set(content);
    const written = rawSyscall(SYS.write, writeEnd, memory.address, content.length);
    check('write', written, { doing: 'fill a pipe' });
    if (written !== content.length) {
      throw new QuicksaveError('pipe-content', `Only ${written} of ${content.length} bytes fit into a pipe.`);
    }
  } finally {
    memory.free();
  }
}

/** mknodat(2) of a FIFO, mkfifo(3). */
export function makeFifo(path: string, mode: number): void {
  newCall();
  const name = cString(path);
  const result = rawSyscall(SYS.mknodat, FCNTL.AT_FDCWD, name.address, STAT.S_IFIFO | mode, 0);
  check('mknodat', result, { doing: `make the FIFO ${path}` });
}
