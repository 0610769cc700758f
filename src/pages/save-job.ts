/**
 * Moving a target's pages into the image: each thread takes a chunk, copies it into a buffer that fits its cache, leaves
 * out zero pages, takes the checksum while the bytes are warm, and writes.
 */
import { type PageRun, planRawChunk, planZstdChunk, sealChunkHeader } from '../image/page-chunk.ts';
import { type LocalRange, readAt, writeAll } from '../kernel/calls/file-io.ts';
import { readMemory } from '../kernel/calls/process-memory.ts';
import { bytesAt, NativeMemory } from '../kernel/native-memory.ts';
import { asPid, type LocalAddress, localAddress, localFd, remoteAddress } from '../support/brand.ts';
import { packPages } from './page-codec.ts';
import { ParentPages } from './parent-pages.ts';
import type { SharedState } from './shared-state.ts';

export const PAGE = 4096;
/** Pages of one chunk: a buffer of this size stays in a core's second-level cache between copying, checking and writing. */
export const CHUNK_PAGES = 256;

/** Pages of a chunk that has none of their bytes: its runs fit into the buffer of a header. */
export const UNREAD_CHUNK_PAGES = 2048;

/** Consecutive pages of the target. */
export interface PageRange {
  readonly start: number;
  readonly pages: number;
}

export interface SaveChunk {
  readonly ranges: readonly PageRange[];
  /** Zero pages are written down: without it, they are what the memory holds anyway. */
  readonly keepZeroPages: boolean;
  /** The bytes come from /proc/PID/mem: a mapping that may not be read, or pages that must not be pinned. */
  readonly throughMem: boolean;
  /** The pages are those of the parent, and need not be read. */
  readonly unchanged: boolean;
}

export interface SaveJob {
  readonly kind: 'save';
  readonly pid: number;
  /** Our descriptor of /proc/PID/mem. */
  readonly memory: number;
  /** The pages were copied already: address of the first chunk's copy, the others follow. 0: they are in the target. */
  readonly copy: number;
  readonly objref: number;
  readonly output: number;
  /** False: a stream that only takes bytes in order. */
  readonly positioned: boolean;
  readonly level: number | undefined;
  readonly chunks: readonly SaveChunk[];
  /** What the parent image has: see parent-pages.ts. */
  readonly parent?: SharedArrayBuffer | undefined;
  readonly shared: SharedArrayBuffer;
}

/** Copied pages in our memory, seen as bytes and as words. */
interface PageWindow {
  readonly address: LocalAddress;
  readonly words: Int32Array;
}

function windowAt(address: LocalAddress, pages: number): PageWindow {
  const bytes = bytesAt(address, pages * PAGE);
  return { address, words: new Int32Array(bytes.buffer, bytes.byteOffset, (pages * PAGE) / 4) };
}

/** One thread's buffers, made before the target stands still. */
export class SaveBuffers {
  readonly header = NativeMemory.allocate(64 * 1024, { populate: true });
  readonly pages = windowAt(NativeMemory.allocate(CHUNK_PAGES * PAGE, { populate: true }).address, CHUNK_PAGES);
  /** Of a compressed chunk; touched only where one is made. Behind it is room for padding. */
  readonly packed = NativeMemory.allocate(CHUNK_PAGES * PAGE);
}

export function runSaveJob(job: SaveJob, state: SharedState, buffers: SaveBuffers, afterChunk: () => void): void {
  state.enter();
  try {
    const parent = job.parent === undefined ? undefined : new ParentPages(job.parent);
    for (;;) {
      const index = state.takeChunk(job.chunks.length);
      const chunk = index === undefined ? undefined : job.chunks[index];
      if (index === undefined || chunk === undefined) break;
      saveChunk({ job, state, buffers, parent }, index, chunk);
      afterChunk();
    }
  } catch (error) {
    state.fail(error);
  } finally {
    state.leave();
  }
}

interface Saving {
  readonly job: SaveJob;
  readonly state: SharedState;
  readonly buffers: SaveBuffers;
  readonly parent: ParentPages | undefined;
}

function saveChunk({ job, state, buffers, parent }: Saving, index: number, chunk: SaveChunk): void {
  const pages = pagesOf(chunk);
  if (chunk.unchanged) {
    saveUnchanged({ job, state, buffers, parent }, index, chunk);
    return;
  }
  const copy = job.copy === 0 ? buffers.pages : copyAt(job, index, pages);
  if (job.copy === 0) copyPages(job.pid, job.memory, chunk, copy.address);
  const { runs, parts, zeroPages, parentPages } = findRuns(copy, chunk, parent);
  state.count('zeroPages', zeroPages);
  state.count('parentPages', parentPages);
  if (runs.length > 0) {
    const found = { index, runs, parts };
    if (job.level === undefined || parts.length === 0) writeRaw(job, state, buffers, found);
    else writeCompressed(job, state, buffers, found, job.level);
  }
  state.count('doneBytes', pages * PAGE);
}

/** What the parent has of these pages. What it has not was zero then, and is so still. */
function saveUnchanged({ job, state, buffers, parent }: Saving, index: number, chunk: SaveChunk): void {
  const runs: { start: number; pages: number; kind: PageRun['kind'] }[] = [];
  let parentPages = 0;
  for (const { start, pages } of chunk.ranges) {
    for (let at = start; at < start + pages * PAGE; at += PAGE) {
      const kind = parent?.kindAt(at);
      if (kind === undefined || (kind === 'zero' && !chunk.keepZeroPages)) continue;
      if (kind === 'parent') parentPages++;
      const last = runs[runs.length - 1];
      if (last !== undefined && last.kind === kind && last.start + last.pages * PAGE === at) last.pages++;
      else runs.push({ start: at, pages: 1, kind });
    }
  }
  const pages = pagesOf(chunk);
  state.count('parentPages', parentPages);
  state.count('zeroPages', pages - parentPages);
  if (runs.length > 0) writeRaw(job, state, buffers, { index, runs, parts: [] });
  state.count('doneBytes', pages * PAGE);
}

