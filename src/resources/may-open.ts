/** Whether the restart may open what the program had open: it opens every file with the rights of its caller, so that an image gives nobody a file. */
import { FCNTL, OPEN } from '../kernel/abi/fcntl.ts';
import { whyNoAccess } from '../kernel/calls/descriptors.ts';
import type { Problem } from '../support/errors.ts';

/** Of open(2) with these flags. Nothing where the file is not there: that is told otherwise. */
export const openingProblems = (file: string, flags: number, path: readonly string[]): Problem[] =>
  accessProblems(file, modeOf(flags), path);

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
