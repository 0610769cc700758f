/**
 * Moving a target's pages into the image: each thread takes a chunk, copies it into a buffer that fits its cache, leaves
 * out zero pages, takes the checksum while the bytes are warm, and writes.
 */
import { compressPages } from '../image/compression.ts';
import { encodeZstdChunk, type PageRun, planRawChunk, rawBytesOf, sealChunkHeader } from '../image/page-chunk.ts';
import { checksumIn } from '../image/frame.ts';
import { type LocalRange, readAt, writeAll } from '../kernel/calls/file-io.ts';
import { readMemory } from '../kernel/calls/process-memory.ts';
import { NativeMemory } from '../kernel/native-memory.ts';
import { asPid, localAddress, localFd, remoteAddress } from '../support/brand.ts';
import type { SharedState } from './shared-state.ts';

export const PAGE = 4096;
/** Pages of one chunk: a buffer of this size stays in a core's second-level cache between copying, checking and writing. */
export const CHUNK_PAGES = 256;

/** Consecutive pages of the target. */
export interface PageRange {
  readonly start: number;
  readonly pages: number;
}

export interface SaveChunk {
  readonly ranges: readonly PageRange[];
  /** Zero pages are written down: without it, they are what the memory holds anyway. */
  readonly keepZeroPages: boolean;
  /** The mapping may not be read, so that its bytes come from /proc/PID/mem. */
  readonly unreadable: boolean;
}

export interface SaveJob {
  readonly kind: 'save';
  readonly pid: number;
  /** Our descriptor of /proc/PID/mem. */
  readonly memory: number;
  readonly objref: number;
  readonly output: number;
  /** False: a stream that only takes bytes in order. */
  readonly positioned: boolean;
  readonly level: number | undefined;
  readonly chunks: readonly SaveChunk[];
  readonly shared: SharedArrayBuffer;
}

/** One thread's buffers, made before the target stands still. */
export class SaveBuffers {
  readonly pages = NativeMemory.allocate(CHUNK_PAGES * PAGE, { populate: true });
  readonly header = NativeMemory.allocate(64 * 1024, { populate: true });
  readonly words = new Int32Array(this.pages.view.buffer, 0, (CHUNK_PAGES * PAGE) / 4);
}

export function runSaveJob(job: SaveJob, state: SharedState, buffers: SaveBuffers, afterChunk: () => void): void {
  state.enter();
  try {
    for (;;) {
      const index = state.takeChunk(job.chunks.length);
      const chunk = index === undefined ? undefined : job.chunks[index];
      if (index === undefined || chunk === undefined) break;
      saveChunk(job, state, buffers, index, chunk);
      afterChunk();
    }
  } catch (error) {
    state.fail(error);
  } finally {
    state.leave();
  }
}

function saveChunk(job: SaveJob, state: SharedState, buffers: SaveBuffers, index: number, chunk: SaveChunk): void {
  copyIn(job, buffers, chunk);
  const { runs, parts, zeroPages } = findRuns(buffers, chunk);
  const pages = chunk.ranges.reduce((sum, range) => sum + range.pages, 0);
  state.count('zeroPages', zeroPages);
  if (runs.length > 0) {
    if (job.level === undefined || parts.length === 0) writeRaw(job, state, buffers, index, runs, parts);
    else writeCompressed(job, state, index, runs, parts, buffers, job.level);
  }
  state.count('doneBytes', pages * PAGE);
}

function copyIn(job: SaveJob, buffers: SaveBuffers, chunk: SaveChunk): void {
  if (!chunk.unreadable) {
    const ranges = chunk.ranges.map(({ start, pages }) => ({ start: remoteAddress(start), sizeBytes: pages * PAGE }));
    readMemory(asPid(job.pid), buffers.pages.address, ranges);
    return;
  }
  let into = buffers.pages.address as number;
  for (const { start, pages } of chunk.ranges) {
    readAt(localFd(job.memory), localAddress(into), pages * PAGE, start, 'read protected memory');
    into += pages * PAGE;
  }
}

