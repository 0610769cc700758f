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

/** Pages that two memories have from the very same bytes of the image. `one` and `other` ascend. */
export function samePages(one: readonly StoredPiece[], other: readonly StoredPiece[]): Stretch[] {
  const found: Stretch[] = [];
  let index = 0;
  for (const piece of one) {
    for (let theirs = other[index]; theirs !== undefined && theirs.start < endOf(piece); theirs = other[index]) {
      const [start, end] = [Math.max(piece.start, theirs.start), Math.min(endOf(piece), endOf(theirs))];
      const isSame = placeOf(piece) !== undefined && placeOf(piece) === placeOf(theirs);
      if (start < end && isSame) found.push({ start, pages: (end - start) / PAGE });
      if (endOf(theirs) > endOf(piece)) break;
      index++;
    }
  }
  return joinStretches(found);
}

/** Where in our memory the chunk's data would begin if the piece lay at address 0: equal for the same page of the same bytes. */
const placeOf = ({ chunk, start, offset }: StoredPiece): string | undefined =>
  offset === undefined ? undefined : `${chunk.dataAddress} ${offset - start}`;

/** Ascending. A compressed chunk is unpacked once, as long as the next page is in it too. */
export function* storedPages(chunks: readonly LoadChunk[], objref: number): Generator<StoredPage> {
  yield* pagesOfPieces(piecesOfObject(chunks, objref));
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

export const piecesOfObject = (chunks: readonly LoadChunk[], objref: number): StoredPiece[] =>
  storedPieces(chunks.filter((chunk) => chunk.objref === objref));

/** The pages of chunks, ascending: those that are wanted of them, where that is said. */
export const storedPieces = (chunks: readonly LoadChunk[]): StoredPiece[] =>
  chunks
    .flatMap((chunk) => (chunk.pieces ?? piecesOf(chunk.runs)).map((piece) => ({ ...piece, chunk })))
    .sort((a, b) => a.start - b.start);
