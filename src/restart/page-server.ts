/**
 * Pages of processes that run already: those that somebody waits for at once, all others in the order of their addresses. userfaultfd(2) tells what the
 * processes do with their memory meanwhile, and whoever does it waits until we have read it. From before the change until then the kernel refuses to
 * put pages anywhere (EAGAIN): what is pending is always up to date when a page gets its place.
 */
import { ERRNO } from '../kernel/abi/errno.ts';
import { FS } from '../kernel/abi/fs.ts';
import { openFile } from '../kernel/calls/descriptors.ts';
import { tryScanPages } from '../kernel/calls/pagemap.ts';
import {
  type CopyResult,
  copyInto,
  type MemoryEvent,
  readMemoryEvents,
  wakeWaiters,
  zeroInto,
} from '../kernel/calls/userfaultfd.ts';
import { OwnedFd } from '../kernel/owned-fd.ts';
import { LazyChunks } from '../pages/lazy-chunks.ts';
import { PendingPages } from '../pages/pending-pages.ts';
import type { StoredPiece } from '../pages/stored-pages.ts';
import { readSmaps } from '../procfs/smaps.ts';
import type { Pid } from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';

const PAGE = 4096;
/** With a page that is waited for come those behind it: whoever reads one often reads on. */
const PAGES_AROUND = 16;
/** So many come at once when nobody waits: about a tenth of a millisecond. */
const PAGES_AT_ONCE = 64;

/** No event tells of them (madvise(2), MADV_GUARD_INSTALL), and UFFDIO_COPY would replace them. Shown since Linux 6.15. */
const GUARDS = { all: 0, any: FS.PAGE_IS_GUARD, inverted: 0, tell: 0 };

/** The memory of a process, or of a child of it that came while pages were missing. */
interface Space {
  readonly uffd: OwnedFd;
  readonly pending: PendingPages;
  /** Undefined of such a child. */
  readonly pid: Pid | undefined;
  /** Undefined of such a child. */
  readonly pagemap: OwnedFd | undefined;
}

export class PageServer {
  readonly #chunks = new LazyChunks();
  readonly #spaces = new Set<Space>();
  #waitedFor: { readonly space: Space; readonly page: number }[] = [];
  #doneBytes = 0;

  /** `uffd` becomes its own. */
  add(pid: Pid, uffd: OwnedFd, pieces: readonly StoredPiece[]): void {
    const pagemap = openFile(`/proc/${pid}/pagemap`, 0);
    this.#spaces.add({ uffd, pid, pagemap, pending: new PendingPages(pieces) });
  }

  get isDone(): boolean {
    return this.#spaces.size === 0;
  }

  get doneBytes(): number {
    return this.#doneBytes;
  }

  /** What is waited for, and some of the rest. Throws ImageError if the image turns out to be damaged. */
  step(): void {
    for (const space of [...this.#spaces]) this.#hear(space);
    const waited = this.#waitedFor;
    this.#waitedFor = [];
    for (const one of waited) if (!this.#bring(one.space, one.page)) this.#waitedFor.push(one);
    const [space] = this.#spaces;
    const next = space?.pending.next;
    if (space !== undefined && next !== undefined) this.#put(space, next, PAGES_AT_ONCE);
    for (const one of [...this.#spaces]) if (one.pending.isEmpty) this.#leave(one);
  }

  /** Until it is called nobody goes on with wrong bytes: whoever lacks a page waits. */
  close(): void {
    for (const space of [...this.#spaces]) this.#leave(space);
    this.#chunks.free();
  }

  /** The kernel lets go on who waits there: what he lacks is zero. */
  #leave(space: Space): void {
    space.uffd.close();
    space.pagemap?.close();
    this.#spaces.delete(space);
  }

  #hear(space: Space): void {
    for (const event of readMemoryEvents(space.uffd.number)) this.#handle(space, event);
  }

  #handle(space: Space, event: MemoryEvent): void {
    const { pending } = space;
    if (event.kind === 'fault') this.#waitedFor.push({ space, page: event.address - (event.address % PAGE) });
    else if (event.kind === 'fork') this.#addChild(space, event.uffd);
    else if (event.kind === 'moved') pending.move(event.from, event.to, event.sizeBytes);
    else pending.take(event.start, event.end);
  }

  #addChild({ pid, pending }: Space, uffd: number): void {
    const inherited = pending.copy();
    for (const { start, end } of pid === undefined ? [] : wipedOnFork(pid)) inherited.take(start, end);
    this.#spaces.add({ uffd: new OwnedFd(uffd), pid: undefined, pagemap: undefined, pending: inherited });
  }

  /** False if an event has to be read first. */
  #bring(space: Space, page: number): boolean {
    if (!this.#spaces.has(space)) return true;
    const piece = space.pending.at(page);
    if (piece !== undefined) {
      if (!this.#put(space, piece, PAGES_AROUND)) return false;
      // It has a page, or no place any more.
      wakeWaiters(space.uffd.number, page, PAGE);
      return true;
    }
    const { errno } = zeroInto(space.uffd.number, page, PAGE);
    if (errno === -ERRNO.EAGAIN) return false;
    if (errno !== 0) wakeWaiters(space.uffd.number, page, PAGE);
    return true;
  }

  /** Puts the first pages of a piece where they belong. False if it could not be done before an event is read. */
  #put(space: Space, piece: StoredPiece, most: number): boolean {
    const { start } = piece;
    for (let pages = Math.min(most, piece.pages); ; pages >>= 1) {
      const { copiedBytes, errno } = this.#copy(space, piece, pages * PAGE);
      if (copiedBytes > 0) {
        space.pending.take(start, start + copiedBytes);
        this.#doneBytes += copiedBytes;
        return true;
      }
      if (errno === -ERRNO.EAGAIN) return false;
      // Its last process has ended, or executes another program.
      if (errno === -ERRNO.ESRCH) space.pending.take(0, Number.MAX_SAFE_INTEGER);
      // One call fills one mapping, and the program may have made several of it, or none.
      else if (errno === -ERRNO.ENOENT && pages > 1) continue;
      else if (errno === -ERRNO.ENOENT) space.pending.take(start, start + PAGE);
      else throw noPlace(start, errno);
      return true;
    }
  }

  #copy({ uffd, pagemap, pending }: Space, { chunk, start, offset }: StoredPiece, sizeBytes: number): CopyResult {
    if (offset === undefined) return zeroInto(uffd.number, start, sizeBytes);
    const guards = pagemap && tryScanPages(pagemap.number, start, start + sizeBytes, GUARDS);
    if (guards !== undefined && guards.length > 0) {
      for (const guard of guards) pending.take(guard.start, guard.end);
      return { copiedBytes: 0, errno: -ERRNO.EAGAIN };
    }
    return copyInto(uffd.number, start, this.#chunks.pagesOf(chunk) + offset, sizeBytes);
  }
}

const WIPED_ON_FORK = 'wf';

/** Zeros for a child (madvise(2), MADV_WIPEONFORK). */
const wipedOnFork = (pid: Pid): { start: number; end: number }[] =>
  readSmaps(pid).filter(({ vmFlags }) => vmFlags.includes(WIPED_ON_FORK));

const noPlace = (address: number, errno: number): QuicksaveError =>
  new QuicksaveError('internal', `A page could not be put at 0x${address.toString(16)} (errno ${-errno}).`);
