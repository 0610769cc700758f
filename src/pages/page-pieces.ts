/** Runs of pages against each other: which of one are wanted by another. All ascend and do not overlap. */
import type { PageRun } from '../image/page-chunk.ts';

const PAGE = 4096;

export interface Stretch {
  readonly start: number;
  readonly pages: number;
}

/** Consecutive pages of a chunk. */
export interface Piece extends Stretch {
  /** Where their bytes begin among those of the chunk; undefined: they are zero. */
  readonly offset: number | undefined;
}

/** The pages that a chunk has itself. */
export function piecesOf(runs: readonly PageRun[]): Piece[] {
  let offset = 0;
  const pieces: Piece[] = [];
  for (const { start, pages, kind } of runs) {
    if (kind === 'data') {
      pieces.push({ start, pages, offset });
      offset += pages * PAGE;
    } else if (kind === 'zero') pieces.push({ start, pages, offset: undefined });
  }
  return pieces;
}

export const endOf = ({ start, pages }: Stretch): number => start + pages * PAGE;

export const part = (piece: Piece, start: number, end: number): Piece => ({
  start,
  pages: (end - start) / PAGE,
  offset: piece.offset === undefined ? undefined : piece.offset + start - piece.start,
});

/** What is left of pieces without these stretches; both ascend. */
export function without<T extends Piece>(pieces: readonly T[], stretches: readonly Stretch[]): T[] {
  const left: T[] = [];
  let index = 0;
  for (const piece of pieces) {
    const end = endOf(piece);
    let at = piece.start;
    for (let next = stretches[index]; next !== undefined && next.start < end; next = stretches[index]) {
      if (next.start > at) left.push({ ...piece, ...part(piece, at, next.start) });
      at = Math.max(at, endOf(next));
      // It may go on in the next piece.
      if (endOf(next) > end) break;
      index++;
    }
    if (at < end) left.push({ ...piece, ...part(piece, at, end) });
  }
  return left;
}

/** What of pieces lies in these spans; both ascend. */
export function within<T extends Piece>(
  pieces: readonly T[],
  spans: readonly { readonly start: number; readonly end: number }[],
): T[] {
  const found: T[] = [];
  let index = 0;
  for (const { start, end } of spans) {
    for (; index < pieces.length; index++) {
      const piece = pieces[index] as T;
      if (piece.start >= end) break;
      const [from, to] = [Math.max(start, piece.start), Math.min(end, endOf(piece))];
      if (from < to) found.push({ ...piece, ...part(piece, from, to) });
      // It may reach into the next span.
      if (endOf(piece) > end) break;
    }
  }
  return found;
}

/** Both ascend. */
export function haveCommonPages(some: readonly Stretch[], others: readonly Stretch[]): boolean {
  let index = 0;
  for (const stretch of some) {
    while (index < others.length && endOf(others[index] as Stretch) <= stretch.start) index++;
    if ((others[index]?.start ?? Number.POSITIVE_INFINITY) < endOf(stretch)) return true;
  }
  return false;
}

/** Sorts stretches and joins those that touch or overlap. */
export function joinStretches(stretches: readonly Stretch[]): Stretch[] {
  const joined: { start: number; pages: number }[] = [];
  for (const { start, pages } of [...stretches].sort((a, b) => a.start - b.start)) {
    const last = joined.at(-1);
    if (last !== undefined && endOf(last) >= start)
      last.pages = Math.max(last.pages, (start - last.start) / PAGE + pages);
    else joined.push({ start, pages });
  }
  return joined;
}

/** Chunks, or what is known of them, by the object whose pages they have. */
export function byObject<T extends { readonly objref: number }>(chunks: readonly T[]): Map<number, T[]> {
  const found = new Map<number, T[]>();
  for (const chunk of chunks) {
    const others = found.get(chunk.objref);
    if (others === undefined) found.set(chunk.objref, [chunk]);
    else others.push(chunk);
  }
  return found;
}
