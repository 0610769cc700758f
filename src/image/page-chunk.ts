/**
 * The payload of a PGARR record: runs of pages of one memory object, and the data of those that are not zero.
 *
 * Everything here is pure, so that worker threads can make and check chunks at places that were planned for them.
 */

import { crc32c } from '../support/checksum.ts';
import { isAllZero, paddedLength, putRecordHeader, RECORD_HEADER_SIZE, sealHeader, viewOf } from './frame.ts';
import { badRecord, misuse } from './image-errors.ts';
import { RECORD, recordLabel } from './record-types.ts';

export const PAGE_SIZE = 4096;
export const MAX_RUNS = 65_536;
export const MAX_RAW_BYTES = 64 * 1024 * 1024;
/** The fixed part, before the runs. */
export const CHUNK_PREFIX_SIZE = 32;
const DATA_OFFSET_FIELD = 24;
const RUN_SIZE = 16;
const RUN_END_LIMIT = 2 ** 63;
export const MAX_CHUNK_PAYLOAD = CHUNK_PREFIX_SIZE + MAX_RUNS * RUN_SIZE + PAGE_SIZE + MAX_RAW_BYTES;

const ENCODING = { raw: 0, zstd: 1 } as const;
const KIND = { data: 0, zero: 1, parent: 2 } as const;
const kinds = ['data', 'zero', 'parent'] as const;
/** Number of the first relative; the others follow. */
const FIRST_RELATIVE = 3;
/** How many memories another one may take pages from. */
export const MAX_RELATIVES = 16;

export type ChunkEncoding = keyof typeof ENCODING;

/** Consecutive pages. `start` is a multiple of 4096, and so is exact as a double up to its limit of 2^63. */
export interface PageRun {
  /** An address in a memory object, an offset in a file object. */
  readonly start: number;
  readonly pages: number;
  /**
   * Only data has bytes in the chunk. The pages of `parent` are those that the parent image has there, the pages of `relative` those
   * that another memory of this image has there.
   */
  readonly kind: PageKind;
  /** Only of `relative`: which of the memories that MM names as its relatives. */
  readonly relative?: number;
}

export type PageKind = keyof typeof KIND | 'relative';

/** A run that is being put together. */
export type GrowingRun = { -readonly [Key in keyof PageRun]: PageRun[Key] };

/** One more page behind those that are there. */
export function addPage(runs: GrowingRun[], start: number, kind: PageKind, relative?: number): void {
  const last = runs[runs.length - 1];
  if (last?.kind === kind && last.relative === relative && last.start + last.pages * PAGE_SIZE === start) last.pages++;
  else runs.push({ start, pages: 1, kind, ...(relative === undefined ? {} : { relative }) });
}

/** The fixed part of a chunk, checked against its record's length. */
export interface ChunkPrefix {
  readonly encoding: ChunkEncoding;
  readonly runCount: number;
  /** Bytes of the data runs, uncompressed. */
  readonly rawBytes: number;
  /** Bytes of the data in the payload. */
  readonly storedBytes: number;
  /** From the payload's start to the data. */
  readonly dataOffset: number;
}

/** A chunk whose bytes have a place in the stream, but are not there yet. */
export interface ChunkPlan {
  /** Record header (its checksum still zero) and payload up to the data. The data goes right behind it. */
  readonly headerBytes: Uint8Array;
  /** Where the data goes: a position in the stream. */
  readonly dataPosition: number;
  readonly rawBytes: number;
  /** What the record takes of the stream, padding included. */
  readonly totalBytes: number;
}

export const rawBytesOf = (runs: readonly PageRun[]): number =>
  runs.reduce((bytes, run) => (run.kind === 'data' ? bytes + run.pages * PAGE_SIZE : bytes), 0);

/** Plans an uncompressed chunk at `streamPosition` so that its data begins at a multiple of the page size. */
export function planRawChunk(objref: number, runs: readonly PageRun[], streamPosition: number): ChunkPlan {
  const rawBytes = rawBytesOf(runs);
  const dataOffset = rawDataOffset(streamPosition, runs.length, rawBytes);
  const prefix: ChunkPrefix = { encoding: 'raw', runCount: runs.length, rawBytes, storedBytes: rawBytes, dataOffset };
  return {
    headerBytes: encodeChunkHeader(objref, prefix, runs),
    dataPosition: streamPosition + RECORD_HEADER_SIZE + dataOffset,
    rawBytes,
    totalBytes: RECORD_HEADER_SIZE + paddedLength(dataOffset + rawBytes),
  };
}

