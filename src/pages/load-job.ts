/**
 * The way back: checking the page chunks of an image file that is mapped into our memory, and putting their pages into a
 * process that is being rebuilt. Both are shared between threads.
 */
import { damagedImage } from '../image/image-errors.ts';
import type { PageRun } from '../image/page-chunk.ts';
import { openSegment, SEGMENT_HEADER_SIZE, SEGMENT_OVERHEAD } from '../image/segment.ts';
import { DIGEST_SIZE, digestOf } from '../image/signature.ts';
import { MAX_RANGES, type RemoteRange, writeMemory } from '../kernel/calls/process-memory.ts';
import { checksumOf } from '../kernel/crc32c.ts';
import { bytesAt, NativeMemory } from '../kernel/native-memory.ts';
import { asPid, type LocalAddress, localAddress, remoteAddress } from '../support/brand.ts';
import { ChunkRoom, unpackPages } from './page-codec.ts';
import { type Piece, piecesOf } from './page-pieces.ts';
import type { SharedState } from './shared-state.ts';

const PAGE = 4096;

/** The data of a chunk of an encrypted image: one segment, whose encrypted bytes are at `dataAddress`, its tag behind them. */
export interface EncryptedData {
  readonly key: Uint8Array;
  /** Of the data in the plain image. */
  readonly position: number;
}

/** A page chunk of an image in memory. */
export interface LoadChunk {
  /** Where its record begins, for messages. */
  readonly offset: number;
  readonly objref: number;
  /** Checksum of its record up to the data, from which the data's goes on, and the one that both must give. */
  readonly headCrc: number;
  readonly crc: number;
  readonly encoding: 'raw' | 'zstd';
  /** Where its data is in our memory. */
  readonly dataAddress: number;
  readonly storedBytes: number;
  readonly rawBytes: number;
  readonly runs: readonly PageRun[];
  /** Undefined: its data is there as it is. */
  readonly segment?: EncryptedData | undefined;
  /** Which of its pages are to be put into the process; without it all that it has. */
  readonly pieces?: readonly Piece[];
}

/** Each chunk of an image once, whoever takes what of it, but for those that are known. */
export function distinctChunks(chunks: readonly LoadChunk[], known: readonly LoadChunk[] = []): LoadChunk[] {
  // An image lies in one stretch of memory, and has one record at an offset.
  const keyOf = ({ dataAddress, offset }: LoadChunk): string => `${dataAddress} ${offset}`;
  const found = new Map(chunks.map((chunk) => [keyOf(chunk), chunk]));
  for (const chunk of known) found.delete(keyOf(chunk));
  return [...found.values()];
}

/** A chunk, and the process that its pages go to. */
export interface PlacedChunk extends LoadChunk {
  readonly pid: number;
}

export type ChunkData = Pick<LoadChunk, 'offset' | 'encoding' | 'dataAddress' | 'storedBytes' | 'rawBytes' | 'segment'>;

export type LoadJob = CommonJob &
  (
    | ({ readonly kind: 'verify'; readonly chunks: readonly LoadChunk[] } & VerifyOptions)
    | { readonly kind: 'load'; readonly chunks: readonly PlacedChunk[] }
  );

export interface VerifyOptions {
  /** Compressed pages are unpacked too: that a checksum is right does not say that they can be. */
  readonly unpacks?: boolean | undefined;
  /** Where the SHA-256 digests of all data go, 32 bytes each. */
  readonly digests?: SharedArrayBuffer | undefined;
}

interface CommonJob {
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
  if (job.kind === 'verify') verify(job, index, chunk);
  else load(job.chunks[index] as PlacedChunk);
  return chunk.rawBytes;
}

function verify({ digests, unpacks }: VerifyOptions, index: number, chunk: LoadChunk): void {
  const address = storedInMemory(chunk);
  if (checksumOf({ address, sizeBytes: chunk.storedBytes }, chunk.headCrc) !== chunk.crc) {
    throw damagedImage(`the checksum of the PGARR record at byte ${chunk.offset} is wrong`, chunk.offset);
  }
  if (digests !== undefined)
    new Uint8Array(digests).set(digestOf([bytesAt(address, chunk.storedBytes)]), index * DIGEST_SIZE);
  if (unpacks === true) unpackedFrom(chunk, address);
}

/** The pages of a chunk's data runs, one behind the other; where they are stored as they are, a view of the image. */
export function chunkPages(chunk: ChunkData): Buffer {
  const pages = bytesAt(pagesInMemory(chunk), chunk.rawBytes);
  return chunk.encoding === 'raw' && chunk.segment === undefined ? pages : Buffer.from(pages);
}

/** This thread's. */
const decrypted = new ChunkRoom();
const unpacked = new ChunkRoom();

/** Where they are: in the image, or decrypted or unpacked, until this thread does that with the next. */
export const pagesInMemory = (chunk: ChunkData): LocalAddress => unpackedFrom(chunk, storedInMemory(chunk));

function storedInMemory({ segment, dataAddress, storedBytes }: ChunkData): LocalAddress {
  const address = localAddress(dataAddress);
  if (segment === undefined || storedBytes === 0) return address;
  const into = decrypted.of(storedBytes);
  const encrypted = bytesAt(address, storedBytes + SEGMENT_OVERHEAD - SEGMENT_HEADER_SIZE);
  into.bytes.set(openSegment(segment.key, segment.position, { length: storedBytes, isLast: false }, encrypted));
  return into.address;
}

function unpackedFrom(chunk: ChunkData, address: LocalAddress): LocalAddress {
  if (chunk.encoding === 'raw') return address;
  const into = unpacked.of(chunk.rawBytes).address;
  const stored = { address, sizeBytes: chunk.storedBytes };
  unpackPages(stored, into, chunk.rawBytes, `PGARR record at byte ${chunk.offset}`);
  return into;
}

function load(chunk: PlacedChunk): void {
  putPages(chunk.pid, pagesInMemory(chunk), chunk.pieces ?? piecesOf(chunk.runs));
}

/** Writes pieces of the pages at `data`, and zeroes where they are zero. */
export function putPages(pid: number, data: LocalAddress, pieces: readonly Piece[]): void {
  for (const { offset, ranges } of inGroups(pieces)) writeMemory(asPid(pid), localAddress(data + offset), ranges);
  for (const piece of pieces) {
    if (piece.offset === undefined) putZeroes(pid, piece);
  }
}

const ZERO_BYTES = 64 * PAGE;
let zeroes: NativeMemory | undefined;

function putZeroes(pid: number, run: Piece): void {
  zeroes ??= NativeMemory.allocate(ZERO_BYTES);
  const end = run.start + run.pages * PAGE;
  for (let at = run.start; at < end; at += ZERO_BYTES) {
    const sizeBytes = Math.min(ZERO_BYTES, end - at);
    writeMemory(asPid(pid), zeroes.address, [{ start: remoteAddress(at), sizeBytes }]);
  }
}

interface Group {
  readonly offset: number;
  readonly ranges: RemoteRange[];
  end: number;
}

/** Pieces whose bytes stand one behind the other are written in one call. */
function inGroups(pieces: readonly Piece[]): Group[] {
  const groups: Group[] = [];
  for (const { start, pages, offset } of pieces) {
    if (offset === undefined) continue;
    const sizeBytes = pages * PAGE;
    let group = groups.at(-1);
    if (group === undefined || group.end !== offset || group.ranges.length === MAX_RANGES) {
      group = { offset, ranges: [], end: offset };
      groups.push(group);
    }
    group.ranges.push({ start: remoteAddress(start), sizeBytes });
    group.end += sizeBytes;
  }
  return groups;
}
