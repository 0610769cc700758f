/**
 * The VmFlags line of smaps (proc_pid_smaps(5)), word by word: what follows from the mapping itself, what is a flag of
 * mmap(2), what is set again with madvise(2) or mlock2(2), and what stands in the way. A word that is not in these tables
 * is refused by its name, because nobody knows what would be lost.
 */
import { MADV, MAP } from '../kernel/abi/mman.ts';

/** Protection, "may" bits, accounting and other things that come by themselves when the mapping is made again. */
const derived: ReadonlySet<string> = new Set([
  'rd',
  'wr',
  'ex',
  'sh',
  'mr',
  'mw',
  'me',
  'ms',
  'ac',
  'sd',
  'de',
  'io',
  'pf',
  'mm',
  'dw',
  // Which pages are guards is kept apart.
  'gu',
  // Droppable memory is a kind of its own.
  'dp',
]);

const advice: ReadonlyMap<string, number> = new Map([
  ['sr', MADV.MADV_SEQUENTIAL],
  ['rr', MADV.MADV_RANDOM],
  ['dc', MADV.MADV_DONTFORK],
  ['dd', MADV.MADV_DONTDUMP],
  ['wf', MADV.MADV_WIPEONFORK],
  ['hg', MADV.MADV_HUGEPAGE],
  ['nh', MADV.MADV_NOHUGEPAGE],
  ['mg', MADV.MADV_MERGEABLE],
]);

const mmapFlags: ReadonlyMap<string, number> = new Map([
  ['gd', MAP.MAP_GROWSDOWN],
  ['nr', MAP.MAP_NORESERVE],
]);

/** mseal(2). */
const SEALED = 'sl';

const locking: ReadonlySet<string> = new Set(['lo', 'lf']);

const refused: ReadonlyMap<string, string> = new Map([
  ['ht', 'huge pages of hugetlbfs that are private and of a file'],
  ['um', 'a live userfaultfd (missing pages)'],
  ['uw', 'a live userfaultfd (write protection)'],
  ['ui', 'a live userfaultfd (minor faults)'],
  ['ss', 'a shadow stack'],
  ['sf', 'synchronous page faults (DAX)'],
  ['wp', 'write-protect marks'],
  ['ar', 'an architecture flag'],
  ['nl', 'a non-linear mapping'],
]);

/** What of the words must be kept in the image: all that has to be set again. `own`: the kind of the mapping has them. */
export const wordsToKeep = (words: readonly string[], own: readonly string[] = []): string[] =>
  words.filter((word) => !derived.has(word) && !own.includes(word));

/** Why a mapping with these words cannot be saved, if it cannot. `own`: the kind of the mapping has them. */
export function refusedWords(words: readonly string[], own: readonly string[] = []): string[] {
  return words.flatMap((word) => {
    if (own.includes(word)) return [];
    if (derived.has(word) || advice.has(word) || mmapFlags.has(word) || locking.has(word)) return [];
    if (word === SEALED) return [];
    return [refused.get(word) ?? `the flag "${word}", which this version does not know`];
  });
}

export const mmapFlagsOf = (words: readonly string[]): number =>
  words.reduce((flags, word) => flags | (mmapFlags.get(word) ?? 0), 0);

export const adviceOf = (words: readonly string[]): number[] =>
  words.flatMap((word) => {
    const found = advice.get(word);
    return found === undefined ? [] : [found];
  });

export const isSealed = (words: readonly string[]): boolean => words.includes(SEALED);

export type Locking = 'none' | 'all' | 'on-fault';

export function lockingOf(words: readonly string[]): Locking {
  if (words.includes('lf')) return 'on-fault';
  return words.includes('lo') ? 'all' : 'none';
}
