/**
 * The way back: checking the page chunks of an image file that is mapped into our memory, and putting their pages into a
 * process that is being rebuilt. Both are shared between threads.
 */
import { crc32c } from '../image/checksum.ts';
import { decompressPages } from '../image/compression.ts';
import type { PageRun } from '../image/page-chunk.ts';
import { MAX_RANGES, type RemoteRange, writeMemory } from '../kernel/calls/process-memory.ts';
import { bytesAt, NativeMemory } from '../kernel/native-memory.ts';
import { asPid, type LocalAddress, localAddress, remoteAddress } from '../support/brand.ts';
import { ImageError } from '../support/errors.ts';
import type { SharedState } from './shared-state.ts';

const PAGE = 4096;

/** A page chunk of an image in memory. */
export interface LoadChunk {
  /** Where its record begins, for messages. */
  readonly offset: number;
  readonly objref: number;
  /** The payload's place in the image. */
  readonly payloadPosition: number;
  readonly payloadBytes: number;
  /** Checksum of the record header, from which the payload's goes on, and the one that both must give. */
  readonly headerCrc: number;
  readonly crc: number;
  readonly encoding: 'raw' | 'zstd';
  readonly dataPosition: number;
  readonly storedBytes: number;
  readonly rawBytes: number;
  readonly runs: readonly PageRun[];
}

/** A chunk, and the process that its pages go to. */
export interface PlacedChunk extends LoadChunk {
  readonly pid: number;
}

export type LoadJob = CommonJob &
  (
    | { readonly kind: 'verify'; readonly chunks: readonly LoadChunk[] }
    | { readonly kind: 'load'; readonly chunks: readonly PlacedChunk[] }
  );

interface CommonJob {
  /** Where the image is mapped in our memory. */
  readonly image: number;
  readonly shared: SharedArrayBuffer;
}

export function runLoadJob(job: LoadJob, state: SharedState, afterChunk: () => void): void {
  state.enter();
  try {
    for (;;) {
      const index = state.takeChunk(job.chunks.length);
      if (index === undefined) break;
      state.count('doneBytes', runOne(job, index));
      afterChunk();
    }
  } catch (error) {
    state.fail(error);
  } finally {
    state.leave();
  }
}

/** Returns how many bytes of pages that were. */
function runOne(job: LoadJob, index: number): number {
  const chunk = job.chunks[index];
  if (chunk === undefined) throw new RangeError(`there is no chunk ${index}`);
  if (job.kind === 'verify') verify(job.image, chunk);
  else load(job.image, job.chunks[index] as PlacedChunk);
  return chunk.rawBytes;
}

function verify(image: number, chunk: LoadChunk): void {
  const payload = bytesAt(localAddress(image + chunk.payloadPosition), chunk.payloadBytes);
  if (crc32c(payload, chunk.headerCrc) === chunk.crc) return;
  throw new ImageError(
    'damaged-image',
    `The image is damaged: the checksum of the PGARR record at byte ${chunk.offset} is wrong.`,
    { offset: chunk.offset, remedy: 'Save the program again, or use another copy of the image.' },
  );
}

/** The pages of a chunk's data runs, one behind the other; raw ones are a view of the image. */
export function chunkPages(image: number, chunk: LoadChunk): Uint8Array {
  const stored = bytesAt(localAddress(image + chunk.dataPosition), chunk.storedBytes);
  if (chunk.encoding === 'raw') return stored;
  return decompressPages(stored, chunk.rawBytes, `PGARR record at byte ${chunk.offset}`);
}

function load(image: number, chunk: PlacedChunk): void {
  const stored = localAddress(image + chunk.dataPosition);
  if (chunk.encoding === 'raw') {
    putPages(chunk.pid, stored, chunk.runs);
    return;
  }
  const pages = chunkPages(image, chunk);
  const copy = NativeMemory.allocate(Math.max(pages.length, PAGE));
  try {
    copy.bytes.set(pages);
    putPages(chunk.pid, copy.address, chunk.runs);
  } finally {
    copy.free();
  }
}

/** Writes the data runs from `data` on, and zeroes over the zero runs. */
export function putPages(pid: number, data: LocalAddress, runs: readonly PageRun[]): void {
  const toRange = (run: PageRun): RemoteRange => ({ start: remoteAddress(run.start), sizeBytes: run.pages * PAGE });
  let from: number = data;
  for (const ranges of inGroups(runs.filter((run) => run.kind === 'data').map(toRange))) {
    writeMemory(asPid(pid), localAddress(from), ranges);
    from += ranges.reduce((sum, range) => sum + range.sizeBytes, 0);
  }
  for (const run of runs) {
    if (run.kind === 'zero') putZeroes(pid, run);
  }
}

const ZERO_BYTES = 64 * PAGE;
let zeroes: NativeMemory | undefined;

function putZeroes(pid: number, run: PageRun): void {
  zeroes ??= NativeMemory.allocate(ZERO_BYTES);
  const end = run.start + run.pages * PAGE;
  for (let at = run.start; at < end; at += ZERO_BYTES) {
    const sizeBytes = Math.min(ZERO_BYTES, end - at);
    writeMemory(asPid(pid), zeroes.address, [{ start: remoteAddress(at), sizeBytes }]);
  }
}

function inGroups(ranges: readonly RemoteRange[]): RemoteRange[][] {
  const groups: RemoteRange[][] = [];
  for (let index = 0; index < ranges.length; index += MAX_RANGES) groups.push(ranges.slice(index, index + MAX_RANGES));
  return groups;
}
