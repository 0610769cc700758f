/** Failures that say nothing of what was asked, but that there is too little of something: errno(3), and clone(2) for EAGAIN. */

import { QuicksaveError } from './errors.ts';

/** What to do about it when this command, or the host, has too little; by the errno's name. */
const REMEDIES: ReadonlyMap<string, string> = new Map([
  ['EMFILE', 'Raise the limit of open files of the command (ulimit -n), and try again.'],
  ['ENFILE', 'Close files on this host, or raise its limit (sysctl fs.file-max), and try again.'],
  ['ENOMEM', 'Free memory, or raise the limit of the command (ulimit -v, memory.max of its cgroup), and try again.'],
]);

const NO_TASKS =
  'End some processes, or raise the limit of their number (ulimit -u, pids.max of the cgroup, sysctl kernel.pid_max), and try again.';

/** Also a quota, and RLIMIT_FSIZE: write(2). */
const NO_SPACE: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);
const SPACE =
  'Free space on that disk, or raise what limits the file (a quota, ulimit -f), or give a name on another disk, and try again.';
const WRITES: ReadonlySet<string> = new Set([
  'write',
  'writev',
  'pwritev',
  'pwrite64',
  'splice',
  'vmsplice',
  'fsync',
  'fdatasync',
  'ftruncate',
  'fallocate',
]);

const MAKES_TASKS: ReadonlySet<string> = new Set(['clone', 'clone3', 'fork', 'vfork']);

/** Undefined if the failure is another one. */
export const remedyForLack = (errnoName: string): string | undefined => REMEDIES.get(errnoName);

/**
 * Of a look at `what` (the object of a sentence) that has failed: throws if it failed because we have too little of something. That says
 * nothing of what was asked, and must not be taken for the answer that there is no such thing.
 */
export function refuseLack(error: unknown, what: string): void {
  const { code = '' } = error as NodeJS.ErrnoException;
  const remedy = REMEDIES.get(code);
  if (remedy !== undefined)
    throw new QuicksaveError('no-room', `Could not read ${what} (${code}).`, { remedy, cause: error });
  if (error instanceof QuicksaveError && error.code === 'no-room') throw error;
}

/** The same of a system call. */
export const remedyForFailedCall = (call: string, errnoName: string, madeInside: boolean): string | undefined => {
  if (MAKES_TASKS.has(call) && errnoName === 'EAGAIN') return NO_TASKS;
  if (WRITES.has(call) && NO_SPACE.has(errnoName) && !madeInside) return SPACE;
  // What a process lacks is not what the command lacks.
  return madeInside ? undefined : remedyForLack(errnoName);
};
