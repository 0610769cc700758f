/**
 * Reads an image stream, strictly forward, trusting nothing. Each record is checked before it is handed out; TAIL is checked
 * before the end is reported.
 *
 * With `pageData: 'skip'` the data of page chunks is passed over: their records come out unchecked, to be read and checked by
 * others with `verifyChunk`; the digest in TAIL is still checked over the checksums that they claim.
 */
import type { KeyObject } from 'node:crypto';
import { crc32c, crc32cOfParts } from '../support/checksum.ts';
import { ImageError } from '../support/errors.ts';
import type { ByteSource } from './byte-stream.ts';
import { ByteStream } from './byte-stream.ts';
import { decodeCbor } from './cbor.ts';
import { decompressPages } from './compression.ts';
import { ErrorState } from './error-record.ts';
import type { RecordHeader } from './frame.ts';
import { decodeRecordHeader, headerChecksum, isAllZero, paddedLength, RECORD_HEADER_SIZE } from './frame.ts';
import { checkHeadVersion, MAX_HEAD_SIZE, startsWithMagic } from './head.ts';
import { badRecord, cutImage, damagedImage, imageWithoutTail, misuse, notAnImage } from './image-errors.ts';
import type { ChunkEncoding, PageRun } from './page-chunk.ts';
import { CHUNK_PREFIX_SIZE, decodeChunkPrefix, decodeChunkRuns, MAX_CHUNK_PAYLOAD } from './page-chunk.ts';
import { isKnownRecord, RECORD, RECORD_FLAG, recordLabel, recordName } from './record-types.ts';
import { parseState } from './schema.ts';
import { decodeSignature, digestOf, requireSignature, requireSigner, type Signature } from './signature.ts';
import { ChecksumDigest, decodeTail } from './tail.ts';
import { decodeTimeline, type Timeline } from './timeline.ts';

export const MAX_METADATA_PAYLOAD = 64 * 1024 * 1024;

interface RecordFields {
  readonly type: number;
  readonly flags: number;
  readonly objref: number;
  /** Where the record begins in the stream. */
  readonly offset: number;
}

export interface MetadataRecord extends RecordFields {
  readonly kind: 'metadata';
  readonly payload: Uint8Array;
}

export interface ChunkRecord extends RecordFields {
  readonly kind: 'chunk';
  readonly encoding: ChunkEncoding;
  readonly runs: readonly PageRun[];
  readonly rawBytes: number;
  readonly storedBytes: number;
  /** Where the stored data begins in the stream. */
  readonly dataPosition: number;
  /** Record header and payload up to the data, as they stand in the stream. */
  readonly headerBytes: Uint8Array;
  /** The checksum that the record claims. */
  readonly crc: number;
  /** The stored data, checked; undefined when it was skipped, and then nothing of the record is checked yet. */
  readonly data: Uint8Array | undefined;
}

export type ImageRecord = MetadataRecord | ChunkRecord;

export interface ReaderOptions {
  /** `skip` needs a source that can. Default `read`. */
  readonly pageData?: 'read' | 'skip';
  /**
   * Gives the buffer that a chunk's stored data is read into, at least `storedBytes` long. What it is told is not checked yet,
   * beyond the limits of the format. Without it each chunk gets a buffer of its own.
   */
  readonly bufferFor?: (chunk: ChunkRecord) => Uint8Array;
  /**
   * Whoever must have signed the image. Where page data is read, that is checked before the end is reported; where it is skipped,
   * only that there is a signature of that key: {@link ImageReader.checkSignature} is for the caller to call.
   */
  readonly signedBy?: KeyObject | undefined;
}

export class ImageReader {
  readonly #stream: ByteStream;
  readonly #options: ReaderOptions;
  readonly #digest = new ChecksumDigest();
  /** Of all records, if a signature is to be checked; of page data that was skipped undefined, until it is given. */
  readonly #digests: (Uint8Array | undefined)[] = [];
  #signature: Signature | undefined;
  #timeline: Timeline | undefined;
  #ended = false;
  #skippedRecords = 0;

