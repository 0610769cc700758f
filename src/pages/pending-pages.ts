/** Pages of one address space that are still to come: where they belong now, whatever the program does with its memory meanwhile. */
import { endOf, part, type Stretch } from './page-pieces.ts';
import type { StoredPiece } from './stored-pages.ts';

const PAGE = 4096;

export class PendingPages {
  /** They do not overlap, and the lowest is the last: what comes in the order of addresses is taken from the end. */
  readonly #pieces: StoredPiece[];

  /** `pieces` do not overlap. */
  constructor(pieces: readonly StoredPiece[]) {
    this.#pieces = [...pieces].sort((a, b) => b.start - a.start);
  }

  get isEmpty(): boolean {
    return this.#pieces.length === 0;
  }

  /** The lowest. */
  get next(): StoredPiece | undefined {
    return this.#pieces.at(-1);
  }

  /** Ascending. */
  get stretches(): Stretch[] {
    return this.#pieces.toReversed();
  }

  /** From the page that begins there on, as far as its piece goes. Undefined: it is not pending. */
  at(page: number): StoredPiece | undefined {
    const piece = this.#pieces[this.#firstBelow(page + PAGE)];
    return piece === undefined || endOf(piece) <= page ? undefined : cut(piece, page, endOf(piece));
  }

  /** Forgets what is pending there, and returns it. */
  take(start: number, end: number): StoredPiece[] {
    // Those from `from` up to `to` have something of it.
    const from = this.#firstBelow(end);
    let to = from;
    for (let piece = this.#pieces[to]; piece !== undefined && endOf(piece) > start; piece = this.#pieces[to]) to++;
    const affected = this.#pieces.slice(from, to);
    const left = affected.flatMap((piece) => [
      ...(endOf(piece) > end ? [cut(piece, end, endOf(piece))] : []),
      ...(piece.start < start ? [cut(piece, piece.start, start)] : []),
    ]);
    this.#pieces.splice(from, to - from, ...left);
    return affected.map((piece) => cut(piece, Math.max(piece.start, start), Math.min(endOf(piece), end)));
  }

  /** What was pending behind `to` is forgotten. */
  move(from: number, to: number, sizeBytes: number): void {
    const moved = this.take(from, from + sizeBytes).map((piece) => ({ ...piece, start: piece.start + to - from }));
    this.take(to, to + sizeBytes);
    this.#pieces.splice(this.#firstBelow(to), 0, ...moved);
  }

  /** As a child of fork(2) has it. */
  copy(): PendingPages {
    return new PendingPages(this.#pieces);
  }

  /** Index of the highest piece that begins below this address. */
  #firstBelow(address: number): number {
    let [low, high] = [0, this.#pieces.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#pieces[middle] as StoredPiece).start < address) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

const cut = (piece: StoredPiece, start: number, end: number): StoredPiece => ({ ...piece, ...part(piece, start, end) });
