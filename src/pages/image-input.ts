/** Reading an image: a file is mapped and checked whole before anything is made; a stream is read as it comes. */
import { fstatSync, statfsSync, writeSync } from 'node:fs';
import type { ByteSource } from '../image/byte-stream.ts';
import { misuse } from '../image/image-errors.ts';
import type { FindImage } from '../image/image-folder.ts';
import type { OpenedInput } from '../image/image-source.ts';
import { type ImageModel, ModelBuilder } from '../image/model.ts';
import type { PageRun } from '../image/page-chunk.ts';
import { type ChunkRecord, ImageReader, unpackChunk } from '../image/reader.ts';
import { recordLabel } from '../image/record-types.ts';
import type { Signature } from '../image/signature.ts';
import { writeHugePages } from '../kernel/calls/file-io.ts';
import { bytesAt } from '../kernel/native-memory.ts';
import type { LocalFd } from '../support/brand.ts';
import { ImageError, QuicksaveError } from '../support/errors.ts';
import { followAll, followParents, type Inheriting, type Lineage } from './lineage.ts';
import { chunkPages, distinctChunks, type LoadChunk, type PlacedChunk, putPages } from './load-job.ts';
import { checkedBy, lateRecord, mapImage } from './mapped-image.ts';
import { ChunkRoom, unpackPages } from './page-codec.ts';
import type { PageCrew } from './page-crew.ts';
import { byObject, piecesOf } from './page-pieces.ts';
import { chunksOf, type StoredPage, type StoredPiece, storedPages, storedPieces } from './stored-pages.ts';

const PAGE = 4096;

export interface ImageInput {
  readonly model: ImageModel;
  /** All chunks, those of parents with the pieces that are taken of them. None of a stream. */
  readonly chunks: readonly LoadChunk[];
  /** Puts all pages where they belong; throws ImageError if the rest of the image turns out to be damaged. */
  loadPages(target: PageTarget, crew: PageCrew): void;
  /** The pages of an object, ascending. Only of a file. */
  pages(objref: number): Iterable<StoredPage>;
  /** The same, in stretches of a chunk. Only of a file of ours. */
  readonly pieces?: FileInput['pieces'];
  /** Instead of loading them: checks all that is not checked yet, to the end of the image. */
  checkPages(): ImageCounts;
  close(): void;
}

export interface FileInput extends ImageInput {
  readonly pieces: (objref: number) => readonly StoredPiece[];
}

export interface ImageCounts {
  readonly imageBytes: number;
  readonly records: number;
  /** Undefined: it is not signed. */
  readonly signature?: Signature | undefined;
  /** Pages whose bytes are in the image, and those that it only says are zero. */
  readonly dataPages: number;
  readonly zeroPages: number;
  /** Pages that are those of its parent. */
  readonly parentPages: number;
  /** Pages of a memory that are those of another one. */
  readonly relativePages: number;
}

/** Where pages go: the memory of processes, or the files of other objects. */
export interface PageTarget {
  /** The process whose memory this object is. */
  readonly pidOf: (objref: number) => number | undefined;
  /** What of its pages is still to be put into it, where that is not all. */
  readonly remaining?: (objref: number) => readonly StoredPiece[] | undefined;
  readonly contentTarget: (objref: number) => LocalFd | undefined;
  /** Takes what is to come later, and returns what is to be put there now. */
  readonly split?: ((chunks: readonly PlacedChunk[]) => PlacedChunk[]) | undefined;
}

/**
 * An image in a file: all of it is checked before this returns, and what it takes from its parents too. Without `find` an image that has
 * a parent is refused.
 */
