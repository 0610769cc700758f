/**
 * A place in the file system by its path only: open(2), O_PATH. It cannot be read or written, so it is the name that counts: at the restart
 * something of the same type must have it. Read from the link in /proc/PID/fd, fdinfo (flags) and stat(2).
 */
import { type BigIntStats, lstatSync } from 'node:fs';
import * as v from 'valibot';
import { boundedString, u32 } from '../../image/schema.ts';
import { OPEN } from '../../kernel/abi/fcntl.ts';
import { STAT } from '../../kernel/abi/stat.ts';
import { openFile } from '../../kernel/calls/descriptors.ts';
import type { Problem } from '../../support/errors.ts';
import type { DescriptorKind, DescriptorView } from '../resource.ts';

const types: ReadonlyMap<number, string> = new Map([
  [STAT.S_IFREG, 'regular file'],
  [STAT.S_IFDIR, 'directory'],
  [STAT.S_IFLNK, 'symbolic link'],
  [STAT.S_IFIFO, 'FIFO'],
  [STAT.S_IFSOCK, 'socket'],
  [STAT.S_IFCHR, 'character device'],
  [STAT.S_IFBLK, 'block device'],
]);

const schema = v.strictObject({ path: boundedString(4096), type: v.picklist([...types.keys()]), flags: u32 });
type PathOnly = v.InferOutput<typeof schema>;

export const pathOnly: DescriptorKind<PathOnly> = {
  kind: 'path-only',
  schema,
  recognise: ({ descriptor, info }) => descriptor.kind === 'path' && (info.flags & OPEN.O_PATH) !== 0,
  obstacles,
  collect: ({ descriptor, stat, info }) => ({
    path: descriptor.name,
    type: stat.mode & STAT.S_IFMT,
    flags: (info.flags & KEPT_FLAGS) >>> 0,
  }),
  plan: (state, _host, path) => {
    if (typeAt(state.path) === state.type) return [];
    const message = `${state.path} is no ${types.get(state.type)} here.`;
    return [{ code: 'missing-file', path, message, remedy: 'Put it back as it was when the image was made.' }];
  },
  // Whatever it is, it is this itself: a link is not followed.
  restore: ({ path, flags, type }) =>
    openFile(path, OPEN.O_PATH | (flags & KEPT_FLAGS) | (type === STAT.S_IFLNK ? OPEN.O_NOFOLLOW : 0)),
};

/** Beside O_CLOEXEC all that such a description may have (open(2)). */
const KEPT_FLAGS = OPEN.O_PATH | OPEN.O_DIRECTORY | OPEN.O_NOFOLLOW;

function statAt(path: string): BigIntStats | undefined {
  try {
    return lstatSync(path, { bigint: true });
  } catch {
    return undefined;
  }
}

const typeAt = (path: string): number => Number(statAt(path)?.mode ?? 0n) & STAT.S_IFMT;

function obstacles({ pid, fd, descriptor, stat }: DescriptorView): Problem[] {
  const path = [`pid ${pid}`, `fd ${fd}`, descriptor.target];
  const now = statAt(descriptor.name);
  if (!descriptor.deleted && now?.ino === stat.inode && Number(now.dev) === stat.device) return [];
  const message = `It has ${descriptor.name} open by its path only (O_PATH), and that is there no more, or is another one.`;
  return [{ code: 'path-lost', path, message, remedy: 'Save it when the program has closed it.' }];
}