interface FoundRuns {
  readonly runs: PageRun[];
  /** The data runs in the buffer, neighbours joined. */
  readonly parts: LocalRange[];
  readonly zeroPages: number;
}

function findRuns({ pages, words }: SaveBuffers, chunk: SaveChunk): FoundRuns {
  const runs: { start: number; pages: number; kind: 'data' | 'zero' }[] = [];
  const parts: { address: typeof pages.address; sizeBytes: number }[] = [];
  let zeroPages = 0;
  let offset = 0;
  for (const range of chunk.ranges) {
    for (let page = 0; page < range.pages; page++, offset += PAGE) {
      const zero = isZeroPage(words, offset / 4);
      if (zero) zeroPages++;
      if (zero && !chunk.keepZeroPages) continue;
      const start = range.start + page * PAGE;
      const last = runs[runs.length - 1];
      const kind = zero ? 'zero' : 'data';
      if (last !== undefined && last.kind === kind && last.start + last.pages * PAGE === start) last.pages++;
      else runs.push({ start, pages: 1, kind });
      if (zero) continue;
      const part = parts[parts.length - 1];
      if (part !== undefined && part.address + part.sizeBytes === pages.address + offset) part.sizeBytes += PAGE;
      else parts.push({ address: localAddress(pages.address + offset), sizeBytes: PAGE });
    }
  }
  return { runs, parts, zeroPages };
}

function isZeroPage(words: Int32Array, first: number): boolean {
  const end = first + PAGE / 4;
  for (let index = first; index < end; index++) {
    if (words[index] !== 0) return false;
  }
  return true;
}

const bytesOf = ({ pages }: SaveBuffers, part: LocalRange): Buffer =>
  pages.bytes.subarray(part.address - pages.address, part.address - pages.address + part.sizeBytes);

function writeRaw(
  job: SaveJob,
  state: SharedState,
  buffers: SaveBuffers,
  index: number,
  runs: PageRun[],
  parts: LocalRange[],
): void {
  const data = parts.map((part) => bytesOf(buffers, part));
  let write: (() => void) | undefined;
  state.atPosition((position) => {
    const plan = planRawChunk(job.objref, runs, position);
    write = () => {
      const crc = sealChunkHeader(plan.headerBytes, data);
      buffers.header.bytes.set(plan.headerBytes);
      const header = { address: buffers.header.address, sizeBytes: plan.headerBytes.length };
      writeAll(localFd(job.output), job.positioned ? position : undefined, [header, ...parts]);
      state.setResult(index, position, crc);
      state.count('storedBytes', plan.totalBytes);
    };
    // A stream keeps its order only if nobody else writes meanwhile.
    if (!job.positioned) write();
    return position + plan.totalBytes;
  });
  if (job.positioned) write?.();
}

function writeCompressed(
  job: SaveJob,
  state: SharedState,
  index: number,
  runs: PageRun[],
  parts: LocalRange[],
  buffers: SaveBuffers,
  level: number,
): void {
  const data = Buffer.concat(
    parts.map((part) => bytesOf(buffers, part)),
    rawBytesOf(runs),
  );
  const frame = compressPages(data, level);
  if (frame === undefined) return writeRaw(job, state, buffers, index, runs, parts);
  const record = encodeZstdChunk(job.objref, runs, frame);
  const copy = NativeMemory.allocate(record.length);
  try {
    copy.bytes.set(record);
    const whole = [{ address: copy.address, sizeBytes: record.length }];
    state.atPosition((position) => {
      writeAll(localFd(job.output), job.positioned ? position : undefined, whole);
      state.setResult(index, position, checksumIn(record));
      state.count('storedBytes', record.length);
      return position + record.length;
    });
  } finally {
    copy.free();
  }
}