export function readImageFile(
  opened: OpenedInput,
  crew: PageCrew,
  find?: FindImage,
  options: FileOptions = {},
): FileInput {
  const { unchecked = false } = options;
  const image = mapImage(opened, crew, unchecked ? undefined : checkedBy(crew, options));
  let lineage: Lineage;
  try {
    lineage = followAll({
      image,
      isEncrypted: options.isEncrypted ?? opened.encryption !== undefined,
      find,
      crew,
      unchecked,
    });
  } catch (error) {
    image.close();
    throw error;
  }
  const { model, chunks, records } = image;
  const all = [...chunks, ...lineage.chunks];
  const byMemory = byObject(all);
  return {
    model,
    chunks: all,
    loadPages: (target, workers) => {
      const ofProcesses = placed(target, all);
      const now = target.split?.(ofProcesses) ?? ofProcesses;
      const ofFiles = chunks.filter(({ objref }) => target.pidOf(objref) === undefined);
      if (unchecked) workers.verify(distinctChunks([...now, ...ofFiles]));
      workers.load(now);
      for (const chunk of ofFiles) loadIntoFile(target, chunk, chunkPages(chunk));
    },
    pages: (objref) => storedPages(all, objref),
    pieces: (objref) => storedPieces(byMemory.get(objref) ?? []),
    checkPages: () => {
      if (options.unpacks !== true) throw misuse('pages were to be checked that had not been unpacked');
      crew.verify(distinctChunks(lineage.chunks, chunks), options);
      const { signature, sizeBytes: imageBytes } = image;
      return { imageBytes, records, signature, ...countPages(chunks) };
    },
    close: () => {
      lineage.close();
      image.close();
    },
  };
}

export interface FileOptions {
  /** All pages are unpacked when they are checked, for `checkPages`. */
  readonly unpacks?: boolean | undefined;
  /** The data of its chunks, and of those of its parents, is not looked at before it is used. */
  readonly unchecked?: boolean | undefined;
  /** It came encrypted, though what is read is plain. */
  readonly isEncrypted?: boolean | undefined;
}

type PageCounts = Pick<ImageCounts, 'dataPages' | 'zeroPages' | 'parentPages' | 'relativePages'>;

function countPages(
  chunks: readonly { readonly runs: readonly PageRun[] }[],
  before: PageCounts = { dataPages: 0, zeroPages: 0, parentPages: 0, relativePages: 0 },
): PageCounts {
  const counts = { ...before };
  for (const { runs } of chunks) for (const { kind, pages } of runs) counts[`${kind}Pages`] += pages;
  return counts;
}

/** An image from a stream: its metadata is read and checked; pages and TAIL come when they are loaded. */
export function readImageStream(opened: OpenedInput, source: ByteSource, find?: FindImage): ImageInput {
  const stored = new ChunkRoom();
  const unpacked = new ChunkRoom();
  const bufferFor = (chunk: ChunkRecord): Uint8Array => stored.of(chunk.storedBytes).bytes;
  const reader = new ImageReader(source, { bufferFor, signedBy: opened.signedBy });
  const builder = new ModelBuilder();
  let record = reader.next();
  for (; record !== undefined && record.kind === 'metadata'; record = reader.next()) builder.add(record);
  const model = builder.finish();
  const { parentId } = model.head.state;
  // A parent that is missing is told before anything is made.
  if (parentId !== undefined) find?.(parentId).opened.close();
  let lineage: Lineage | undefined;
  return {
    model,
    chunks: [],
    loadPages: (target, crew) => {
      const inherited: Inheriting[] = [];
      const expected = expectedBytes(model);
      let done = 0;
      for (; record !== undefined; record = reader.next()) {
        if (record.kind === 'metadata') throw lateRecord(record);
        builder.addChunk(record);
        // Where the pages go is checked before they are put there, not only at the end.
        builder.finishPages();
        loadChunk(target, record, stored, unpacked);
        const { objref, runs } = record;
        done += pagesIn(runs) * PAGE;
        crew.tellLoaded(done, Math.max(done, expected));
        inherited.push({ objref, runs: runs.filter(({ kind }) => kind === 'parent') });
      }
      crew.tellLoaded(done, done);
      const isEncrypted = opened.encryption !== undefined;
      lineage = followParents({ image: { model, chunks: inherited }, isEncrypted, find, crew });
      crew.load(placed(target, lineage.chunks));
    },
    pages: () => {
      throw new QuicksaveError('not-a-file', 'The image comes from a pipe, where nothing can be looked up.', {
        remedy: 'Write it into a file first.',
      });
    },
    checkPages: () => {
      let counts = countPages([]);
      for (; record !== undefined; record = reader.next()) {
        if (record.kind === 'metadata') throw lateRecord(record);
        builder.addChunk(record);
        unpackChunk(record);
        counts = countPages([record], counts);
      }
      builder.finishPages();
      const { position: imageBytes, recordCount, signature } = reader;
      return { imageBytes, records: recordCount + 1, signature, ...counts };
    },
    // The stream is the caller's.
    close: () => {
      lineage?.close();
      stored.free();
      unpacked.free();
    },
  };
}