  constructor(source: ByteSource, options: ReaderOptions = {}) {
    this.#stream = new ByteStream(source);
    this.#options = options;
    if (options.pageData === 'skip' && !this.#stream.canSkip)
      throw misuse('page data cannot be skipped in this source');
  }

  /** Bytes read or passed over so far. */
  get position(): number {
    return this.#stream.position;
  }

  /** Records so far, also those that were passed over; without TAIL. */
  get recordCount(): number {
    return this.#digest.count;
  }

  /** How many optional records of unknown types were passed over. */
  get skippedRecords(): number {
    return this.#skippedRecords;
  }

  /** Undefined where the image is not signed; what it is worth is not said by it. Known at the end. */
  get signature(): Signature | undefined {
    return this.#signature;
  }

  /** Undefined where the image has none. Known at the end. */
  get timeline(): Timeline | undefined {
    return this.#timeline;
  }

  /**
   * Of an image whose page data was skipped: `ofData` are the SHA-256 digests of the stored data of all chunks, in their order.
   * Throws QuicksaveError if it is not what was signed.
   */
  checkSignature(ofData: readonly Uint8Array[]): void {
    const { signedBy } = this.#options;
    if (signedBy === undefined) return;
    let next = 0;
    const digests = this.#digests.map((digest) => digest ?? ofData[next++]);
    requireSignature(this.#signature, signedBy, digests);
  }

  /** The next record, HEAD first; undefined when TAIL was met and agrees with all that came before. */
  next(): ImageRecord | undefined {
    while (!this.#ended) {
      const record = this.#nextRecord();
      if (record !== undefined) return record;
    }
    return undefined;
  }

  #nextRecord(): ImageRecord | undefined {
    const offset = this.#stream.position;
    const headerBytes = this.#readHeader();
    if (offset === 0) checkLooksLikeHead(headerBytes);
    const header = decodeRecordHeader(headerBytes, offset);
    checkPlace(header, offset);
    if (this.#signature !== undefined && header.type !== RECORD.TAIL) {
      throw badRecord(recordLabel(header.type, offset), 'it stands behind the signature', offset);
    }
    if (header.type === RECORD.PGARR) return this.#chunk(header, headerBytes, offset);
    const record = this.#metadata(header, headerBytes, offset);
    if (header.type === RECORD.TAIL) return this.#tail(record);
    if (header.type === RECORD.ERROR) throw failedCheckpoint(record);
    this.#digest.add(header.crc);
    if (header.type === RECORD.SIGNATURE) return this.#takeSignature(record);
    this.#note(() => digestOf([headerBytes, record.payload]));
    if (header.type === RECORD.TIMELINE) return this.#takeTimeline(record);
    if (isKnownRecord(header.type)) return record;
    return this.#passOver(header, offset);
  }

  #readHeader(): Uint8Array {
    const offset = this.#stream.position;
    const bytes = new Uint8Array(RECORD_HEADER_SIZE);
    const length = this.#stream.tryFill(bytes);
    if (length === bytes.length) return bytes;
    if (offset > 0) throw length === 0 ? imageWithoutTail(offset) : cutImage(offset + length);
    if (length === 0) throw notAnImage('it is empty');
    checkLooksLikeHead(bytes);
    throw cutImage(length);
  }

