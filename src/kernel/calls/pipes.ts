/** Pipes of our own, and looking into somebody else's without taking anything out. */
import type { LocalFd } from '../../support/brand.ts';
import { QuicksaveError } from '../../support/errors.ts';
import { FCNTL, OPEN } from '../abi/fcntl.ts';
import { FS } from '../abi/fs.ts';
import { SYS } from '../abi/syscall.ts';
import { check } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { NativeMemory } from '../native-memory.ts';
import { OwnedFd } from '../owned-fd.ts';
import { newCall, scratch } from '../scratch.ts';
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

/** SPLICE_F_NONBLOCK, splice(2). */
const SPLICE_F_NONBLOCK = 2;

/** A copy of all bytes in a pipe, which stay there: tee(2) into a pipe of ours that is as large. */
export function pipeContent(readEnd: LocalFd): Buffer {
  const queued = bytesQueued(readEnd, FS.FIONREAD);
  if (queued === 0) return Buffer.alloc(0);
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

function readAll(fd: LocalFd, sizeBytes: number): Buffer {
  const memory = NativeMemory.allocate(sizeBytes);
  try {
    for (let done = 0; done < sizeBytes; ) {
      const count = rawSyscall(SYS.read, fd, memory.address + done, sizeBytes - done);
      done += check('read', count, { doing: 'read from a pipe' });
    }
    return Buffer.from(memory.bytes);
  } finally {
    memory.free();
  }
}

/** Writes bytes into an empty pipe that has room for them. */
export function fillPipe(writeEnd: LocalFd, content: Uint8Array): void {
  const memory = NativeMemory.allocate(content.length);
  try {
    memory.bytes.set(content);
    const written = rawSyscall(SYS.write, writeEnd, memory.address, content.length);
    check('write', written, { doing: 'fill a pipe' });
  } finally {
    memory.free();
  }
}