/** Plans a chunk around a zstd frame of `storedBytes` bytes. It may stand at any position: `dataPosition` counts from there. */
export function planZstdChunk(objref: number, runs: readonly PageRun[], storedBytes: number): ChunkPlan {
  const rawBytes = rawBytesOf(runs);
  const dataOffset = runsEnd(runs.length);
  const prefix: ChunkPrefix = { encoding: 'zstd', runCount: runs.length, rawBytes, storedBytes, dataOffset };
  return {
    headerBytes: encodeChunkHeader(objref, prefix, runs),
    dataPosition: RECORD_HEADER_SIZE + dataOffset,
    rawBytes,
    totalBytes: RECORD_HEADER_SIZE + paddedLength(dataOffset + storedBytes),
  };
}

/** A whole record around one zstd frame. It may stand at any position. */
export function encodeZstdChunk(objref: number, runs: readonly PageRun[], frame: Uint8Array): Uint8Array {
  const { headerBytes, totalBytes } = planZstdChunk(objref, runs, frame.length);
  sealHeader(headerBytes, (crc) => crc32c(frame, crc));
  const record = new Uint8Array(totalBytes);
  record.set(headerBytes);
  record.set(frame, headerBytes.length);
  return record;
}

/** Where the data of a whole record that is a page chunk stands in it; undefined for another record. */
export function storedDataIn(record: Uint8Array): { readonly start: number; readonly end: number } | undefined {
  const view = viewOf(record);
  if (view.getUint16(0, true) !== RECORD.PGARR) return undefined;
  const start = RECORD_HEADER_SIZE + view.getUint32(RECORD_HEADER_SIZE + DATA_OFFSET_FIELD, true);
  return { start, end: RECORD_HEADER_SIZE + Number(view.getBigUint64(8, true)) };
}

const runsEnd = (runCount: number): number => CHUNK_PREFIX_SIZE + runCount * RUN_SIZE;

function rawDataOffset(streamPosition: number, runCount: number, rawBytes: number): number {
  const earliest = runsEnd(runCount);
  if (rawBytes === 0) return earliest;
  const position = streamPosition + RECORD_HEADER_SIZE + earliest;
  return earliest + (Math.ceil(position / PAGE_SIZE) * PAGE_SIZE - position);
}

function encodeChunkHeader(objref: number, prefix: ChunkPrefix, runs: readonly PageRun[]): Uint8Array {
  const bytes = new Uint8Array(RECORD_HEADER_SIZE + prefix.dataOffset);
  const length = prefix.dataOffset + prefix.storedBytes;
  putRecordHeader(bytes, { type: RECORD.PGARR, flags: 0, crc: 0, length, objref });
  const payload = bytes.subarray(RECORD_HEADER_SIZE);
  const fault = findRunsFault(runs) ?? findPrefixFault(prefix, length);
  if (fault !== undefined) throw misuse(`a page chunk to write ${fault}`);
  putPrefix(payload, prefix);
  runs.forEach((run, index) => {
    putRun(viewOf(payload), runsEnd(index), run);
  });
  return bytes;
}

function putPrefix(payload: Uint8Array, prefix: ChunkPrefix): void {
  const view = viewOf(payload);
  view.setUint32(0, ENCODING[prefix.encoding], true);
  view.setUint32(4, prefix.runCount, true);
  view.setBigUint64(8, BigInt(prefix.rawBytes), true);
  view.setBigUint64(16, BigInt(prefix.storedBytes), true);
  view.setUint32(DATA_OFFSET_FIELD, prefix.dataOffset, true);
}

function putRun(view: DataView, at: number, run: PageRun): void {
  view.setBigUint64(at, BigInt(run.start), true);
  view.setUint32(at + 8, run.pages, true);
  view.setUint32(at + 12, run.kind === 'relative' ? FIRST_RELATIVE + (run.relative ?? 0) : KIND[run.kind], true);
}

/** Decodes the first 32 bytes of a payload. `offset` is the record's place in the stream, `length` its payload's. */
export function decodeChunkPrefix(bytes: Uint8Array, offset: number, length: number): ChunkPrefix {
  const view = viewOf(bytes);
  const encoding = view.getUint32(0, true);
  const prefix: ChunkPrefix = {
    encoding: encoding === ENCODING.zstd ? 'zstd' : 'raw',
    runCount: view.getUint32(4, true),
    rawBytes: Number(view.getBigUint64(8, true)),
    storedBytes: Number(view.getBigUint64(16, true)),
    dataOffset: view.getUint32(DATA_OFFSET_FIELD, true),
  };
  const fault =
    (encoding > ENCODING.zstd ? `has the unknown encoding ${encoding}` : undefined) ??
    (view.getUint32(28, true) === 0 ? undefined : 'has a reserved field that is not zero') ??
    findPrefixFault(prefix, length) ??
    findDataPlaceFault(prefix, offset);
  if (fault !== undefined) throw badChunk(offset, fault);
  return prefix;
}

