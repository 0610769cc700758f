/**
 * An open regular file that has a name: open(2). Read from the link in /proc/PID/fd, from fdinfo (position, flags, locks)
 * and stat(2). The content stays outside: the file of that name must be there at the restart, unchanged or only grown. A
 * file that has lost its name is taken by another name in the same folder.
 * Lost: F_SETLEASE (refused), F_SET_RW_HINT (not told by /proc).
 */
import * as v from 'valibot';
import { u32, u64 } from '../../image/schema.ts';
import { FCNTL, OPEN } from '../../kernel/abi/fcntl.ts';
import { STAT } from '../../kernel/abi/stat.ts';
import { openFile, trySeek } from '../../kernel/calls/descriptors.ts';
import type { Descriptor } from '../../procfs/descriptors.ts';
import type { Problem } from '../../support/errors.ts';
import { tryStat } from '../../support/try-stat.ts';
import { checksumOfEnds, compareFile, fileIdentity, fileProblem } from '../file-identity.ts';
import { isLeased, lockObstacles, locks, locksOf, takeDescriptionLocks, takeProcessLocks } from '../file-locks.ts';
import { openingProblems } from '../may-open.ts';
import { isOfProc } from '../of-proc.ts';
import { otherNameOf } from '../other-name.ts';
import type { DescriptorKind, DescriptorStat, DescriptorView } from '../resource.ts';

const schema = v.strictObject({
  file: fileIdentity,
  /** By it a file that was only appended to is known from one that was written anew. */
  endsChecksum: v.optional(u32),
  flags: u32,
  position: u64,
  locks,
});
type RegularFile = v.InferOutput<typeof schema>;

/** Flags that act once, when a file is opened, and O_CLOEXEC, which is the descriptor's. */
const OPENING_FLAGS = OPEN.O_CREAT | OPEN.O_EXCL | OPEN.O_TRUNC | OPEN.O_NOCTTY | OPEN.O_CLOEXEC;

export const regularFile: DescriptorKind<RegularFile> = {
  kind: 'regular-file',
  schema,
  recognise: ({ descriptor, stat, info }) =>
    descriptor.kind === 'path' &&
    !isOfProc(descriptor.name) &&
    (stat.mode & STAT.S_IFMT) === STAT.S_IFREG &&
    (info.flags & OPEN.O_PATH) === 0 &&
    stat.links > 0n,
  obstacles,
  collect: ({ descriptor, stat, info }) => ({
    file: {
      path: nameOf(descriptor, stat),
      device: BigInt(stat.device),
      inode: stat.inode,
      sizeBytes: stat.sizeBytes,
      modifiedNs: stat.modifiedNs,
    },
    // To open it would break its lease.
    endsChecksum: isLeased(info.locks) ? undefined : checksumOfEnds(nameOf(descriptor, stat), stat.sizeBytes),
    flags: (info.flags & ~OPENING_FLAGS) >>> 0,
    position: BigInt(info.position),
    locks: locksOf(info.locks),
  }),
  plan: (state, host, path) => {
    const refused = openingProblems(state.file.path, state.flags, path);
    if (refused.length > 0) return refused;
    const found = compareFile(state.file, state.endsChecksum);
    if (found === 'same' || found === 'appended') return [];
    return found === 'changed' && host.acceptChangedFiles ? [] : [fileProblem(state.file, found, path)];
  },
  restore: (state) => {
    const fd = openFile(state.file.path, state.flags & ~OPENING_FLAGS);
    trySeek(fd.number, Number(state.position), FCNTL.SEEK_SET);
    takeDescriptionLocks(fd.number, state.locks, state.file.path);
    return fd;
  },
  finish: (state, process, fd) => takeProcessLocks(fd, state.locks, state.file.path, process),
};

/** Its own, or another that it has in the same folder, where that one is lost. */
const nameOf = ({ name, deleted }: Descriptor, stat: DescriptorStat): string =>
  (deleted ? otherNameOf(name, stat) : undefined) ?? name;

/** A message queue shows a path as well, and a file below a mount another one than it has here. */
function isUnderItsName({ descriptor, stat }: DescriptorView): boolean {
  const named = tryStat(descriptor.name);
  return named?.ino === stat.inode && Number(named.dev) === stat.device;
}

function obstacles(view: DescriptorView): Problem[] {
  const { pid, fd, descriptor, info } = view;
  const path = [`pid ${pid}`, `fd ${fd}`, descriptor.name];
  const found = lockObstacles(info.locks, path, true);
  if (descriptor.deleted && otherNameOf(descriptor.name, view.stat) === undefined) {
    found.push({
      code: 'renamed-file',
      path,
      message: `Its open file ${descriptor.name} has lost that name, and its other name is not in the same folder.`,
      remedy: 'Save it when the program has closed the file.',
    });
  }
  if (!descriptor.deleted && !isUnderItsName(view)) {
    found.push({
      code: 'not-under-its-name',
      path,
      message: `What it has open is not the file ${descriptor.name} that is there.`,
      remedy: 'Save it when the program has closed it.',
    });
  }
  return found;
}
