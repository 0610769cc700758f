/**
 * Reads a whole image and checks all that can be checked without a kernel: every record, every CBOR payload's structure, every
 * compressed page.
 */
import type { ByteSource } from './byte-stream.ts';
import { checkCbor } from './cbor.ts';
import type { Head } from './head.ts';
import { decodeHead } from './head.ts';
import { misuse } from './image-errors.ts';
import type { ChunkRecord, MetadataRecord } from './reader.ts';
import { ImageReader, unpackChunk } from './reader.ts';
import { isCborRecord, RECORD, recordLabel } from './record-types.ts';

export interface ImageSummary {
  readonly head: Head;
  /** All records, TAIL too. */
  readonly records: number;
  /** Optional records of types that we do not know. */
  readonly skippedRecords: number;
  readonly bytes: number;
  readonly chunks: number;
  /** Pages whose bytes are in the image. */
  readonly dataPages: number;
  readonly zeroPages: number;
  /** Pages that are in the parent image only. */
  readonly parentPages: number;
  /** Pages that are those of another memory of the image. */
  readonly relativePages: number;
  /** Bytes of the data pages as they are in the image. */
  readonly storedBytes: number;
  readonly rawBytes: number;
}

export function verifyImage(source: ByteSource): ImageSummary {
  const reader = new ImageReader(source);
  const pages = {
    chunks: 0,
    dataPages: 0,
    zeroPages: 0,
    parentPages: 0,
    relativePages: 0,
    storedBytes: 0,
    rawBytes: 0,
  };
  let head: Head | undefined;
  for (let record = reader.next(); record !== undefined; record = reader.next()) {
    if (record.kind === 'chunk') countChunk(pages, record);
    else if (record.type === RECORD.HEAD) head = decodeHead(record.payload);
    else checkMetadata(record);
  }
  if (head === undefined) throw misuse('an image without HEAD was read');
  const { position: bytes, skippedRecords, recordCount } = reader;
  return { head, records: recordCount + 1, skippedRecords, bytes, ...pages };
}

function checkMetadata(record: MetadataRecord): void {
  if (isCborRecord(record.type)) checkCbor(record.payload, recordLabel(record.type, record.offset));
}

type PageCounts = {
  -readonly [Key in
    | 'chunks'
    | 'dataPages'
    | 'zeroPages'
    | 'parentPages'
    | 'relativePages'
    | 'storedBytes'
    | 'rawBytes']: number;
};

function countChunk(counts: PageCounts, chunk: ChunkRecord): void {
  unpackChunk(chunk);
  counts.chunks += 1;
  counts.storedBytes += chunk.storedBytes;
  counts.rawBytes += chunk.rawBytes;
  for (const { kind, pages } of chunk.runs) counts[`${kind}Pages`] += pages;
}
