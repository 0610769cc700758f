/** Who else has what the process has open: found by reading the links of every process of the host. */
import { statSync } from 'node:fs';
import { isSameDescription } from '../kernel/calls/descriptors.ts';
import { findHoldersOfEach, type Holder, stillHolds } from '../procfs/holders.ts';
import type { DescriptorView } from '../resources/resource.ts';
import type { Pid } from '../support/brand.ts';
import { PartSearch } from './parts.ts';

/** A log may be open in every worker of a server; each is looked at. */
const MAX_HOLDERS = 4096;

/**
 * The first look, at the running program, is for pipes, nameless objects and files. Later ones, while it stands still, are
 * only for the first two, as far as it has opened them since, because what they are depends on it: each look costs 13 ms on a host of 300 processes.
 */
export class OutsiderSearch {
  /** What tasks of the tree share with each other, which is remembered in the same way. */
  readonly parts = new PartSearch();
  readonly #known = new Map<string, readonly Holder[]>();
  #tree: ReadonlySet<number> = new Set();
  #hasLooked = false;

  /** `tree`: who is no outsider. */
  of(
    tree: readonly Pid[],
    always: ReadonlySet<string>,
    files: ReadonlySet<string>,
  ): (target: string) => readonly Holder[] {
    const wanted = this.#hasLooked ? [...always] : [...always, ...files];
    const now = new Set<number>(tree);
    // Who has left the tree since is an outsider now, and was not looked at.
    if ([...this.#tree].some((pid) => !now.has(pid))) this.#known.clear();
    this.#tree = now;
    this.#hasLooked = true;
    // Whoever was seen may have ended or closed it, or have it under another number: that only another look tells.
    for (const target of wanted) {
      const holders = this.#known.get(target) ?? [];
      if (!holders.every((holder) => now.has(holder.pid) || stillHolds(holder, target))) this.#known.delete(target);
    }
    const unknown = new Set(wanted.filter((target) => !this.#known.has(target)));
    const found = findHoldersOfEach(unknown, new Set([...now, process.pid]), MAX_HOLDERS);
    for (const target of unknown) this.#known.set(target, found.get(target) ?? []);
    // One that was born meanwhile may have been seen as an outsider.
    return (target) => (this.#known.get(target) ?? []).filter(({ pid }) => !now.has(pid));
  }
}

/** What of an open file other processes have too: sentences for the summary. `holders` have one of the same name. */
export function sharingRemarks(view: DescriptorView, holders: readonly Holder[]): string[] {
  const { pid, fd, descriptor, stat } = view;
  const isUnlinked = stat.links === 0n;
  const sharers = holders.filter((other) =>
    isUnlinked ? isSameFile(view, other) : isSameDescription(pid, fd, other.pid, other.fd),
  );
  if (sharers.length === 0) return [];
  const name = `descriptor ${fd} (${descriptor.name})`;
  return isUnlinked
    ? [`${name} has no name, and ${namesOf(sharers)} has it open too: a restart makes a file of its own`]
    : [
        `${name} is shared with ${namesOf(sharers)}: after a restart it has a position and flags of its own${lockClause(view)}`,
      ];
}

/** Of flock(2) and F_OFD_SETLK (fcntl(2)), which belong to the description: whoever has it keeps the lock when the program has ended. */
const lockClause = ({ info }: DescriptorView): string =>
  info.locks.some(({ kind, type }) => (kind === 'FLOCK' || kind === 'OFDLCK') && type === 'WRITE')
    ? ', and its lock cannot be taken again while that process has it'
    : '';

function isSameFile({ stat }: DescriptorView, { pid, fd }: Holder): boolean {
  try {
    const theirs = statSync(`/proc/${pid}/fd/${fd}`, { bigint: true, throwIfNoEntry: false });
    return theirs?.ino === stat.inode && Number(theirs.dev) === stat.device;
  } catch {
    return false;
  }
}

const NAMED = 3;

function namesOf(holders: readonly Holder[]): string {
  const named = holders.slice(0, NAMED).map(({ pid, comm, fd }) => `${pid} (${comm}, fd ${fd})`);
  return holders.length > NAMED ? `${named.join(', ')} and ${holders.length - NAMED} more` : named.join(', ');
}
