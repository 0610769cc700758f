/** The pages of one object of an image that is mapped, by address. */
import { chunkPages, type LoadChunk } from './load-job.ts';
import { endOf, joinStretches, type Piece, piecesOf, type Stretch } from './page-pieces.ts';

const PAGE = 4096;

export interface StoredPage {
  readonly address: number;
  /** Undefined: the image only says that it is zero. */
  readonly bytes: Uint8Array | undefined;
}

/** Consecutive pages, and the chunk that has their bytes. */
export interface StoredPiece extends Piece {
  readonly chunk: LoadChunk;
}

/** Pages that two memories have from the very same bytes of the image, or that are zeros in both. `one` and `other` ascend. */
export function samePages(one: readonly StoredPiece[], other: readonly StoredPiece[]): Stretch[] {
  const found: Stretch[] = [];
  let index = 0;
  for (const piece of one) {
    for (let theirs = other[index]; theirs !== undefined && theirs.start < endOf(piece); theirs = other[index]) {
      const [start, end] = [Math.max(piece.start, theirs.start), Math.min(endOf(piece), endOf(theirs))];
      if (start < end && haveOnePlace(piece, theirs)) found.push({ start, pages: (end - start) / PAGE });
      if (endOf(theirs) > endOf(piece)) break;
      index++;
    }
  }
  return joinStretches(found);
}

/** Chunks are told apart by their data, because each of its users has a chunk of its own for what it takes. */
function haveOnePlace(one: StoredPiece, other: StoredPiece): boolean {
  if (one.offset === undefined || other.offset === undefined) return one.offset === other.offset;
  return one.chunk.dataAddress === other.chunk.dataAddress && one.offset - one.start === other.offset - other.start;
}

/** Ascending. A compressed chunk is unpacked once, as long as the next page is in it too. */
export function* storedPages(chunks: readonly LoadChunk[], objref: number): Generator<StoredPage> {
  yield* pagesOfPieces(storedPieces(chunks.filter((chunk) => chunk.objref === objref)));
}

export function* pagesOfPieces(pieces: readonly StoredPiece[]): Generator<StoredPage> {
  let unpacked: { chunk: LoadChunk; bytes: Uint8Array } | undefined;
  for (const { start, pages, chunk, offset } of pieces) {
    for (let page = 0; page < pages; page++) {
      const address = start + page * PAGE;
      if (offset === undefined) {
        yield { address, bytes: undefined };
        continue;
      }
      if (unpacked?.chunk !== chunk) unpacked = { chunk, bytes: chunkPages(chunk) };
      const at = offset + page * PAGE;
      yield { address, bytes: unpacked.bytes.subarray(at, at + PAGE) };
    }
  }
}

/** The pages of chunks, ascending: those that are wanted of them, where that is said. */
export const storedPieces = (chunks: readonly LoadChunk[]): StoredPiece[] =>
  chunks
    .flatMap((chunk) => (chunk.pieces ?? piecesOf(chunk.runs)).map((piece) => ({ ...piece, chunk })))
    .sort((a, b) => a.start - b.start);

/** The chunks that pieces are of, each with its pieces. */
export function chunksOf(pieces: readonly StoredPiece[]): LoadChunk[] {
  const found = new Map<LoadChunk, Piece[]>();
  for (const { chunk, ...piece } of pieces) {
    const known = found.get(chunk);
    if (known === undefined) found.set(chunk, [piece]);
    else known.push(piece);
  }
  return [...found].map(([chunk, own]) => ({ ...chunk, pieces: own }));
}
