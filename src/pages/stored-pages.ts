/** The pages of one object of an image that is mapped, by address. */
import { chunkPages, type LoadChunk } from './load-job.ts';
import { type Piece, piecesOf } from './page-pieces.ts';

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
