/**
 * Moving a target's pages into the image: each thread takes a chunk, copies it into a buffer that fits its cache, leaves
 * out zero pages, takes the checksum while the bytes are warm, and writes.
 */

import { sealHeader } from '../image/frame.ts';
import {
  addPage,
  type ChunkPlan,
  type GrowingRun,
  type PageRun,
  planRawChunk,
  planZstdChunk,
} from '../image/page-chunk.ts';
import { SEGMENT_OVERHEAD, sealSegment } from '../image/segment.ts';
import { DIGEST_SIZE, digestOf } from '../image/signature.ts';
import { type LocalRange, readAt, writeAll } from '../kernel/calls/file-io.ts';
import { readMemory } from '../kernel/calls/process-memory.ts';
import { checksumOf } from '../kernel/crc32c.ts';
import { bytesAt, NativeMemory } from '../kernel/native-memory.ts';
import { asPid, type LocalAddress, localAddress, localFd, remoteAddress } from '../support/brand.ts';
import { packPages } from './page-codec.ts';
import { ParentPages } from './parent-pages.ts';
import { type Relative, RelativePages, type SoughtPage } from './relative-pages.ts';
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
  readonly encryption?: SaveEncryption | undefined;
  /** Of an image that is to be signed: where the two digests of each chunk's record go, see image/signature.ts. */
  readonly digests?: SharedArrayBuffer | undefined;
  /** What the parent image has: see parent-pages.ts. */
  readonly parent?: SharedArrayBuffer | undefined;
  /** Other processes of the tree, in the order of MM: what they have too is not written again. */
  readonly relatives?: readonly Relative[];
  readonly shared: SharedArrayBuffer;
}

