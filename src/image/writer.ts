/**
 * Writes an image stream, record by record, forward only.
 *
 * Two ways for page chunks: `chunk` puts them through the sink; `reserve` and `noteChecksum` leave a place in the stream that
 * other threads fill (the places and bytes are planned with `planRawChunk` and sealed with `sealHeader`).
 */

import { crc32c } from '../support/checksum.ts';
import { encodeCbor } from './cbor.ts';
import { compressPages } from './compression.ts';
import { encodeError } from './error-record.ts';
import { checksumIn, encodeFrame, paddedLength, RECORD_HEADER_SIZE, sealHeader } from './frame.ts';
import type { HeadState } from './head.ts';
import { encodeHead } from './head.ts';
import { misuse } from './image-errors.ts';
import type { Signer } from './key-files.ts';
import type { PageRun } from './page-chunk.ts';
import { encodeZstdChunk, planRawChunk, storedDataIn } from './page-chunk.ts';
import { RecordLog } from './record-log.ts';
import { RECORD, RECORD_FLAG } from './record-types.ts';
import { digestOf, digestsOfRecord, encodeSignature } from './signature.ts';
import { encodeTimeline, type Timeline } from './timeline.ts';

export interface ByteSink {
  /** Takes all of the bytes; throws if it cannot. They belong to the caller again when it returns. */
  write(bytes: Uint8Array): void;
  /** The same of the data of a page chunk, where a sink has to know it. */
  writePages?(bytes: Uint8Array): void;
  /** Passes over bytes that others write. Only a sink with positions has it. */
  skip?(bytes: number): void;
}

export interface ChunkOptions {
  /** Compress with this level of zstd; without it pages are written as they are. */
  readonly level?: number | undefined;
}

const NO_OBJECT = 0;
const NOTHING = new Uint8Array(0);

export class ImageWriter {
  readonly #sink: ByteSink;
  readonly #signer: Signer | undefined;
  readonly #log = new RecordLog();
  #ended = false;

  /** With a signer the image is signed at its end. */
  constructor(sink: ByteSink, signer?: Signer) {
    this.#sink = sink;
    this.#signer = signer;
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
    const position = this.#log.reserve(record.length);
    this.#log.noteChecksum(position, checksumIn(record));
    if (this.isSigned) this.#log.noteDigests(position, digestsOfRecord(record));
    const data = storedDataIn(record);
    if (data === undefined) this.#sink.write(record);
    else
      this.#writeChunk(
        record.subarray(0, data.start),
        record.subarray(data.start, data.end),
        record.subarray(data.end),
      );
  }

  /** Whoever writes page chunks has to give their digests too. */
  get isSigned(): boolean {
    return this.#signer !== undefined;
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

  noteDigests(position: number, digests: readonly Uint8Array[]): void {
    this.#log.noteDigests(position, digests);
  }

  /** Behind all pages. */
  timeline(timeline: Timeline): void {
    this.bytes(RECORD.TIMELINE, NO_OBJECT, encodeTimeline(timeline), RECORD_FLAG.OPTIONAL);
  }

  /** Writes TAIL, and before it SIGNATURE where there is a signer: the image is complete. */
  end(): void {
    this.#checkOpen();
    if (this.#signer !== undefined) {
      const signature = encodeSignature(this.#signer, this.#log.digests());
      this.bytes(RECORD.SIGNATURE, NO_OBJECT, signature, RECORD_FLAG.OPTIONAL);
    }
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
    const crc = sealHeader(plan.headerBytes, (checksum) => crc32c(data, checksum));
    const position = this.#log.reserve(plan.totalBytes);
    this.#log.noteChecksum(position, crc);
    if (this.isSigned) this.#log.noteDigests(position, [digestOf([plan.headerBytes]), digestOf([data])]);
    // No padding: all before the data fills whole multiples of 8, and so do pages.
    this.#writeChunk(plan.headerBytes, data, NOTHING);
  }

  #writeChunk(head: Uint8Array, data: Uint8Array, padding: Uint8Array): void {
    this.#sink.write(head);
    if (data.length > 0) (this.#sink.writePages ?? this.#sink.write).call(this.#sink, data);
    if (padding.length > 0) this.#sink.write(padding);
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
