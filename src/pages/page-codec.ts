/** Compressed chunks between pieces of native memory: by the system's library, else by the codec of the image layer. */
import {
  compressPages,
  decompressPages,
  isWorthKeeping,
  refuseOddFrame,
  undecompressable,
} from '../image/compression.ts';
import type { LocalRange } from '../kernel/calls/file-io.ts';
import { bytesAt, NativeMemory } from '../kernel/native-memory.ts';
import { zstdLibrary } from '../kernel/zstd-library.ts';
import type { LocalAddress } from '../support/brand.ts';

/** Pieces of a chunk that are tried first, and what they must come to if the rest is to be tried too. */
const SAMPLES = 4;
const SAMPLE_BYTES = 16 * 1024;
const WORTH_IT = 0.95;
const WORTH_SAMPLING_BYTES = 256 * 1024;

/** Compresses pages into `into`; the frame's bytes, undefined where they do not become smaller. */
export function packPages(pages: LocalRange, into: NativeMemory, level: number): number | undefined {
  const { address, sizeBytes } = pages;
  const library = zstdLibrary();
  if (library === undefined) {
    const frame = compressPages(bytesAt(address, sizeBytes), level);
    if (frame === undefined || frame.length > into.sizeBytes) return undefined;
    into.bytes.set(frame);
    return frame.length;
  }
  const compress = (from: number, size: number): number =>
    library.compress(into.address, into.sizeBytes, from, size, level) ?? size;
  if (!looksWorthIt(pages, compress)) return undefined;
  const length = compress(address, sizeBytes);
  return isWorthKeeping(into.bytes.subarray(0, length), sizeBytes) ? length : undefined;
}

/** Noise is found out from some of it, because compressing takes as long for nothing. */
function looksWorthIt({ address, sizeBytes }: LocalRange, compress: (from: number, size: number) => number): boolean {
  if (sizeBytes < WORTH_SAMPLING_BYTES) return true;
  const step = Math.floor((sizeBytes - SAMPLE_BYTES) / (SAMPLES - 1) / 4096) * 4096;
  let total = 0;
  for (let index = 0; index < SAMPLES; index++) total += compress(address + index * step, SAMPLE_BYTES);
  return total < SAMPLES * SAMPLE_BYTES * WORTH_IT;
}

/** Unpacks a frame into `into`, exactly `rawBytes` bytes, or throws an ImageError that names `where`. */
export function unpackPages(stored: LocalRange, into: LocalAddress, rawBytes: number, where: string): void {
  const frame = bytesAt(stored.address, stored.sizeBytes);
  const library = zstdLibrary();
  if (library === undefined) {
    bytesAt(into, rawBytes).set(decompressPages(frame, rawBytes, where));
    return;
  }
  refuseOddFrame(frame, rawBytes, where);
  if (library.decompress(into, rawBytes, stored.address, stored.sizeBytes) !== rawBytes) throw undecompressable(where);
}

/** Memory for the pages of one chunk after the other: what was there before is gone. */
export class ChunkRoom {
  #memory: NativeMemory | undefined;
  readonly #low: boolean;

  /** `low`: as of {@link NativeMemory.allocate}. */
  constructor({ low = false }: { low?: boolean } = {}) {
    this.#low = low;
  }

  of(sizeBytes: number): NativeMemory {
    if (this.#memory === undefined || this.#memory.sizeBytes < sizeBytes) {
      this.#memory?.free();
      this.#memory = NativeMemory.allocate(Math.max(sizeBytes, LEAST_ROOM), { low: this.#low });
    }
    return this.#memory;
  }

  free(): void {
    this.#memory?.free();
    this.#memory = undefined;
  }
}

const LEAST_ROOM = 1024 * 1024;