export interface SaveEncryption {
  readonly key: Uint8Array;
  /** How far a byte of the plain image stands behind its position in the output, where this job begins. */
  readonly offset: number;
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

const HEADER_BYTES = 64 * 1024;
const PADDING_BYTES = 8;

/** One thread's buffers, made before the target stands still. */
export class SaveBuffers {
  readonly header = NativeMemory.allocate(HEADER_BYTES, { populate: true });
  readonly pages = windowAt(NativeMemory.allocate(CHUNK_PAGES * PAGE, { populate: true }).address, CHUNK_PAGES);
  /** Of a compressed chunk; touched only where one is made. Behind it is room for padding. */
  readonly packed = NativeMemory.allocate(CHUNK_PAGES * PAGE);
  /** Of an encrypted chunk; touched only where one is made. */
  readonly encrypted = NativeMemory.allocate(CHUNK_PAGES * PAGE + 2 * HEADER_BYTES);
  /** Pages of relatives; touched only where there are some. */
  readonly others = NativeMemory.allocate(CHUNK_PAGES * PAGE);
}

export function runSaveJob(job: SaveJob, state: SharedState, buffers: SaveBuffers, afterChunk: () => void): void {
  state.enter();
  try {
    const parent = job.parent === undefined ? undefined : new ParentPages(job.parent);
    const relatives = (job.relatives ?? []).map((relative) => new RelativePages(relative));
    for (;;) {
      const index = state.takeChunk(job.chunks.length);
      const chunk = index === undefined ? undefined : job.chunks[index];
      if (index === undefined || chunk === undefined) break;
      saveChunk({ job, state, buffers, parent, relatives }, index, chunk);
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
  readonly relatives: readonly RelativePages[];
}

function saveChunk(saving: Saving, index: number, chunk: SaveChunk): void {
  const { job, state, buffers } = saving;
  const pages = pagesOf(chunk);
  if (chunk.unchanged) {
    saveUnchanged(saving, index, chunk);
    return;
  }
  const copy = job.copy === 0 ? buffers.pages : copyAt(job, index, pages);
  if (job.copy === 0) copyPages(job.pid, job.memory, chunk, copy.address);
  const { runs, parts, zeroPages, parentPages, relativePages } = findRuns(copy, chunk, saving);
  state.count('zeroPages', zeroPages);
  state.count('parentPages', parentPages);
  state.count('relativePages', relativePages);
  if (runs.length > 0) {
    const found = { index, runs, parts };
    if (job.level === undefined || parts.length === 0) writeRaw(saving, found);
    else writeCompressed(saving, found, job.level);
  }
  state.count('doneBytes', pages * PAGE);
}

/** What the parent has of these pages. What it has not was zero then, and is so still. */
function saveUnchanged(saving: Saving, index: number, chunk: SaveChunk): void {
  const { state, parent } = saving;
  const runs: GrowingRun[] = [];
  let parentPages = 0;
  for (const { start, pages } of chunk.ranges) {
    for (let at = start; at < start + pages * PAGE; at += PAGE) {
      const kind = parent?.kindAt(at);
      if (kind === undefined || (kind === 'zero' && !chunk.keepZeroPages)) continue;
      if (kind === 'parent') parentPages++;
      addPage(runs, at, kind);
    }
  }
  const pages = pagesOf(chunk);
  state.count('parentPages', parentPages);
  state.count('zeroPages', pages - parentPages);
  if (runs.length > 0) writeRaw(saving, { index, runs, parts: [] });
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
  readonly relativePages: number;
}

function findRuns({ address, words }: PageWindow, chunk: SaveChunk, saving: Saving): FoundRuns {
  const bytes = Buffer.from(words.buffer, words.byteOffset, words.byteLength);
  const { parent } = saving;
  const runs: GrowingRun[] = [];
  const parts: { address: LocalAddress; sizeBytes: number }[] = [];
  const counts = { zeroPages: 0, parentPages: 0, relativePages: 0 };
  const shared = findShared(words, chunk, saving);
  let offset = 0;
  for (const range of chunk.ranges) {
    for (let page = 0; page < range.pages; page++, offset += PAGE) {
      const start = range.start + page * PAGE;
      const relative = shared?.get(offset);
      if (relative !== undefined) {
        counts.relativePages++;
        addPage(runs, start, 'relative', relative);
        continue;
      }
      const zero = isZeroPage(words, offset / 4);
      if (zero) counts.zeroPages++;
      if (zero && !chunk.keepZeroPages) continue;
      const inherited = !zero && (parent?.equals(start, bytes, offset) ?? false);
      if (inherited) counts.parentPages++;
      const kind = zero ? 'zero' : inherited ? 'parent' : 'data';
      addPage(runs, start, kind);
      if (kind !== 'data') continue;
      const part = parts[parts.length - 1];
      if (part !== undefined && part.address + part.sizeBytes === address + offset) part.sizeBytes += PAGE;
      else parts.push({ address: localAddress(address + offset), sizeBytes: PAGE });
    }
  }
  return { runs, parts, ...counts };
}

/** Which relative has which page too, by its offset. What costs nothing anyway is not looked for: zeros, and what the parent image has. */
function findShared(
  words: Int32Array,
  chunk: SaveChunk,
  { relatives, buffers, parent }: Saving,
): ReadonlyMap<number, number> | undefined {
  if (relatives.length === 0) return undefined;
  const bytes = Buffer.from(words.buffer, words.byteOffset, words.byteLength);
  const found = new Map<number, number>();
  let sought: SoughtPage[] = [];
  let offset = 0;
  for (const { start, pages } of chunk.ranges) {
    for (let page = 0; page < pages; page++, offset += PAGE) {
      const address = start + page * PAGE;
      if (isZeroPage(words, offset / 4) || parent?.equals(address, bytes, offset) === true) continue;
      sought.push({ start: address, offset });
    }
  }
  relatives.forEach((relative, index) => {
    if (sought.length === 0) return;
    relative.match(sought, bytes, buffers.others, (page) => found.set(page.offset, index));
    sought = sought.filter((page) => !found.has(page.offset));
  });
  return found;
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

function writeRaw(saving: Saving, { index, runs, parts }: FoundPages): void {
  const { objref } = saving.job;
  writeChunk(saving, { index, data: parts, planAt: (position) => planRawChunk(objref, runs, position) });
}

function writeCompressed(saving: Saving, found: FoundPages, level: number): void {
  const { index, runs } = found;
  const { packed } = saving.buffers;
  const pages = joined(found.parts);
  const length = packPages(pages, packed, level);
  if (length === undefined) {
    writeRaw(saving, { index, runs, parts: [pages] });
    return;
  }
  const plan = planZstdChunk(saving.job.objref, runs, length);
  writeChunk(saving, { index, data: [{ address: packed.address, sizeBytes: length }], planAt: () => plan });
}

interface ChunkToWrite {
  readonly index: number;
  /** What its record stores behind its header. */
  readonly data: readonly LocalRange[];
  readonly planAt: (position: number) => ChunkPlan;
}

/** Takes a place in the stream, and writes the record there. */
function writeChunk({ job, state, buffers }: Saving, { index, data, planAt }: ChunkToWrite): void {
  const dataDigest = job.digests === undefined ? undefined : digestOf(data.map(bytesOf));
  let write: (() => void) | undefined;
  state.atPosition((position) => {
    const plan = planAt(position);
    const at = outputPosition(job, state, position);
    const record = { plan, data, padding: plan.totalBytes - plan.headerBytes.length - sizeOf(data) };
    if (job.encryption !== undefined) state.count('segments', segmentsOf(record));
    write = () => {
      const crc = sealHeader(plan.headerBytes, (checksum) =>
        data.reduce((before, part) => checksumOf(part, before), checksum),
      );
      const { encryption } = job;
      const parts =
        encryption === undefined
          ? plainParts(buffers, record)
          : encryptedParts(buffers, record, encryption.key, position);
      writeAll(localFd(job.output), job.positioned ? at : undefined, parts);
      state.setResult(index, position, crc);
      state.count('storedBytes', plan.totalBytes);
      if (job.digests !== undefined && dataDigest !== undefined) {
        const place = new Uint8Array(job.digests, index * CHUNK_DIGEST_BYTES, CHUNK_DIGEST_BYTES);
        place.set(digestOf([plan.headerBytes]));
        place.set(dataDigest, DIGEST_SIZE);
      }
    };
    // A stream keeps its order only if nobody else writes meanwhile.
    if (!job.positioned) write();
    return position + plan.totalBytes;
  });
  if (job.positioned) write?.();
}

const sizeOf = (parts: readonly LocalRange[]): number => parts.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);

/** Where a byte of the plain image goes: behind what encryption has added up to there. */
function outputPosition({ encryption }: SaveJob, state: SharedState, position: number): number {
  if (encryption === undefined) return position;
  return position + encryption.offset + state.read('segments') * SEGMENT_OVERHEAD;
}

interface RecordToWrite {
  readonly plan: ChunkPlan;
  readonly data: readonly LocalRange[];
  /** Zeros behind the data. */
  readonly padding: number;
}

function plainParts(buffers: SaveBuffers, { plan, data, padding }: RecordToWrite): LocalRange[] {
  const { headerBytes } = plan;
  buffers.header.bytes.set(headerBytes);
  // Nothing has ever been written to the end of the buffer.
  const zeros = localAddress(buffers.header.address + HEADER_BYTES - PADDING_BYTES);
  return [
    { address: buffers.header.address, sizeBytes: headerBytes.length },
    ...data,
    { address: zeros, sizeBytes: padding },
  ];
}

/** Header, data and padding are segments of their own, so that a reader can pass over the data. */
const segmentsOf = ({ data, padding }: RecordToWrite): number => 1 + (data.length > 0 ? 1 : 0) + (padding > 0 ? 1 : 0);

function encryptedParts(
  { encrypted }: SaveBuffers,
  { plan, data, padding }: RecordToWrite,
  key: Uint8Array,
  position: number,
): LocalRange[] {
  const { headerBytes, totalBytes } = plan;
  const segments = [sealSegment(key, position, [headerBytes])];
  if (data.length > 0) segments.push(sealSegment(key, position + headerBytes.length, data.map(bytesOf)));
  if (padding > 0) segments.push(sealSegment(key, position + totalBytes - padding, [new Uint8Array(padding)]));
  let sizeBytes = 0;
  for (const part of segments.flat()) {
    encrypted.bytes.set(part, sizeBytes);
    sizeBytes += part.length;
  }
  return [{ address: encrypted.address, sizeBytes }];
}

/** Of the record up to its data, and of its data. */
export const CHUNK_DIGEST_BYTES = 2 * DIGEST_SIZE;

export function chunkDigests(digests: SharedArrayBuffer, chunk: number): Uint8Array[] {
  const both = new Uint8Array(digests, chunk * CHUNK_DIGEST_BYTES, CHUNK_DIGEST_BYTES);
  return [both.slice(0, DIGEST_SIZE), both.slice(DIGEST_SIZE)];
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