export const pagesOf = (chunk: SaveChunk): number => chunk.ranges.reduce((sum, range) => sum + range.pages, 0);

/** Where the pages of chunk `index` were copied to. All chunks before it are counted, whatever their size. */
function copyAt(job: SaveJob, index: number, pages: number): PageWindow {
  const before = job.chunks.slice(0, index).reduce((sum, chunk) => sum + pagesOf(chunk), 0);
  return windowAt(localAddress(job.copy + before * PAGE), pages);
}

/** Copies a chunk's pages out of the target, one behind the other. `memory` is a descriptor of /proc/PID/mem. */
export function copyPages(pid: number, memory: number, chunk: SaveChunk, target: LocalAddress): void {
  if (!chunk.throughMem) {
    const ranges = chunk.ranges.map(({ start, pages }) => ({ start: remoteAddress(start), sizeBytes: pages * PAGE }));
    readMemory(asPid(pid), target, ranges);
    return;
  }
  let into: number = target;
  for (const { start, pages } of chunk.ranges) {
    readAt(localFd(memory), localAddress(into), pages * PAGE, start, 'read protected memory');
    into += pages * PAGE;
  }
}

interface FoundRuns {
  readonly runs: PageRun[];
  /** The data runs in the buffer, neighbours joined. */
  readonly parts: LocalRange[];
  readonly zeroPages: number;
  readonly parentPages: number;
}

function findRuns({ address, words }: PageWindow, chunk: SaveChunk, parent: ParentPages | undefined): FoundRuns {
  const bytes = Buffer.from(words.buffer, words.byteOffset, words.byteLength);
  const runs: { start: number; pages: number; kind: PageRun['kind'] }[] = [];
  const parts: { address: LocalAddress; sizeBytes: number }[] = [];
  let zeroPages = 0;
  let parentPages = 0;
  let offset = 0;
  for (const range of chunk.ranges) {
    for (let page = 0; page < range.pages; page++, offset += PAGE) {
      const zero = isZeroPage(words, offset / 4);
      if (zero) zeroPages++;
      if (zero && !chunk.keepZeroPages) continue;
      const start = range.start + page * PAGE;
      const last = runs[runs.length - 1];
      const inherited = !zero && (parent?.equals(start, bytes, offset) ?? false);
      if (inherited) parentPages++;
      const kind = zero ? 'zero' : inherited ? 'parent' : 'data';
      if (last !== undefined && last.kind === kind && last.start + last.pages * PAGE === start) last.pages++;
      else runs.push({ start, pages: 1, kind });
      if (kind !== 'data') continue;
      const part = parts[parts.length - 1];
      if (part !== undefined && part.address + part.sizeBytes === address + offset) part.sizeBytes += PAGE;
      else parts.push({ address: localAddress(address + offset), sizeBytes: PAGE });
    }
  }
  return { runs, parts, zeroPages, parentPages };
}

function isZeroPage(words: Int32Array, first: number): boolean {
  const end = first + PAGE / 4;
  for (let index = first; index < end; index++) {
    if (words[index] !== 0) return false;
  }
  return true;
}

/** What of a chunk goes into the image. */
interface FoundPages {
  readonly index: number;
  readonly runs: readonly PageRun[];
  readonly parts: readonly LocalRange[];
}

const bytesOf = (part: LocalRange): Buffer => bytesAt(part.address, part.sizeBytes);

function writeRaw(job: SaveJob, state: SharedState, buffers: SaveBuffers, { index, runs, parts }: FoundPages): void {
  const data = parts.map(bytesOf);
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
  buffers: SaveBuffers,
  found: FoundPages,
  level: number,
): void {
  const { index, runs } = found;
  const pages = joined(found.parts);
  const length = packPages(pages, buffers.packed, level);
  if (length === undefined) {
    writeRaw(job, state, buffers, { index, runs, parts: [pages] });
    return;
  }
  const plan = planZstdChunk(job.objref, runs, length);
  const crc = sealChunkHeader(plan.headerBytes, buffers.packed.bytes.subarray(0, length));
  buffers.header.bytes.set(plan.headerBytes);
  const header = { address: buffers.header.address, sizeBytes: plan.headerBytes.length };
  const padded = plan.totalBytes - plan.headerBytes.length;
  buffers.packed.bytes.fill(0, length, padded);
  const whole = [header, { address: buffers.packed.address, sizeBytes: padded }];
  let write: (() => void) | undefined;
  state.atPosition((position) => {
    write = () => {
      writeAll(localFd(job.output), job.positioned ? position : undefined, whole);
      state.setResult(index, position, crc);
      state.count('storedBytes', plan.totalBytes);
    };
    if (!job.positioned) write();
    return position + plan.totalBytes;
  });
  if (job.positioned) write?.();
}

/** Moves the parts of a chunk together. The bytes are ours, and used once. */
function joined(parts: readonly LocalRange[]): LocalRange {
  const [first] = parts;
  if (first === undefined) throw new Error('a chunk without pages is not compressed');
  let end = first.address + first.sizeBytes;
  for (const { address, sizeBytes } of parts.slice(1)) {
    const whole = bytesAt(localAddress(end), address + sizeBytes - end);
    whole.copyWithin(0, address - end);
    end += sizeBytes;
  }
  return { address: first.address, sizeBytes: end - first.address };
}