  #metadata(header: RecordHeader, headerBytes: Uint8Array, offset: number): MetadataRecord {
    const { type, flags, objref, length } = header;
    if (offset === 0 && length > MAX_HEAD_SIZE) throw notAnImage('its first record is too long for a HEAD');
    if (length > MAX_METADATA_PAYLOAD)
      throw badRecord(recordLabel(type, offset), `its length of ${length} bytes is absurd`, offset);
    const payload = this.#stream.take(length);
    // Before the checksum: what has no magic number is another kind of file, not a damaged image.
    if (offset === 0 && !startsWithMagic(payload)) throw notAnImage('its first record has another magic number');
    checkChecksum(header, crc32c(payload, headerChecksum(headerBytes)), offset);
    this.#padding(header, offset);
    if (offset === 0) checkHeadVersion(payload);
    return { kind: 'metadata', type, flags, objref, offset, payload };
  }

  #chunk(header: RecordHeader, recordHeader: Uint8Array, offset: number): ChunkRecord {
    const label = recordLabel(header.type, offset);
    const { length } = header;
    if (length < CHUNK_PREFIX_SIZE) throw badRecord(label, `its length of ${length} bytes is too short`, offset);
    if (length > MAX_CHUNK_PAYLOAD) throw badRecord(label, `its length of ${length} bytes is absurd`, offset);
    const chunk = this.#chunkHeader(header, recordHeader, offset);
    const data = this.#options.pageData === 'skip' ? this.#skipData(chunk) : this.#readData(chunk);
    this.#padding(header, offset);
    this.#digest.add(header.crc);
    this.#note(() => digestOf([chunk.headerBytes]));
    this.#note(() => (data === undefined ? undefined : digestOf([data])));
    return { ...chunk, data };
  }

  #note(digest: () => Uint8Array | undefined): void {
    if (this.#options.signedBy !== undefined) this.#digests.push(digest());
  }

  #takeSignature({ payload, type, offset }: MetadataRecord): undefined {
    const signature = decodeSignature(payload);
    if (signature === undefined) throw badRecord(recordLabel(type, offset), 'it is malformed', offset);
    this.#signature = signature;
  }

  #takeTimeline({ payload, type, offset }: MetadataRecord): undefined {
    const where = recordLabel(type, offset);
    if (this.#timeline !== undefined) throw badRecord(where, 'an image has only one TIMELINE', offset);
    this.#timeline = decodeTimeline(payload, where);
  }

  #chunkHeader(header: RecordHeader, recordHeader: Uint8Array, offset: number): ChunkRecord {
    const prefixBytes = this.#stream.take(CHUNK_PREFIX_SIZE);
    const prefix = decodeChunkPrefix(prefixBytes, offset, header.length);
    const headerBytes = new Uint8Array(RECORD_HEADER_SIZE + prefix.dataOffset);
    headerBytes.set(recordHeader);
    headerBytes.set(prefixBytes, RECORD_HEADER_SIZE);
    this.#stream.fill(headerBytes.subarray(RECORD_HEADER_SIZE + CHUNK_PREFIX_SIZE));
    const runs = decodeChunkRuns(headerBytes.subarray(RECORD_HEADER_SIZE), prefix, offset);
    const { type, flags, objref, crc } = header;
    const { encoding, rawBytes, storedBytes } = prefix;
    const dataPosition = this.#stream.position;
    const fields = { type, flags, objref, offset, encoding, runs, rawBytes, storedBytes };
    return { kind: 'chunk', ...fields, dataPosition, headerBytes, crc, data: undefined };
  }

  #skipData(chunk: ChunkRecord): undefined {
    this.#stream.skip(chunk.storedBytes);
  }

  #readData(chunk: ChunkRecord): Uint8Array {
    const data = this.#takeData(chunk);
    verifyChunk(chunk, data);
    return data;
  }

  #takeData(chunk: ChunkRecord): Uint8Array {
    const { bufferFor } = this.#options;
    if (bufferFor === undefined) return this.#stream.take(chunk.storedBytes);
    const buffer = bufferFor(chunk);
    if (buffer.length < chunk.storedBytes) throw misuse(`a buffer for ${chunk.storedBytes} bytes has ${buffer.length}`);
    const data = buffer.subarray(0, chunk.storedBytes);
    this.#stream.fill(data);
    return data;
  }

  #padding({ type, length }: RecordHeader, offset: number): void {
    const padding = new Uint8Array(paddedLength(length) - length);
    this.#stream.fill(padding);
    if (!isAllZero(padding)) throw damagedImage(`the padding of the ${recordLabel(type, offset)} is not zero`, offset);
  }

  #passOver(header: RecordHeader, offset: number): undefined {
    if ((header.flags & RECORD_FLAG.OPTIONAL) === 0) {
      throw new ImageError(
        'unknown-record',
        `The record at byte ${offset} is of ${recordName(header.type)}, which this quicksave does not know.`,
        { offset, remedy: 'Use the quicksave that made the image, or a newer one.' },
      );
    }
    this.#skippedRecords += 1;
  }

  #tail({ payload, offset, type }: MetadataRecord): undefined {
    const tail = decodeTail(payload);
    if (tail === undefined) throw badRecord(recordLabel(type, offset), 'it is malformed', offset);
    const { recordCount, digest } = this.#digest.finish();
    if (tail.recordCount !== recordCount) {
      throw damagedImage(`it has ${recordCount} records where ${tail.recordCount} were written`, offset);
    }
    if (!Buffer.from(digest).equals(tail.digest)) {
      throw damagedImage('its records are not the ones that were written, or not in their order', offset);
    }
    this.#ended = true;
    const end = this.#stream.position;
    if (this.#stream.tryFill(new Uint8Array(1)) > 0)
      throw damagedImage(`something follows its end at byte ${end}`, end);
    const { signedBy, pageData } = this.#options;
    if (signedBy === undefined) return;
    if (pageData === 'skip') requireSigner(this.#signature, signedBy);
    else requireSignature(this.#signature, signedBy, this.#digests);
  }
}

/** Checks the data of a chunk that was skipped, and with it the chunk's header, against the checksum that it claims. */
export function verifyChunk(chunk: ChunkRecord, data: Uint8Array | readonly Uint8Array[]): void {
  const parts = data instanceof Uint8Array ? [data] : data;
  const { headerBytes } = chunk;
  const crc = crc32cOfParts([headerBytes.subarray(RECORD_HEADER_SIZE), ...parts], headerChecksum(headerBytes));
  checkChecksum(chunk, crc, chunk.offset);
}

/** The pages of a chunk's data runs, one after the other. `stored` is its data, if it was read by the caller. */
export function unpackChunk(chunk: ChunkRecord, stored: Uint8Array | undefined = chunk.data): Uint8Array {
  if (stored?.length !== chunk.storedBytes) throw misuse('a page chunk was unpacked without its data');
  if (chunk.encoding === 'raw') return stored;
  return decompressPages(stored, chunk.rawBytes, recordLabel(chunk.type, chunk.offset));
}

/** The CBOR of a metadata record; what it means is for a schema to say. */
export const decodeRecord = (record: MetadataRecord): unknown =>
  decodeCbor(record.payload, recordLabel(record.type, record.offset));

/** The first bytes alone must tell an image from any other file, with a sentence that says so. */
function checkLooksLikeHead(header: Uint8Array): void {
  const isHead = header[0] === RECORD.HEAD && header.subarray(1, 4).every((byte) => byte === 0);
  if (!isHead) throw notAnImage('it does not begin with a HEAD record');
}

function checkPlace({ type }: RecordHeader, offset: number): void {
  if (offset > 0 && type === RECORD.HEAD)
    throw badRecord(recordLabel(type, offset), 'an image has only one HEAD', offset);
}

function checkChecksum({ type, crc }: { type: number; crc: number }, actual: number, offset: number): void {
  if (crc !== actual) throw damagedImage(`the checksum of the ${recordLabel(type, offset)} does not agree`, offset);
}

function failedCheckpoint(record: MetadataRecord): ImageError {
  const { code, message } = parseState(ErrorState, decodeRecord(record), recordLabel(record.type, record.offset));
  const text = `The checkpoint that wrote this image failed: ${message}`;
  return new ImageError('checkpoint-failed', text, { offset: record.offset, cause: { code } });
}
