/**
 * An open directory: open(2), getdents(2). One that signals what happens in it (F_NOTIFY) is refused, where the kernel shows that (CAP_BPF, CAP_PERFMON). Its position is the file system's own cookie; setting it again with lseek(2)
 * goes on with the same entry where the file system keeps cookies stable (ext4, xfs, btrfs, tmpfs since Linux 6.6).
 * One that has been deleted is empty, and stays so: it is made under its old name for an instant. Lost of that: times, attributes.
 */
import { chmodSync, mkdirSync, rmdirSync } from 'node:fs';
import { dirname } from 'node:path';
import * as v from 'valibot';
import { boundedString, u32, u64 } from '../../image/schema.ts';
import { FCNTL, OPEN } from '../../kernel/abi/fcntl.ts';
import { STAT } from '../../kernel/abi/stat.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import { openFile, trySeek } from '../../kernel/calls/descriptors.ts';
import { tryIsNotified } from '../../kernel/directory-objects.ts';
import type { OwnedFd } from '../../kernel/owned-fd.ts';
import { type Problem, QuicksaveError } from '../../support/errors.ts';
import { tryStat } from '../../support/try-stat.ts';
import { anyLockObstacles } from '../file-locks.ts';
import { makingProblems, openingProblems } from '../may-open.ts';
import { isOfProc } from '../of-proc.ts';
import type { DescriptorKind, DescriptorStat } from '../resource.ts';

const schema = v.strictObject({
  path: boundedString(4096),
  flags: u32,
  position: u64,
  /** It has no name any more. Descriptions with the same inode are of one directory. */
  deleted: v.optional(
    v.strictObject({ device: u64, inode: u64, mode: u32, owner: v.strictObject({ uid: u32, gid: u32 }) }),
  ),
});
type Directory = v.InferOutput<typeof schema>;

export const directory: DescriptorKind<Directory> = {
  kind: 'directory',
  schema,
  recognise: ({ descriptor, stat, info }) =>
    descriptor.kind === 'path' &&
    !isOfProc(descriptor.name) &&
    (stat.mode & STAT.S_IFMT) === STAT.S_IFDIR &&
    (info.flags & OPEN.O_PATH) === 0,
  obstacles: ({ pid, fd, descriptor, info }) =>
    anyLockObstacles(info.locks, [`pid ${pid}`, `fd ${fd}`, descriptor.name]),
  collect: ({ fd, own, descriptor, info, stat }) => {
    if (tryIsNotified(own) === true) {
      throw new QuicksaveError(
        'unknown-watch',
        `It is signalled of what happens in ${descriptor.name} (descriptor ${fd}, fcntl(2) F_NOTIFY), which cannot be saved.`,
        { remedy: 'Save it when the program has closed it, or use inotify there.' },
      );
    }
    return {
      path: descriptor.name,
      flags: (info.flags & ~OPEN.O_CLOEXEC) >>> 0,
      position: BigInt(info.position),
      ...(descriptor.deleted ? { deleted: identityOf(stat) } : {}),
    };
  },
  plan: (state, host, path) => {
    const refused =
      state.deleted === undefined
        ? openingProblems(state.path, OPEN.O_RDONLY | (state.flags & OPEN.O_NOATIME), path)
        : makingProblems(dirname(state.path), path);
    if (refused.length > 0) return refused;
    if (state.deleted === undefined) return tryStat(state.path)?.isDirectory() ? [] : [missing(state.path, path)];
    const folder = dirname(state.path);
    if (!tryStat(folder)?.isDirectory()) return [missing(folder, path)];
    return tryStat(state.path) === undefined || host.programRuns ? [] : [nameTaken(state.path, path)];
  },
  restore: (state, world) => {
    const { deleted, path } = state;
    const made =
      deleted &&
      world.shared(`directory ${deleted.device}:${deleted.inode}`, () => ({ made: makeDeleted(state) })).made;
    const fd = openFile(
      made ? `/proc/self/fd/${made.number}` : path,
      state.flags & ~(OPEN.O_CLOEXEC | OPEN.O_NOFOLLOW),
    );
    if (state.position !== 0n) trySeek(fd.number, Number(state.position), FCNTL.SEEK_SET);
    return fd;
  },
  finish: ({ path, deleted }, { batch }, fd) => {
    if (deleted !== undefined)
      batch.tryCall(`set the owner of ${path}`, SYS.fchown, fd, deleted.owner.uid, deleted.owner.gid);
  },
};

const identityOf = (stat: DescriptorStat): NonNullable<Directory['deleted']> => ({
  device: BigInt(stat.device),
  inode: stat.inode,
  mode: stat.mode & 0o7777,
  owner: { uid: stat.uid, gid: stat.gid },
});

function makeDeleted({ path, deleted }: Directory): OwnedFd {
  mkdirSync(path);
  try {
    const made = openFile(path, OPEN.O_DIRECTORY);
    chmodSync(path, deleted?.mode ?? 0o700);
    return made;
  } finally {
    rmdirSync(path);
  }
}

const missing = (folder: string, path: readonly string[]): Problem => ({
  code: 'missing-directory',
  path,
  message: `The directory ${folder} does not exist here.`,
  remedy: `Make it: mkdir -p ${folder}`,
});

const nameTaken = (name: string, path: readonly string[]): Problem => ({
  code: 'name-taken',
  path,
  message: `Its open directory had lost the name ${name}, which something else has here.`,
  remedy: 'Move that away, and restart again.',
});
