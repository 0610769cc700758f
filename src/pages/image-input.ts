/** Reading an image: a file is mapped and checked whole before anything is made; a stream is read as it comes. */
import { fstatSync, writeSync } from 'node:fs';
import type { ByteSource } from '../image/byte-stream.ts';
import { headerChecksum, RECORD_HEADER_SIZE } from '../image/frame.ts';
import { type ImageModel, ModelBuilder } from '../image/model.ts';
import type { PageRun } from '../image/page-chunk.ts';
import { type ChunkRecord, ImageReader, type MetadataRecord, unpackChunk } from '../image/reader.ts';
import { recordLabel } from '../image/record-types.ts';
import { bytesAt, NativeMemory } from '../kernel/native-memory.ts';
import { type LocalFd, localAddress } from '../support/brand.ts';
import { ImageError, QuicksaveError } from '../support/errors.ts';
import { chunkPages, type LoadChunk, putPages } from './load-job.ts';
import type { PageCrew } from './page-crew.ts';
import { type StoredPage, storedPages } from './stored-pages.ts';

const PAGE = 4096;

export interface ImageInput {
  readonly model: ImageModel;
  /** Puts all pages where they belong; throws ImageError if the rest of the image turns out to be damaged. */
  loadPages(target: PageTarget, crew: PageCrew): void;
  /** The pages of an object, ascending. Only of a file. */
  pages(objref: number): Iterable<StoredPage>;
  /** Instead of loading them: checks all that is not checked yet, to the end of the image. */
  checkPages(): ImageCounts;
  close(): void;
}

export interface ImageCounts {
  readonly imageBytes: number;
  readonly records: number;
  /** Pages whose bytes are in the image, and those that it only says are zero. */
  readonly dataPages: number;
  readonly zeroPages: number;
}

/** Where pages go: the memory of processes, or the files of other objects. */
export interface PageTarget {
  /** The process whose memory this object is. */
  readonly pidOf: (objref: number) => number | undefined;
  readonly contentTarget: (objref: number) => LocalFd | undefined;
}

/** An image in a file: all of it is checked before this returns. */
export function readImageFile(fd: number, sizeBytes: number, crew: PageCrew): ImageInput {
  if (sizeBytes === 0) throw new QuicksaveError('not-an-image', 'This is not a quicksave image: the file is empty.');
  const image = NativeMemory.mapFile(fd, sizeBytes);
  try {
    let position = 0;
    const reader = new ImageReader(
      {
        read: (into) => {
          const length = Math.min(into.length, sizeBytes - position);
          if (length > 0) into.set(bytesAt(localAddress(image.address + position), length));
          position += length;
          return length;
        },
        skip: (bytes) => {
          const length = Math.min(bytes, sizeBytes - position);
          position += length;
          return length;
        },
      },
      { pageData: 'skip' },
    );
    const builder = new ModelBuilder();
    const chunks: LoadChunk[] = [];
    for (let record = reader.next(); record !== undefined; record = reader.next()) {
      if (record.kind === 'metadata') {
        if (chunks.length > 0) throw lateRecord(record);
        builder.add(record);
      } else {
        builder.addChunk(record);
        chunks.push(describeChunk(record));
      }
    }
    crew.verify(image.address, chunks);
    const model = builder.finish();
    builder.finishPages();
    return {
      model,
      loadPages: (target, workers) => {
        const placed = chunks.flatMap((chunk) => {
          const pid = target.pidOf(chunk.objref);
          if (pid === undefined) loadIntoFile(target, chunk, chunkPages(image.address, chunk));
          return pid === undefined ? [] : [{ ...chunk, pid }];
        });
        workers.load(image.address, placed);
      },
      pages: (objref) => storedPages(image.address, chunks, objref),
      checkPages: () => {
        // Checksums say that the stored bytes are the written ones, not that they can be decompressed.
        for (const chunk of chunks) chunkPages(image.address, chunk);
        return { imageBytes: reader.position, records: reader.recordCount + 1, ...countPages(chunks) };
      },
      close: () => image.free(),
    };
  } catch (error) {
    image.free();
    throw error;
  }
}

type PageCounts = Pick<ImageCounts, 'dataPages' | 'zeroPages'>;

function countPages(
  chunks: readonly { readonly runs: readonly PageRun[] }[],
  before: PageCounts = { dataPages: 0, zeroPages: 0 },
): PageCounts {
  let { dataPages, zeroPages } = before;
  for (const { runs } of chunks) {
    for (const { kind, pages } of runs) {
      if (kind === 'zero') zeroPages += pages;
      else dataPages += pages;
    }
  }
  return { dataPages, zeroPages };
}

function describeChunk(chunk: ChunkRecord): LoadChunk {
  const payloadPosition = chunk.offset + RECORD_HEADER_SIZE;
  return {
    offset: chunk.offset,
    objref: chunk.objref,
    payloadPosition,
    payloadBytes: chunk.dataPosition - payloadPosition + chunk.storedBytes,
    headerCrc: headerChecksum(chunk.headerBytes),
    crc: chunk.crc,
    encoding: chunk.encoding,
    dataPosition: chunk.dataPosition,
    storedBytes: chunk.storedBytes,
    rawBytes: chunk.rawBytes,
    runs: chunk.runs,
  };
}

/** An image from a stream: its metadata is read and checked; pages and TAIL come when they are loaded. */
export function readImageStream(source: ByteSource): ImageInput {
  const reader = new ImageReader(source);
  const builder = new ModelBuilder();
  let record = reader.next();
  for (; record !== undefined && record.kind === 'metadata'; record = reader.next()) builder.add(record);
  const model = builder.finish();
  return {
    model,
    loadPages: (target) => {
      for (; record !== undefined; record = reader.next()) {
        if (record.kind === 'metadata') throw lateRecord(record);
        builder.addChunk(record);
        // Where the pages go is checked before they are put there, not only at the end.
        builder.finishPages();
        loadFromHeap(target, record);
      }
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
      return { imageBytes: reader.position, records: reader.recordCount + 1, ...counts };
    },
    close: () => {
      // The stream is the caller's.
    },
  };
}

/** What has been planned must be all that there is. */
const lateRecord = ({ type, offset }: MetadataRecord): ImageError =>
  new ImageError('bad-record', `${recordLabel(type, offset)}: it comes behind the pages.`, { offset });

/** Writes the pages of a file object at their offsets. The file has its size already: what is behind its end is dropped. */
function loadIntoFile(
  target: PageTarget,
  chunk: { objref: number; runs: readonly PageRun[] },
  pages: Uint8Array,
): void {
  const fd = target.contentTarget(chunk.objref);
  if (fd === undefined) throw new ImageError('bad-record', `Object ${chunk.objref} takes no pages.`);
  const { size } = fstatSync(fd);
  let from = 0;
  for (const run of chunk.runs) {
    if (run.kind === 'zero') continue;
    const length = run.pages * PAGE;
    writeSync(fd, pages, from, Math.min(length, size - run.start), run.start);
    from += length;
  }
}

function loadFromHeap(target: PageTarget, chunk: ChunkRecord): void {
  const pages = unpackChunk(chunk);
  const pid = target.pidOf(chunk.objref);
  if (pid === undefined) {
    loadIntoFile(target, chunk, pages);
    return;
  }
  const copy = NativeMemory.allocate(Math.max(pages.length, 4096));
  try {
    copy.bytes.set(pages);
    putPages(pid, copy.address, chunk.runs);
  } finally {
    copy.free();
  }
}
