/** Whether the restart may open what the program had open: it opens every file with the rights of its caller, so that an image gives nobody a file. */
import { FCNTL, OPEN } from '../kernel/abi/fcntl.ts';
import { whyNoAccess } from '../kernel/calls/descriptors.ts';
import { fileAttributes } from '../kernel/calls/file-attributes.ts';
import { isMapped, readProcText } from '../procfs/proc-file.ts';
import { readStatus } from '../procfs/status.ts';
import { asPid } from '../support/brand.ts';
import type { Problem } from '../support/errors.ts';
import { tryStat } from '../support/try-stat.ts';

/** Of open(2) with these flags. Nothing where the file is not there: that is told otherwise. */
export function openingProblems(file: string, flags: number, path: readonly string[]): Problem[] {
  const mode = modeOf(flags);
  const refused = accessProblems(file, mode, path);
  if (refused.length > 0) return refused;
  const writesAnywhere = (mode & FCNTL.W_OK) !== 0 && (flags & OPEN.O_APPEND) === 0;
  if (writesAnywhere && fileAttributes(file).appendOnly) return [appendOnly(file, path)];
  return (flags & OPEN.O_NOATIME) !== 0 && !maySpareAccessTime(file) ? [accessTimeProblem(file, path)] : [];
}

/** access(2) does not ask for it, open(2) does. */
const appendOnly = (file: string, path: readonly string[]): Problem => ({
  code: 'may-not-open',
  path,
  message: `${file} may only be written at its end now (chattr +a), and the program could write it anywhere.`,
  remedy: `Take that from it: chattr -a ${file}`,
});

/** Its owner, or who has CAP_FOWNER over it: open(2), O_NOATIME. */
function maySpareAccessTime(file: string): boolean {
  const owner = tryStat(file)?.uid;
  const { uid, capEffective } = readStatus(asPid(process.pid));
  if (owner === undefined || Number(owner) === uid.filesystem) return true;
  // In a user namespace the capability is for files of its users only (user_namespaces(7)).
  return (capEffective & CAP_FOWNER) !== 0n && isMapped(readProcText(asPid(process.pid), 'uid_map'), Number(owner));
}

/** linux/capability.h */
const CAP_FOWNER = 1n << 3n;

const accessTimeProblem = (file: string, path: readonly string[]): Problem => ({
  code: 'may-not-open',
  path,
  message: `${file} is open with O_NOATIME, which only its owner may ask for.`,
  remedy: 'Run the restart as its owner, or as root, or give quicksave CAP_FOWNER.',
});

/** Of a folder in which a file is made for a moment. */
export const makingProblems = (folder: string, path: readonly string[]): Problem[] =>
  accessProblems(folder, FCNTL.W_OK | FCNTL.X_OK, path);

/** Of chdir(2). */
export const enteringProblems = (folder: string, path: readonly string[]): Problem[] =>
  accessProblems(folder, FCNTL.X_OK, path);

function accessProblems(file: string, mode: number, path: readonly string[]): Problem[] {
  // A folder by its own entry: something else of that name is not refused, but missing.
  const why = whyNoAccess((mode & FCNTL.X_OK) === 0 ? file : `${file}/.`, mode);
  if (why === undefined) return [];
  if (why === 'EPERM' && (mode & FCNTL.W_OK) !== 0 && fileAttributes(file).immutable) {
    const told = `${file} may not be changed by anybody now (chattr +i), and the program could write it.`;
    return [{ code: 'may-not-open', path, message: told, remedy: `Take that from it: chattr -i ${file}` }];
  }
  const message =
    why === 'EROFS'
      ? `${file} is on a file system that is read-only here, and the program could write it.`
      : `You may not ${verbOf(mode)} ${file} (${why}).`;
  const remedy =
    why === 'EROFS'
      ? 'Mount it writable, and restart again.'
      : 'Run the restart as a user who may, or as root, or change who may: chmod, chown.';
  return [{ code: 'may-not-open', path, message, remedy }];
}

function modeOf(flags: number): number {
  const access = flags & OPEN.O_ACCMODE;
  if (access === OPEN.O_RDONLY) return FCNTL.R_OK;
  return access === OPEN.O_WRONLY ? FCNTL.W_OK : FCNTL.R_OK | FCNTL.W_OK;
}

function verbOf(mode: number): string {
  if ((mode & FCNTL.X_OK) !== 0) return (mode & FCNTL.W_OK) === 0 ? 'enter' : 'make a file in';
  if (mode === (FCNTL.R_OK | FCNTL.W_OK)) return 'read and write';
  return mode === FCNTL.R_OK ? 'read' : 'write';
}
