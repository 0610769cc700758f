/** Writing native memory to files and pipes, whole or with an error. */
import { type LocalAddress, type LocalFd, localAddress } from '../../support/brand.ts';
import { ERRNO } from '../abi/errno.ts';
import { FCNTL } from '../abi/fcntl.ts';
import { FALLOC } from '../abi/fs.ts';
import { MAP, PROT } from '../abi/mman.ts';
import { POLL } from '../abi/poll.ts';
import { SYS } from '../abi/syscall.ts';
import { check } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { bytesAt } from '../native-memory.ts';
import { cString, newCall, scratch } from '../scratch.ts';

export interface LocalRange {
  readonly address: LocalAddress;
  readonly sizeBytes: number;
}

const MAX_PARTS = 1024;
const PAGE = 4096;

/**
 * Writes the parts one behind the other: at `position`, or where a stream stands when it is undefined. A short write (a
 * full disk, a slow pipe) goes on where it ended until the kernel names an error.
 */
export function writeAll(fd: LocalFd, position: number | undefined, parts: readonly LocalRange[]): void {
  let left = parts.filter((part) => part.sizeBytes > 0);
  let at = position;
  while (left.length > 0) {
    const written = writeSome(fd, at, left.slice(0, MAX_PARTS));
    if (at !== undefined) at += written;
    left = behind(left, written);
  }
}

function writeSome(fd: LocalFd, at: number | undefined, parts: readonly LocalRange[]): number {
  newCall();
  const vector = scratch(parts.length * 16);
  parts.forEach((part, index) => {
    vector.view.setBigUint64(index * 16, BigInt(part.address), true);
    vector.view.setBigUint64(index * 16 + 8, BigInt(part.sizeBytes), true);
  });
  for (;;) {
    const written =
      at === undefined
        ? rawSyscall(SYS.writev, fd, vector.address, parts.length)
        : rawSyscall(SYS.pwritev, fd, vector.address, parts.length, at, 0);
    if (written === -ERRNO.EINTR) continue;
    if (written === -ERRNO.EAGAIN) {
      waitWritable(fd);
      return 0;
    }
    return check(at === undefined ? 'writev' : 'pwritev', written, { doing: 'write the image' });
  }
}

/** A stream that somebody has made non-blocking is waited for all the same. */
function waitWritable(fd: LocalFd): void {
  newCall();
  const entry = scratch(8);
  entry.view.setInt32(0, fd, true);
  entry.view.setInt16(4, POLL.POLLOUT, true);
  rawSyscall(SYS.poll, entry.address, 1, -1);
}

/** What is left of the parts after their first `bytes` bytes. */
function behind(parts: readonly LocalRange[], bytes: number): LocalRange[] {
  let done = bytes;
  return parts.flatMap((part): LocalRange[] => {
    const taken = Math.min(done, part.sizeBytes);
    done -= taken;
    if (taken === part.sizeBytes) return [];
    return [{ address: (part.address + taken) as LocalAddress, sizeBytes: part.sizeBytes - taken }];
  });
}

/**
 * Where the next page that holds data begins, at `from` or behind it (lseek(2), SEEK_DATA); undefined if there is none. A file
 * system that does not know its holes calls all of a file data.
 */
export function nextData(fd: LocalFd, from: number): number | undefined {
  const at = rawSyscall(SYS.lseek, fd, from, FCNTL.SEEK_DATA);
  if (at === -ERRNO.ENXIO) return undefined;
  return Math.max(from, Math.floor(check('lseek', at, { doing: 'look for data in a file' }) / PAGE) * PAGE);
}

/**
 * As pwrite(2), which files of huge pages (hugetlbfs) do not have: through a mapping, which reserves its pages, so that none is missing when they are written.
 * `pageBytes`: of the file.
 */
export function writeHugePages(fd: LocalFd, bytes: Uint8Array, position: number, pageBytes: number): void {
  const start = Math.floor(position / pageBytes) * pageBytes;
  const sizeBytes = Math.ceil((position + bytes.length - start) / pageBytes) * pageBytes;
  const access = PROT.PROT_READ | PROT.PROT_WRITE;
  const address = rawSyscall(SYS.mmap, 0, sizeBytes, access, MAP.MAP_SHARED, fd, start);
  check('mmap', address, { doing: 'fill huge pages' });
  try {
    bytesAt(localAddress(address + position - start), bytes.length).set(bytes);
  } finally {
    rawSyscall(SYS.munmap, address, sizeBytes);
  }
}

/** All of it reads as zeros, and takes no room. */
export function emptyFile(fd: LocalFd, sizeBytes: number): void {
  const mode = FALLOC.FALLOC_FL_PUNCH_HOLE | FALLOC.FALLOC_FL_KEEP_SIZE;
  check('fallocate', rawSyscall(SYS.fallocate, fd, mode, 0, sizeBytes), { doing: 'empty a file' });
}

/** pread(2) of exactly `sizeBytes` bytes into native memory; for /proc/PID/mem, where offsets are addresses. */
export function readAt(fd: LocalFd, into: LocalAddress, sizeBytes: number, position: number, doing: string): void {
  for (let done = 0; done < sizeBytes; ) {
    const count = rawSyscall(SYS.pread64, fd, into + done, sizeBytes - done, position + done);
    if (check('pread64', count, { doing }) === 0) throw new Error(`${doing}: it ended too early`);
    done += count;
  }
}

/** Gives a file that was opened with O_TMPFILE a name (open(2), linkat(2) with AT_SYMLINK_FOLLOW). */
export function nameUnnamedFile(fd: LocalFd, path: string): void {
  newCall();
  const own = cString(`/proc/self/fd/${fd}`);
  const name = cString(path);
  const result = rawSyscall(
    SYS.linkat,
    FCNTL.AT_FDCWD,
    own.address,
    FCNTL.AT_FDCWD,
    name.address,
    FCNTL.AT_SYMLINK_FOLLOW,
  );
  check('linkat', result, { doing: `give the image its name ${path}` });
}
