/**
 * An open regular file that has no name any more: unlink(2), O_TMPFILE. Its bytes are carried in the image. It comes back
 * under its old name for an instant, or without any where that is taken, and is unlinked again. Lost: times, extended attributes, holes; its owner, where the restart may not give it away: then
 * the summary says so.
 */
import { rmSync } from 'node:fs';
import { dirname } from 'node:path';
import * as v from 'valibot';
import { boundedString, count, u32, u64 } from '../../image/schema.ts';
import { FCNTL, OPEN } from '../../kernel/abi/fcntl.ts';
import { STAT } from '../../kernel/abi/stat.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import { openFile, setFileSize, trySeek } from '../../kernel/calls/descriptors.ts';
import { KernelError } from '../../kernel/errors.ts';
import type { OwnedFd } from '../../kernel/owned-fd.ts';
import { findMount, readMountinfo } from '../../procfs/mountinfo.ts';
import type { ProcessStatus } from '../../procfs/status.ts';
import type { RemoteFd } from '../../support/brand.ts';
import type { Problem } from '../../support/errors.ts';
import { tryStat } from '../../support/try-stat.ts';
import { lockObstacles, locks, locksOf, takeDescriptionLocks, takeProcessLocks } from '../file-locks.ts';
import { isFirstOfFile } from '../first-of.ts';
import { makingProblems } from '../may-open.ts';
import { canBeMadeAgain } from '../memory-objects.ts';
import type { DescriptorKind, DescriptorView, RebuiltProcess } from '../resource.ts';

const schema = v.strictObject({
  path: boundedString(4096),
  /** Descriptions with the same number are of one file. */
  inode: u64,
  device: u64,
  flags: u32,
  mode: u32,
  /** Images from before do not have it. */
  owner: v.optional(v.strictObject({ uid: u32, gid: u32 })),
  position: u64,
  sizeBytes: count,
  /** The first description of the file carries its bytes. */
  carries: v.boolean(),
  locks,
});
type UnlinkedFile = v.InferOutput<typeof schema>;

/** Other kinds have these. */
const isOfMemory = (name: string): boolean => name.startsWith('/memfd:') || name === '/dev/zero';

/** Flags that act once, when a file is opened: of no meaning afterwards, and in the way of opening it through /proc. */
const OPENING_FLAGS =
  OPEN.O_CREAT | OPEN.O_EXCL | OPEN.O_TRUNC | OPEN.O_CLOEXEC | OPEN.O_NOFOLLOW | (OPEN.O_TMPFILE & ~OPEN.O_DIRECTORY);

export const unlinkedFile: DescriptorKind<UnlinkedFile> = {
  kind: 'unlinked-file',
  schema,
  recognise: ({ descriptor, stat, info }) =>
    descriptor.kind === 'path' &&
    (stat.mode & STAT.S_IFMT) === STAT.S_IFREG &&
    (info.flags & OPEN.O_PATH) === 0 &&
    stat.links === 0n &&
    canBeMadeAgain(descriptor.name) &&
    !isOfMemory(descriptor.name),
  obstacles,
  collect: ({ descriptor, stat, info, ...view }) => ({
    path: descriptor.name,
    inode: stat.inode,
    device: BigInt(stat.device),
    flags: (info.flags & ~OPENING_FLAGS & ~OPEN.O_DIRECTORY) >>> 0,
    mode: stat.mode & 0o7777,
    owner: { uid: stat.uid, gid: stat.gid },
    position: BigInt(info.position),
    sizeBytes: Number(stat.sizeBytes),
    carries: isFirstOfFile({ descriptor, stat, info, ...view }),
    locks: locksOf(info.locks),
  }),
  contentBytes: (state) => (state.carries ? state.sizeBytes : 0),
  plan: ({ path: name }, _host, path) => {
    const folder = dirname(name);
    const refused = makingProblems(folder, path);
    if (refused.length > 0 || tryStat(folder)?.isDirectory()) return refused;
    const message = `The folder ${folder} of a file without a name does not exist here.`;
    return [{ code: 'missing-directory', path, message, remedy: `Make it: mkdir -p ${folder}` }];
  },
  restore: (state, world) => {
    const { file } = world.shared(`file ${state.device}:${state.inode}`, () => ({ file: makeUnlinked(state) }));
    const fd = openFile(`/proc/self/fd/${file.number}`, state.flags & ~OPENING_FLAGS);
    trySeek(fd.number, Number(state.position), FCNTL.SEEK_SET);
    takeDescriptionLocks(fd.number, state.locks, state.path);
    return fd;
  },
  contentTarget: (state, world) =>
    world.shared(`file ${state.device}:${state.inode}`, () => ({ file: makeUnlinked(state) })).file,
  finish: (state, process, fd) => {
    takeProcessLocks(fd, state.locks, state.path, process);
    setOwnerAndMode(state, process, fd);
  },
  remark: ({ path, owner }, fd, host) =>
    owner === undefined || host === undefined || mayGiveTo(owner, host.status)
      ? undefined
      : `the file ${path} of descriptor ${fd}, which has no name, belonged to uid ${owner.uid}, gid ${owner.gid}`,
};

function obstacles({ pid, fd, descriptor, info }: DescriptorView): Problem[] {
  const path = [`pid ${pid}`, `fd ${fd}`, descriptor.name];
  const found = lockObstacles(info.locks, path);
  if (findMount(readMountinfo(pid), info.mountId) !== undefined) return found;
  // Drivers make such files too: what is in them belongs to a device.
  found.push({
    code: 'kernel-memory',
    path,
    message: `${descriptor.name} is memory of a part of the kernel, in no file system, which cannot be saved.`,
    remedy: 'Save it when the program has closed or unmapped it.',
  });
  return found;
}

/** linux/capability.h */
const CAP_CHOWN = 0n;

/** Without the capability: only what is its own, to a group that it is in (chown(2)). */
function mayGiveTo(owner: { uid: number; gid: number }, { uid, gid, groups, capEffective }: ProcessStatus): boolean {
  if (((capEffective >> CAP_CHOWN) & 1n) === 1n) return true;
  return owner.uid === uid.filesystem && [gid.filesystem, ...groups].includes(owner.gid);
}

/** When all its descriptions are open: the mode may forbid that. To give a file away takes set-user-ID bits from its mode. */
function setOwnerAndMode({ path, mode, owner }: UnlinkedFile, { batch }: RebuiltProcess, fd: RemoteFd): void {
  batch.call(`set the mode of ${path}`, SYS.fchmod, fd, mode);
  if (owner === undefined) return;
  batch.tryCall(`set the owner of ${path}`, SYS.fchown, fd, owner.uid, owner.gid);
  batch.tryCall(`set the mode of ${path}`, SYS.fchmod, fd, mode);
}

/** Until all its descriptions are open. */
const FIRST_MODE = 0o600;

function makeUnlinked(state: UnlinkedFile): OwnedFd {
  const file = makeUnderItsName(state) ?? openFile(dirname(state.path), OPEN.O_TMPFILE | OPEN.O_RDWR, FIRST_MODE);
  setFileSize(file.number, state.sizeBytes);
  return file;
}

/** Undefined if the name is taken. */
function makeUnderItsName(state: UnlinkedFile): OwnedFd | undefined {
  try {
    const file = openFile(state.path, OPEN.O_CREAT | OPEN.O_EXCL | OPEN.O_RDWR, FIRST_MODE);
    rmSync(state.path);
    return file;
  } catch (error) {
    if (error instanceof KernelError && error.errnoName === 'EEXIST') return undefined;
    throw error;
  }
}
