/** The pages of one object of an image that is mapped, by address. */
import type { LoadChunk } from './load-job.ts';
import { chunkPages } from './load-job.ts';

const PAGE = 4096;

export interface StoredPage {
  readonly address: number;
  /** Undefined: the image only says that it is zero. */
  readonly bytes: Uint8Array | undefined;
}

interface StoredRun {
  readonly start: number;
  readonly pages: number;
  readonly chunk: LoadChunk;
  /** Where its bytes begin among those of the chunk; undefined: zeros. */
  readonly offset: number | undefined;
}

/** Ascending. A compressed chunk is unpacked once, as long as the next page is in it too. */
export function* storedPages(image: number, chunks: readonly LoadChunk[], objref: number): Generator<StoredPage> {
  let unpacked: { chunk: LoadChunk; bytes: Uint8Array } | undefined;
  for (const { start, pages, chunk, offset } of storedRuns(chunks, objref)) {
    for (let page = 0; page < pages; page++) {
      const address = start + page * PAGE;
      if (offset === undefined) {
        yield { address, bytes: undefined };
        continue;
      }
      if (unpacked?.chunk !== chunk) unpacked = { chunk, bytes: chunkPages(image, chunk) };
      const at = offset + page * PAGE;
      yield { address, bytes: unpacked.bytes.subarray(at, at + PAGE) };
    }
  }
}

function storedRuns(chunks: readonly LoadChunk[], objref: number): StoredRun[] {
  const found: StoredRun[] = [];
  for (const chunk of chunks) {
    if (chunk.objref !== objref) continue;
    let offset = 0;
    for (const { start, pages, kind } of chunk.runs) {
      found.push({ start, pages, chunk, offset: kind === 'zero' ? undefined : offset });
      if (kind !== 'zero') offset += pages * PAGE;
    }
  }
  return found.sort((a, b) => a.start - b.start);
}
