/**
 * A file or directory of /proc that can be opened again by its path: proc(5). Those of a process only where it is among what is
 * saved, because others have their pids by chance. Read from the link in /proc/PID/fd and fdinfo (flags, position). What it
 * shows is made by the kernel anew: the position is set, the text is of then.
 */
import * as v from 'valibot';
import { boundedString, u32, u64 } from '../../image/schema.ts';
import { FCNTL, OPEN } from '../../kernel/abi/fcntl.ts';
import { STAT } from '../../kernel/abi/stat.ts';
import { openFile, trySeek } from '../../kernel/calls/descriptors.ts';
import type { Problem } from '../../support/errors.ts';
import { tryStat } from '../../support/try-stat.ts';
import { anyLockObstacles } from '../file-locks.ts';
import { isOfProc } from '../of-proc.ts';
import type { DescriptorKind, DescriptorView } from '../resource.ts';

const schema = v.strictObject({
  path: v.pipe(boundedString(4096), v.check(isOfProc, 'must be a path in /proc')),
  flags: u32,
  position: u64,
});
type ProcFile = v.InferOutput<typeof schema>;

export const procFile: DescriptorKind<ProcFile> = {
  kind: 'proc-file',
  schema,
  recognise: ({ descriptor, stat, info }) => {
    const type = stat.mode & STAT.S_IFMT;
    return (
      descriptor.kind === 'path' &&
      isOfProc(descriptor.name) &&
      (type === STAT.S_IFREG || type === STAT.S_IFDIR) &&
      (info.flags & OPEN.O_PATH) === 0
    );
  },
  obstacles,
  collect: ({ descriptor, info }) => ({
    path: descriptor.name,
    flags: (info.flags & ~OPENING_FLAGS) >>> 0,
    position: BigInt(info.position),
  }),
  // Those of a process are there when it is made.
  plan: ({ path: name }, _host, path) => {
    if (pidOf(name) !== undefined || tryStat(name) !== undefined) return [];
    const message = `The file ${name} does not exist here.`;
    return [{ code: 'missing-file', path, message, remedy: 'Restart it on a kernel that has it.' }];
  },
  restore: ({ path, flags, position }) => {
    const fd = openFile(path, flags & ~OPENING_FLAGS);
    if (position !== 0n) trySeek(fd.number, Number(position), FCNTL.SEEK_SET);
    return fd;
  },
};

const OPENING_FLAGS = OPEN.O_CREAT | OPEN.O_EXCL | OPEN.O_TRUNC | OPEN.O_NOCTTY | OPEN.O_CLOEXEC;

function pidOf(path: string): number | undefined {
  const [, pid] = /^\/proc\/(\d+)(?:\/|$)/.exec(path) ?? [];
  return pid === undefined ? undefined : Number(pid);
}

/** They are of things that a restart makes later, or that the path does not name. */
const MADE_LATER = /^\/proc\/\d+\/(task\/.|fd\/.|fdinfo\/.|map_files\/.|ns\/.)/;
/** They have state: a reader of the log takes it away, a writer of pressure files has set a trigger. */
const WITH_STATE = /^\/proc\/(kmsg$|pressure\/)/;

function obstacles({ pid, fd, descriptor, info, tree }: DescriptorView): Problem[] {
  const { name, deleted } = descriptor;
  const path = [`pid ${pid}`, `fd ${fd}`, name];
  const found = anyLockObstacles(info.locks, path);
  const refuse = (message: string): void => {
    found.push({ code: 'proc-file', path, message, remedy: 'Save it when the program has closed the file.' });
  };
  const whose = pidOf(name);
  const isReadOnly = (info.flags & OPEN.O_ACCMODE) === OPEN.O_RDONLY;
  if (whose !== undefined && (deleted || !tree.has(whose))) {
    refuse(`Its open file is of process ${whose}, which is not saved: it would be another one's after a restart.`);
  } else if (MADE_LATER.test(name) || (WITH_STATE.test(name) && !(isReadOnly && name.startsWith('/proc/pressure/')))) {
    refuse(`Its open file ${name} has a state of its own, which cannot be saved.`);
  }
  return found;
}
