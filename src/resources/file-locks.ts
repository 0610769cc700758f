/**
 * Locks on files: flock(2), fcntl(2) record locks and open file description locks. Read from the `lock:` lines of fdinfo
 * (Linux 4.1). flock and OFD locks belong to the open file description, so they are taken again on our own duplicate; a
 * POSIX lock belongs to the process and is taken again inside it, and so is a lease (F_SETLEASE), which needs to be the file's
 * only opener. A lease that is being broken is refused.
 */
import * as v from 'valibot';
import { i64 } from '../image/schema.ts';
import { FCNTL } from '../kernel/abi/fcntl.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import { lockFile, lockRange } from '../kernel/calls/locks.ts';
import type { FileLock } from '../procfs/fdinfo.ts';
import type { LocalFd, RemoteFd } from '../support/brand.ts';
import type { Problem } from '../support/errors.ts';
import type { RebuiltProcess } from './resource.ts';

const FLOCK_SIZE = 32;
/** off_t. */
const fileOffset = v.pipe(i64, v.minValue(0n));

export const lock = v.strictObject({
  kind: v.picklist(['POSIX', 'FLOCK', 'OFDLCK', 'LEASE']),
  exclusive: v.boolean(),
  start: fileOffset,
  /** Bytes; 0 means to the end of the file, however far it grows. */
  length: fileOffset,
});
export type Lock = v.InferOutput<typeof lock>;
export const locks = v.pipe(v.array(lock), v.maxLength(65536));

export function locksOf(found: readonly FileLock[]): Lock[] {
  return found.flatMap((entry): Lock[] => {
    if (entry.kind === 'DELEG') return [];
    const start = BigInt(entry.start);
    const length = entry.end === 'EOF' ? 0n : BigInt(entry.end) - start;
    return [{ kind: entry.kind, exclusive: entry.type === 'WRITE', start, length }];
  });
}

/** To read the bytes of a file for the image is to open it, which breaks a lease: only kinds that need not can keep one. */
export function lockObstacles(found: readonly FileLock[], path: readonly string[], keepsLeases = false): Problem[] {
  const leases = found.filter(({ kind }) => kind === 'LEASE' || kind === 'DELEG');
  if (leases.every(({ kind, breaking }) => keepsLeases && kind === 'LEASE' && !breaking)) return [];
  return [
    {
      code: 'lease',
      path,
      message:
        'It holds a lease on the file (F_SETLEASE) that somebody waits for, or that reading the file would break.',
      remedy: 'Save it when the lease has been given up.',
    },
  ];
}

export const isLeased = (found: readonly FileLock[]): boolean => found.some(({ kind }) => kind === 'LEASE');

/** For kinds that cannot take locks again. */
export function anyLockObstacles(found: readonly FileLock[], path: readonly string[]): Problem[] {
  if (found.length === 0) return [];
  return [
    {
      code: 'lock',
      path,
      message: 'It holds a lock on what is no regular file, which cannot be saved yet.',
      remedy: 'Save it when the lock has been given up.',
    },
  ];
}

/** Takes again what belongs to the open file description. */
export function takeDescriptionLocks(fd: LocalFd, wanted: readonly Lock[], path: string): void {
  for (const entry of wanted) {
    if (entry.kind === 'FLOCK') lockFile(fd, entry.exclusive, path);
    else if (entry.kind === 'OFDLCK') lockRange(fd, encodeFlock(entry), path);
  }
}

/** Adds the calls that take again what belongs to the process. */
export function takeProcessLocks(fd: RemoteFd, wanted: readonly Lock[], path: string, process: RebuiltProcess): void {
  for (const entry of wanted) {
    if (entry.kind === 'LEASE') {
      const type = entry.exclusive ? FCNTL.F_WRLCK : FCNTL.F_RDLCK;
      process.batch.call(`take the lease on ${path} again`, SYS.fcntl, fd, FCNTL.F_SETLEASE, type);
    }
    if (entry.kind !== 'POSIX') continue;
    const block = process.batch.bytes(encodeFlock(entry));
    process.batch.call(`lock ${path} again`, SYS.fcntl, fd, FCNTL.F_SETLK, block.address);
  }
}

/** struct flock on x86-64: s16 type, s16 whence (SEEK_SET), s64 start, s64 length, s32 pid. */
function encodeFlock(entry: Lock): Buffer {
  const bytes = Buffer.alloc(FLOCK_SIZE);
  bytes.writeInt16LE(entry.exclusive ? FCNTL.F_WRLCK : FCNTL.F_RDLCK, 0);
  bytes.writeBigInt64LE(entry.start, 8);
  bytes.writeBigInt64LE(entry.length, 16);
  return bytes;
}
