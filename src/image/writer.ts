/**
 * Writes an image stream, record by record, forward only.
 *
 * Two ways for page chunks: `chunk` puts them through the sink; `reserve` and `noteChecksum` leave a place in the stream that
 * other threads fill (the places and bytes are planned with `planRawChunk` and sealed with `sealChunkHeader`).
 */
import { encodeCbor } from './cbor.ts';
import { compressPages } from './compression.ts';
import { encodeError } from './error-record.ts';
import { checksumIn, encodeFrame, paddedLength, RECORD_HEADER_SIZE } from './frame.ts';
import type { HeadState } from './head.ts';
import { encodeHead } from './head.ts';
import { misuse } from './image-errors.ts';
import type { PageRun } from './page-chunk.ts';
import { encodeZstdChunk, planRawChunk, sealChunkHeader } from './page-chunk.ts';
import { RecordLog } from './record-log.ts';
import { RECORD } from './record-types.ts';

export interface ByteSink {
  /** Takes all of the bytes; throws if it cannot. They belong to the caller again when it returns. */
  write(bytes: Uint8Array): void;
  /** Passes over bytes that others write. Only a sink with positions has it. */
  skip?(bytes: number): void;
}

export interface ChunkOptions {
  /** Compress with this level of zstd; without it pages are written as they are. */
  readonly level?: number | undefined;
}

const NO_OBJECT = 0;

export class ImageWriter {
  readonly #sink: ByteSink;
  readonly #log = new RecordLog();
  #ended = false;

  constructor(sink: ByteSink) {
    this.#sink = sink;
  }

  /** Where the next record goes. */
  get position(): number {
    return this.#log.position;
  }

  get recordCount(): number {
    return this.#log.recordCount;
  }

  /** Must be first. */
  head(state: HeadState): void {
    this.bytes(RECORD.HEAD, NO_OBJECT, encodeHead(state));
  }

  /** A record whose payload is the CBOR of `value`. */
  record(type: number, objref: number, value: unknown, flags = 0): void {
    this.bytes(type, objref, encodeCbor(value), flags);
  }

  /** A record with a payload of the caller's making. */
  bytes(type: number, objref: number, payload: Uint8Array, flags = 0): void {
    this.sealed(encodeFrame(type, flags, objref, payload));
  }

  /** A whole record made elsewhere, its checksum in its header (as `encodeFrame` and `encodeZstdChunk` make it). */
  sealed(record: Uint8Array): void {
    this.#checkState(record);
    this.#log.noteChecksum(this.#log.reserve(record.length), checksumIn(record));
    this.#sink.write(record);
  }

  /** Pages of one memory object. `data` holds the data runs one after the other. */
  chunk(objref: number, runs: readonly PageRun[], data: Uint8Array, options: ChunkOptions = {}): void {
    const { level } = options;
    const frame = level === undefined || data.length === 0 ? undefined : compressPages(data, level);
    if (frame === undefined) this.#rawChunk(objref, runs, data);
    else this.sealed(encodeZstdChunk(objref, runs, frame));
  }

  /** Leaves a place of `totalBytes` for one record that others write; `noteChecksum` must follow before `end`. */
  reserve(totalBytes: number): number {
    this.#checkOpen();
    if (this.#sink.skip === undefined) throw misuse('a place was reserved in a stream without positions');
    const position = this.#log.reserve(totalBytes);
    this.#sink.skip(totalBytes);
    return position;
  }

  noteChecksum(position: number, crc: number): void {
    this.#log.noteChecksum(position, crc);
  }

  /** Writes TAIL: the image is complete. */
  end(): void {
    this.#checkOpen();
    const tail = encodeFrame(RECORD.TAIL, 0, NO_OBJECT, this.#log.seal());
    this.#ended = true;
    this.#sink.write(tail);
  }

  /** Ends the stream with the reason why there is no image. Readers show it. */
  fail(code: string, message: string): void {
    this.#checkOpen();
    this.#ended = true;
    this.#sink.write(encodeFrame(RECORD.ERROR, 0, NO_OBJECT, encodeError(code, message)));
  }

  #rawChunk(objref: number, runs: readonly PageRun[], data: Uint8Array): void {
    this.#checkOpen();
    const plan = planRawChunk(objref, runs, this.position);
    if (data.length !== plan.rawBytes) throw misuse(`a page chunk has ${data.length} bytes for ${plan.rawBytes}`);
    const crc = sealChunkHeader(plan.headerBytes, data);
    this.#log.noteChecksum(this.#log.reserve(plan.totalBytes), crc);
    this.#sink.write(plan.headerBytes);
    // No padding: all before the data fills whole multiples of 8, and so do pages.
    if (data.length > 0) this.#sink.write(data);
  }

  #checkState(record: Uint8Array): void {
    this.#checkOpen();
    const isHead = record[0] === RECORD.HEAD && record[1] === 0;
    if (isHead !== (this.recordCount === 0)) throw misuse('HEAD is the first record of an image, and only the first');
    const length = record.length - RECORD_HEADER_SIZE;
    if (length < 0 || paddedLength(length) !== length) throw misuse(`a record of ${record.length} bytes`);
  }

  #checkOpen(): void {
    if (this.#ended) throw misuse('something was written behind the end of an image');
  }
}
