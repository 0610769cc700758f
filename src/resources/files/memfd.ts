/**
 * A file in memory: memfd_create(2). Read from the link in /proc/PID/fd, fdinfo, stat(2) and F_GET_SEALS. Its bytes are carried
 * in the image; the seals are set when they are in. Lost: times, extended attributes, holes of the file.
 */
import { chmodSync, chownSync, statSync } from 'node:fs';
import * as v from 'valibot';
import { boundedString, count, u32, u64 } from '../../image/schema.ts';
import { FCNTL, OPEN } from '../../kernel/abi/fcntl.ts';
import { STAT } from '../../kernel/abi/stat.ts';
import { fcntl, newMemoryFile, openFile, setFileSize, trySeek } from '../../kernel/calls/descriptors.ts';
import type { LocalFd } from '../../support/brand.ts';
import { lockObstacles, locks, locksOf, takeDescriptionLocks, takeProcessLocks } from '../file-locks.ts';
import { isFirstOfFile } from '../first-of.ts';
import { hasWholePages, hugePageField, hugePageKiB, hugeSizeFlag, pagesOfPool } from '../huge-page-size.ts';
import type { DescriptorKind } from '../resource.ts';

/** F_SEAL_* of linux/fcntl.h, up to F_SEAL_EXEC (Linux 6.3). */
const ALL_SEALS = 0x3f;

const schema = v.pipe(
  v.strictObject({
    name: boundedString(249),
    /** Descriptions with the same number are of one file. */
    inode: u64,
    flags: u32,
    mode: u32,
    owner: v.strictObject({ uid: u32, gid: u32 }),
    seals: v.pipe(u32, v.maxValue(ALL_SEALS)),
    position: u64,
    sizeBytes: count,
    /** The first description of the file carries its bytes. */
    carries: v.boolean(),
    locks,
    hugePageKiB,
  }),
  v.check((state) => hasWholePages(state), 'must have whole huge pages'),
);
type Memfd = v.InferOutput<typeof schema>;

const PREFIX = '/memfd:';
const OPENING_FLAGS = OPEN.O_CREAT | OPEN.O_EXCL | OPEN.O_TRUNC | OPEN.O_CLOEXEC | OPEN.O_NOFOLLOW;

export const memfd: DescriptorKind<Memfd> = {
  kind: 'memfd',
  schema,
  recognise: ({ descriptor, stat, info }) =>
    descriptor.kind === 'path' &&
    descriptor.name.startsWith(PREFIX) &&
    (stat.mode & STAT.S_IFMT) === STAT.S_IFREG &&
    (info.flags & OPEN.O_PATH) === 0 &&
    stat.links === 0n,
  obstacles: ({ pid, fd, descriptor, info }) => lockObstacles(info.locks, [`pid ${pid}`, `fd ${fd}`, descriptor.name]),
  collect: ({ descriptor, stat, info, own, ...view }) => ({
    name: descriptor.name.slice(PREFIX.length),
    inode: stat.inode,
    flags: (info.flags & ~OPENING_FLAGS) >>> 0,
    mode: stat.mode & 0o7777,
    owner: { uid: stat.uid, gid: stat.gid },
    seals: fcntl(own, FCNTL.F_GET_SEALS, 0, 'read the seals of a file in memory'),
    position: BigInt(info.position),
    sizeBytes: Number(stat.sizeBytes),
    carries: isFirstOfFile({ descriptor, stat, info, ...view }),
    locks: locksOf(info.locks),
    ...hugePageField(`/proc/self/fd/${own}`),
  }),
  contentBytes: (state) => (state.carries ? state.sizeBytes : 0),
  hugePages: ({ carries, hugePageKiB: size, sizeBytes }) => (carries ? pagesOfPool(size, sizeBytes) : undefined),
  restore: (state, world) => {
    const { file } = world.shared(keyOf(state), () => ({ file: makeFile(state) }));
    const fd = openFile(`/proc/self/fd/${file.number}`, state.flags & ~OPENING_FLAGS);
    trySeek(fd.number, Number(state.position), FCNTL.SEEK_SET);
    takeDescriptionLocks(fd.number, state.locks, state.name);
    return fd;
  },
  contentTarget: (state, world) => world.shared(keyOf(state), () => ({ file: makeFile(state) })).file,
  settle,
  finish: (state, process, fd) => takeProcessLocks(fd, state.locks, state.name, process),
};

const keyOf = ({ inode }: Memfd): string => `memfd ${inode}`;

function makeFile({ name, sizeBytes, hugePageKiB: size }: Memfd): ReturnType<typeof newMemoryFile> {
  const file = newMemoryFile(name, { sealable: true, ...(size && { hugeSizeFlag: hugeSizeFlag(size) }) });
  setFileSize(file.number, sizeBytes);
  return file;
}

/** A mode may forbid what the restart still has to open, and a seal what it has to write. Both belong to the file: each description sets the same. */
function settle({ mode, owner, seals }: Memfd, own: LocalFd): void {
  const path = `/proc/self/fd/${own}`;
  const now = statSync(path);
  if (now.uid !== owner.uid || now.gid !== owner.gid) chownSync(path, owner.uid, owner.gid);
  if ((statSync(path).mode & 0o7777) !== mode) chmodSync(path, mode);
  if (fcntl(own, FCNTL.F_GET_SEALS, 0, 'read the seals') === seals) return;
  const writable = openFile(path, OPEN.O_RDWR);
  try {
    fcntl(writable.number, FCNTL.F_ADD_SEALS, seals, 'seal a file in memory');
  } finally {
    writable.close();
  }
}
