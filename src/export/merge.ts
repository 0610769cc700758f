/** A whole image of an incremental one and its parents: the same records, with all pages. */
import { randomUUID } from 'node:crypto';
import { decodeHead } from '../image/head.ts';
import { imagesBeside } from '../image/image-folder.ts';
import { sourceOf } from '../image/image-source.ts';
import { addPage, encodeZstdChunk, type GrowingRun } from '../image/page-chunk.ts';
import type { ImageAccess } from '../image/protection.ts';
import { decodeRecord, ImageReader, type MetadataRecord } from '../image/reader.ts';
import { RECORD, recordLabel } from '../image/record-types.ts';
import { namedRelatives } from '../image/relatives.ts';
import { parseState } from '../image/schema.ts';
import { MemoryRecord } from '../image/tree.ts';
import type { ImageWriter } from '../image/writer.ts';
import { NativeMemory } from '../kernel/native-memory.ts';
import { type FileInput, readImageFile } from '../pages/image-input.ts';
import { type KeptInput, keptInput } from '../pages/kept-stream.ts';
import { packPages } from '../pages/page-codec.ts';
import { PageCrew } from '../pages/page-crew.ts';
import { type StoredPage, samePages } from '../pages/stored-pages.ts';
import { openInput } from '../remote/open-input.ts';

const PAGE = 4096;
/** Pages of one chunk, as a save makes them. */
const CHUNK_PAGES = 256;

export interface MergeOptions {
  /** The folder where the parents are; undefined: that of the image. */
  readonly images: string | undefined;
  readonly access: ImageAccess;
  /** zstd level; undefined: pages as they are. */
  readonly level: number | undefined;
}

export interface MergeSummary {
  readonly pid: number;
  readonly pages: number;
}

/** `source`: a file's name, an address, or `-`; what comes as a stream is kept in memory. Checks the image and all that is needed of its parents before it writes anything. The caller ends what the writer writes. */
export function mergeImage(source: string, writer: ImageWriter, { images, access, level }: MergeOptions): MergeSummary {
  const opened = openInput(source, { access });
  const crew = new PageCrew(opened.sizeBytes ?? 0, () => {
    // Nobody watches the checking.
  });
  let kept: KeptInput | undefined;
  let input: FileInput | undefined;
  try {
    kept = keptInput(opened);
    input = readImageFile(kept, crew, imagesBeside(source, images, access), { isEncrypted: kept.isEncrypted });
    const kin = findKin(input);
    const reader = new ImageReader(sourceOf(kept), { pageData: 'skip' });
    for (let record = reader.next(); record !== undefined; record = reader.next()) {
      if (record.kind === 'metadata') copyRecord(writer, record, kin);
    }
    const chunks = new ChunkWriter(writer, level);
    const objects = new Set(input.chunks.map(({ objref }) => objref));
    for (const objref of objects) {
      const relativeOf = kin.get(objref)?.pages;
      for (const page of input.pages(objref)) chunks.add(objref, page, relativeOf?.get(page.address));
    }
    chunks.flush();
    if (reader.timeline !== undefined) writer.timeline(reader.timeline);
    return { pid: input.model.root.task.pid, pages: chunks.pages };
  } finally {
    input?.close();
    kept?.close();
    opened.close();
    crew.dismiss();
  }
}

interface Kin {
  readonly relatives: readonly number[];
  /** By address: which of them has the page too. */
  readonly pages: ReadonlyMap<number, number>;
}

/** What two memories have from the same bytes is written for one of them, whichever image had it for both. */
function findKin(input: FileInput): Map<number, Kin> {
  const found = new Map<number, Kin>();
  for (const [objref, named] of namedRelatives(input.model.processes.map(({ task }) => task))) {
    const relatives: number[] = [];
    const pages = new Map<number, number>();
    for (const relative of named) {
      const shared = samePages(input.pieces(objref), input.pieces(relative));
      if (shared.length === 0) continue;
      for (const { start, pages: count } of shared) {
        for (let at = start; at < start + count * PAGE; at += PAGE) if (!pages.has(at)) pages.set(at, relatives.length);
      }
      relatives.push(relative);
    }
    found.set(objref, { relatives, pages });
  }
  return found;
}

function copyRecord(writer: ImageWriter, record: MetadataRecord, kin: ReadonlyMap<number, Kin>): void {
  const { type, objref, payload, flags, offset } = record;
  if (type === RECORD.HEAD) {
    const { parentId: _, ...state } = decodeHead(payload).state;
    writer.head({ ...state, imageId: randomUUID() });
  } else if (type === RECORD.MM) {
    const { parent: _, ...memory } = parseState(MemoryRecord, decodeRecord(record), recordLabel(type, offset));
    writer.record(type, objref, { ...memory, relatives: kin.get(objref)?.relatives ?? [] });
  } else writer.bytes(type, objref, payload, flags);
}

/** Collects pages, which come in order, into chunks. */
class ChunkWriter {
  readonly #writer: ImageWriter;
  readonly #level: number | undefined;
  readonly #pages = NativeMemory.allocate(CHUNK_PAGES * PAGE);
  readonly #packed = NativeMemory.allocate(CHUNK_PAGES * PAGE);
  #runs: GrowingRun[] = [];
  #inChunk = 0;
  #dataBytes = 0;
  #objref = 0;
  pages = 0;

  constructor(writer: ImageWriter, level: number | undefined) {
    this.#writer = writer;
    this.#level = level;
  }

  add(objref: number, { address, bytes }: StoredPage, relative: number | undefined): void {
    if (objref !== this.#objref || this.#inChunk === CHUNK_PAGES) this.flush();
    this.#objref = objref;
    const kind = bytes === undefined ? 'zero' : relative === undefined ? 'data' : 'relative';
    addPage(this.#runs, address, kind, kind === 'relative' ? relative : undefined);
    this.#inChunk++;
    this.pages++;
    if (kind !== 'data' || bytes === undefined) return;
    this.#pages.bytes.set(bytes, this.#dataBytes);
    this.#dataBytes += PAGE;
  }

  flush(): void {
    if (this.#inChunk === 0) return;
    const pages = { address: this.#pages.address, sizeBytes: this.#dataBytes };
    const packs = this.#level !== undefined && this.#dataBytes > 0;
    const length = packs ? packPages(pages, this.#packed, this.#level) : undefined;
    if (length === undefined) {
      // A copy: a sink may keep what it is given until it is written.
      this.#writer.chunk(this.#objref, this.#runs, Uint8Array.from(this.#pages.bytes.subarray(0, this.#dataBytes)));
    } else {
      this.#writer.sealed(encodeZstdChunk(this.#objref, this.#runs, this.#packed.bytes.subarray(0, length)));
    }
    this.#runs = [];
    this.#inChunk = 0;
    this.#dataBytes = 0;
  }
}