function findPrefixFault(prefix: ChunkPrefix, length: number): string | undefined {
  const { encoding, runCount, rawBytes, storedBytes, dataOffset } = prefix;
  if (runCount === 0 || runCount > MAX_RUNS) return `has ${runCount} runs (1 to ${MAX_RUNS} are allowed)`;
  if (rawBytes > MAX_RAW_BYTES) return `claims ${rawBytes} bytes of pages (${MAX_RAW_BYTES} are allowed)`;
  if (encoding === 'raw' && storedBytes !== rawBytes)
    return `stores ${storedBytes} bytes for ${rawBytes} bytes of pages`;
  // Compression that does not pay is not used; so a small limit on what is stored holds for both encodings.
  if (storedBytes > rawBytes) return `stores ${storedBytes} bytes for ${rawBytes} bytes of pages`;
  if (encoding === 'zstd' && storedBytes === 0) return 'is compressed but has no data';
  if (dataOffset + storedBytes !== length) return 'has a length that does not agree with its record';
  return undefined;
}

function findDataPlaceFault(prefix: ChunkPrefix, offset: number): string | undefined {
  const { encoding, runCount, rawBytes, dataOffset } = prefix;
  const expected = encoding === 'raw' ? rawDataOffset(offset, runCount, rawBytes) : runsEnd(runCount);
  return dataOffset === expected ? undefined : `has its data at ${dataOffset} (it belongs at ${expected})`;
}

/** Decodes the runs of `payload`, which reaches from the payload's start to the data. */
export function decodeChunkRuns(payload: Uint8Array, prefix: ChunkPrefix, offset: number): PageRun[] {
  const view = viewOf(payload);
  const runs = Array.from({ length: prefix.runCount }, (_, index) => decodeRun(view, runsEnd(index), offset));
  const fault = findRunsFault(runs) ?? findSumFault(runs, prefix);
  if (fault !== undefined) throw badChunk(offset, fault);
  if (!isAllZero(payload.subarray(runsEnd(runs.length)))) throw badChunk(offset, 'has padding that is not zero');
  return runs;
}

function decodeRun(view: DataView, at: number, offset: number): PageRun {
  const kind = view.getUint32(at + 12, true);
  const relative = kind - FIRST_RELATIVE;
  const name = relative >= 0 && relative < MAX_RELATIVES ? 'relative' : kinds[kind];
  if (name === undefined) throw badChunk(offset, `has a run of the unknown kind ${kind}`);
  // In halves: 65,536 runs without a bigint each. A start that a double cannot hold is no multiple of 4096 or too far.
  const start = view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
  if (view.getUint32(at, true) % PAGE_SIZE !== 0) throw badChunk(offset, 'has a run that does not begin at a page');
  const pages = view.getUint32(at + 8, true);
  return name === 'relative' ? { start, pages, kind: name, relative } : { start, pages, kind: name };
}

const findSumFault = (runs: readonly PageRun[], prefix: ChunkPrefix): string | undefined =>
  rawBytesOf(runs) === prefix.rawBytes ? undefined : `says ${prefix.rawBytes} bytes of pages, but its runs are other`;

/** Runs ascend and do not overlap: two answers for one page would be one too many. */
function findRunsFault(runs: readonly PageRun[]): string | undefined {
  let previousEnd = 0;
  for (const { start, pages, kind, relative } of runs) {
    if ((kind === 'relative') !== (relative !== undefined)) return 'has a run of a relative that is not said';
    if (start % PAGE_SIZE !== 0) return 'has a run that does not begin at a page';
    if (!Number.isInteger(pages) || pages <= 0 || pages > 0xffff_ffff) return `has a run of ${pages} pages`;
    if (start < previousEnd) return 'has runs that overlap or do not ascend';
    previousEnd = start + pages * PAGE_SIZE;
    if (previousEnd > RUN_END_LIMIT) return 'has a run that ends beyond 2^63';
  }
  return undefined;
}

const badChunk = (offset: number, fault: string): Error =>
  badRecord(recordLabel(RECORD.PGARR, offset), `the page chunk ${fault}`, offset);
