/**
 * The way back: checking the page chunks of an image file that is mapped into our memory, and putting their pages into a
 * process that is being rebuilt. Both are shared between threads.
 */
import { crc32c } from '../image/checksum.ts';
import type { PageRun } from '../image/page-chunk.ts';
import { MAX_RANGES, type RemoteRange, writeMemory } from '../kernel/calls/process-memory.ts';
import { bytesAt, NativeMemory } from '../kernel/native-memory.ts';
import { asPid, type LocalAddress, localAddress, remoteAddress } from '../support/brand.ts';
import { ImageError } from '../support/errors.ts';
import { ChunkRoom, unpackPages } from './page-codec.ts';
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

export interface LoadJob {
  readonly kind: 'verify' | 'load';
  readonly pid: number;
  /** Where the image is mapped in our memory. */
  readonly image: number;
  readonly chunks: readonly LoadChunk[];
  readonly shared: SharedArrayBuffer;
}

export function runLoadJob(job: LoadJob, state: SharedState, afterChunk: () => void): void {
  state.enter();
  try {
    for (;;) {
      const index = state.takeChunk(job.chunks.length);
      const chunk = index === undefined ? undefined : job.chunks[index];
      if (chunk === undefined) break;
      if (job.kind === 'verify') verify(job, chunk);
      else load(job, chunk);
      state.count('doneBytes', chunk.rawBytes);
      afterChunk();
    }
  } catch (error) {
    state.fail(error);
  } finally {
    state.leave();
  }
}

function verify(job: LoadJob, chunk: LoadChunk): void {
  const payload = bytesAt(localAddress(job.image + chunk.payloadPosition), chunk.payloadBytes);
  if (crc32c(payload, chunk.headerCrc) === chunk.crc) return;
  throw new ImageError(
    'damaged-image',
    `The image is damaged: the checksum of the PGARR record at byte ${chunk.offset} is wrong.`,
    { offset: chunk.offset, remedy: 'Save the program again, or use another copy of the image.' },
  );
}

/** The pages of a chunk's data runs, one behind the other; raw ones are a view of the image. */
export function chunkPages(image: number, chunk: LoadChunk): Uint8Array {
  const pages = bytesAt(pagesInMemory(image, chunk), chunk.rawBytes);
  return chunk.encoding === 'raw' ? pages : Buffer.from(pages);
}

/** This thread's. */
const unpacked = new ChunkRoom();

/** Where they are: in the image, or unpacked, until this thread unpacks the next. */
export function pagesInMemory(image: number, chunk: LoadChunk): LocalAddress {
  const address = localAddress(image + chunk.dataPosition);
  if (chunk.encoding === 'raw') return address;
  const into = unpacked.of(chunk.rawBytes).address;
  const stored = { address, sizeBytes: chunk.storedBytes };
  unpackPages(stored, into, chunk.rawBytes, `PGARR record at byte ${chunk.offset}`);
  return into;
}

function load(job: LoadJob, chunk: LoadChunk): void {
  putPages(job.pid, pagesInMemory(job.image, chunk), chunk.runs);
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
