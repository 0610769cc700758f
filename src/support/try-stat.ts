/** stat(2) of a path that need not be there. */
import { type BigIntStats, statSync } from 'node:fs';
import { QuicksaveError } from './errors.ts';

const MISSING = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG']);

/** Undefined if the path names nothing, also because one of its folders has become something else. Throws QuicksaveError where it may not be asked. */
export function tryStat(path: string): BigIntStats | undefined {
  try {
    return statSync(path, { bigint: true });
  } catch (error) {
    const { code = 'unknown error' } = error as NodeJS.ErrnoException;
    if (MISSING.has(code)) return undefined;
    throw new QuicksaveError('not-permitted', `${JSON.stringify(path)} cannot be looked at (${code}).`, {
      cause: error,
    });
  }
}
