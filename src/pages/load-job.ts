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
import { type Piece, piecesOf } from './page-pieces.ts';
import type { SharedState } from './shared-state.ts';

const PAGE = 4096;

/** A page chunk of an image in memory. */
export interface LoadChunk {
  /** Where its record begins, for messages. */
  readonly offset: number;
  readonly objref: number;
  /** Where its payload and its data are in our memory. */
  readonly payloadAddress: number;
  readonly payloadBytes: number;
  /** Checksum of the record header, from which the payload's goes on, and the one that both must give. */
  readonly headerCrc: number;
  readonly crc: number;
  readonly encoding: 'raw' | 'zstd';
  readonly dataAddress: number;
  readonly storedBytes: number;
  readonly rawBytes: number;
  readonly runs: readonly PageRun[];
  /** Which of its pages are to be put into the process; without it all that it has. */
  readonly pieces?: readonly Piece[];
}

/** A chunk, and the process that its pages go to. */
export interface PlacedChunk extends LoadChunk {
  readonly pid: number;
}

export type ChunkData = Pick<LoadChunk, 'offset' | 'encoding' | 'dataAddress' | 'storedBytes' | 'rawBytes'>;

export type LoadJob = CommonJob &
  (
    | { readonly kind: 'verify'; readonly chunks: readonly LoadChunk[] }
    | { readonly kind: 'load'; readonly chunks: readonly PlacedChunk[] }
  );

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
  if (job.kind === 'verify') verify(chunk);
  else load(job.chunks[index] as PlacedChunk);
  return chunk.rawBytes;
}

function verify(chunk: LoadChunk): void {
  const payload = bytesAt(localAddress(chunk.payloadAddress), chunk.payloadBytes);
  if (crc32c(payload, chunk.headerCrc) === chunk.crc) return;
  throw new ImageError(
    'damaged-image',
    `The image is damaged: the checksum of the PGARR record at byte ${chunk.offset} is wrong.`,
    { offset: chunk.offset, remedy: 'Save the program again, or use another copy of the image.' },
  );
}

/** The pages of a chunk's data runs, one behind the other; raw ones are a view of the image. */
export function chunkPages(chunk: ChunkData): Buffer {
  const pages = bytesAt(pagesInMemory(chunk), chunk.rawBytes);
  return chunk.encoding === 'raw' ? pages : Buffer.from(pages);
}

/** This thread's. */
const unpacked = new ChunkRoom();

/** Where they are: in the image, or unpacked, until this thread unpacks the next. */
export function pagesInMemory(chunk: ChunkData): LocalAddress {
  const address = localAddress(chunk.dataAddress);
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