const pagesIn = (runs: readonly PageRun[]): number => runs.reduce((sum, { pages }) => sum + pages, 0);

/** What a stream says of its pages before they come: at least as many as there will be, if it is honest. */
function expectedBytes({ processes, descriptions }: ImageModel): number {
  const pages = processes.reduce((sum, { memory }) => sum + memory.pages, 0);
  return [...descriptions.values()].reduce((sum, { contentBytes }) => sum + contentBytes, pages * PAGE);
}

/** Those that are pages of a process. */
function placed(target: PageTarget, chunks: readonly LoadChunk[]): PlacedChunk[] {
  const found: PlacedChunk[] = [];
  for (const [objref, ofObject] of byObject(chunks)) {
    const pid = target.pidOf(objref);
    if (pid === undefined) continue;
    const remaining = target.remaining?.(objref);
    if (remaining === undefined) for (const chunk of ofObject) found.push({ ...chunk, pid });
    else for (const chunk of chunksOf(remaining)) found.push({ ...chunk, pid });
  }
  return found;
}

/** Writes the pages of a file object at their offsets. The file has its size already: what is behind its end is dropped. */
function loadIntoFile(
  target: PageTarget,
  chunk: { objref: number; runs: readonly PageRun[] },
  pages: Uint8Array,
): void {
  const fd = target.contentTarget(chunk.objref);
  if (fd === undefined) throw new ImageError('bad-record', `Object ${chunk.objref} takes no pages.`);
  const { size } = fstatSync(fd);
  const hugePage = hugePageBytes(fd);
  let from = 0;
  for (const run of chunk.runs) {
    if (run.kind !== 'data') continue;
    const length = run.pages * PAGE;
    const taken = Math.min(length, size - run.start);
    if (hugePage === undefined) writeSync(fd, pages, from, taken, run.start);
    else writeHugePages(fd, pages.subarray(from, from + taken), run.start, hugePage);
    from += length;
  }
}

/** linux/magic.h */
const HUGETLBFS_MAGIC = 0x9584_58f6;

/** Of a file of huge pages. */
function hugePageBytes(fd: LocalFd): number | undefined {
  const { type, bsize } = statfsSync(`/proc/self/fd/${fd}`);
  return type === HUGETLBFS_MAGIC ? bsize : undefined;
}

/** A chunk whose data was read into `stored`. */
function loadChunk(target: PageTarget, chunk: ChunkRecord, stored: ChunkRoom, unpacked: ChunkRoom): void {
  const { rawBytes, storedBytes, runs } = chunk;
  let { address } = stored.of(storedBytes);
  if (chunk.encoding === 'zstd') {
    const into = unpacked.of(rawBytes).address;
    unpackPages({ address, sizeBytes: storedBytes }, into, rawBytes, recordLabel(chunk.type, chunk.offset));
    address = into;
  }
  const pid = target.pidOf(chunk.objref);
  if (pid === undefined) loadIntoFile(target, chunk, bytesAt(address, rawBytes));
  else putPages(pid, address, piecesOf(runs));
}
