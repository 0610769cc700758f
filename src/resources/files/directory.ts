/**
 * An open directory: open(2), getdents(2). Its position is the file system's own cookie; setting it again with lseek(2)
 * goes on with the same entry where the file system keeps cookies stable (ext4, xfs, btrfs, tmpfs since Linux 6.6).
 */
import * as v from 'valibot';
import { boundedString, u32, u64 } from '../../image/schema.ts';
import { FCNTL, OPEN } from '../../kernel/abi/fcntl.ts';
import { STAT } from '../../kernel/abi/stat.ts';
import { openFile, trySeek } from '../../kernel/calls/descriptors.ts';
import { tryStat } from '../../support/try-stat.ts';
import { anyLockObstacles } from '../file-locks.ts';
import type { DescriptorKind } from '../resource.ts';

const schema = v.strictObject({ path: boundedString(4096), flags: u32, position: u64 });
type Directory = v.InferOutput<typeof schema>;

export const directory: DescriptorKind<Directory> = {
  kind: 'directory',
  schema,
  recognise: ({ descriptor, stat, info }) =>
    descriptor.kind === 'path' && (stat.mode & STAT.S_IFMT) === STAT.S_IFDIR && (info.flags & OPEN.O_PATH) === 0,
  obstacles: ({ pid, fd, descriptor, info }) => [
    ...anyLockObstacles(info.locks, [`pid ${pid}`, `fd ${fd}`, descriptor.name]),
    ...(descriptor.deleted
      ? [
          {
            code: 'deleted-directory',
            path: [`pid ${pid}`, `fd ${fd}`, descriptor.name],
            message: `It has the deleted directory ${descriptor.name} open.`,
            remedy: 'Save it when the program has closed the directory.',
          },
        ]
      : []),
  ],
  collect: ({ descriptor, info }) => ({
    path: descriptor.name,
    flags: (info.flags & ~OPEN.O_CLOEXEC) >>> 0,
    position: BigInt(info.position),
  }),
  plan: (state, _host, path) =>
    tryStat(state.path)?.isDirectory()
      ? []
      : [
          {
            code: 'missing-directory',
            path,
            message: `The directory ${state.path} does not exist here.`,
            remedy: `Make it: mkdir -p ${state.path}`,
          },
        ],
  restore: (state) => {
    const fd = openFile(state.path, state.flags & ~OPEN.O_CLOEXEC);
    if (state.position !== 0n) trySeek(fd.number, Number(state.position), FCNTL.SEEK_SET);
    return fd;
  },
};
