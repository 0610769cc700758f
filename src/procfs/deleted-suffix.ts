/**
 * d_path() appends " (deleted)" to the path of a file that was unlinked, and does not escape a name that really ends
 * so.
 */
import { type BigIntStats, statSync } from 'node:fs';

const SUFFIX = ' (deleted)';

export interface DeletablePath {
  /** Without the suffix. */
  readonly path: string;
  readonly deleted: boolean;
}

export const splitDeleted = (text: string): DeletablePath =>
  text.endsWith(SUFFIX) ? { path: text.slice(0, -SUFFIX.length), deleted: true } : { path: text, deleted: false };

/**
 * As `splitDeleted`, for the text of the link `link`: a file that can still be found under the full text, suffix and
 * all, was not deleted but is so named.
 */
export function splitDeletedLink(link: string, text: string): DeletablePath {
  const split = splitDeleted(text);
  return split.deleted && text.startsWith('/') && isSameFile(link, text) ? { path: text, deleted: false } : split;
}

function isSameFile(a: string, b: string): boolean {
  const [first, second] = [tryStat(a), tryStat(b)];
  return first !== undefined && second !== undefined && first.dev === second.dev && first.ino === second.ino;
}

function tryStat(path: string): BigIntStats | undefined {
  try {
    return statSync(path, { bigint: true });
  } catch {
    return undefined;
  }
}
