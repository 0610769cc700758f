/** The plain bytes of an encrypted image, from what follows its envelope. Nothing is given out that was not authenticated. */
import { type ByteSource, ByteStream } from './byte-stream.ts';
import { damagedImage, imageWithoutTail } from './image-errors.ts';
import {
  decodeSegmentHeader,
  openSegment,
  SEGMENT_HEADER_SIZE,
  SEGMENT_OVERHEAD,
  type SegmentHeader,
} from './segment.ts';

/** A segment that was passed over, unopened. */
export interface SegmentPlace {
  /** Of its first byte in the plain image. */
  readonly position: number;
  /** Of its encrypted bytes, behind its header, in the file. */
  readonly filePosition: number;
  readonly length: number;
}

export interface EncryptedSourceOptions {
  readonly key: Uint8Array;
  /** Where `source` stands in the file. */
  readonly filePosition: number;
  /** Told of each segment that was passed over. */
  readonly onPassedOver?: (place: SegmentPlace) => void;
}

export class EncryptedSource implements ByteSource {
  readonly #source: ByteStream;
  readonly #options: EncryptedSourceOptions;
  /** Only where the source can: whole segments are passed over. */
  readonly skip?: (bytes: number) => number;
  #rest: Uint8Array = new Uint8Array(0);
  /** Of the next segment in the plain image. */
  #position = 0;
  #isAtEnd = false;

  constructor(source: ByteSource, options: EncryptedSourceOptions) {
    this.#source = new ByteStream(source);
    this.#options = options;
    if (this.#source.canSkip) this.skip = (bytes) => this.#skip(bytes);
  }

  read(into: Uint8Array): number {
    if (this.#rest.length === 0) {
      const header = this.#nextHeader();
      if (header === undefined) return 0;
      this.#open(header);
    }
    const part = this.#rest.subarray(0, into.length);
    into.set(part);
    this.#rest = this.#rest.subarray(part.length);
    return part.length;
  }

  /** Undefined at the end, behind which nothing may stand. */
  #nextHeader(): SegmentHeader | undefined {
    const bytes = new Uint8Array(SEGMENT_HEADER_SIZE);
    const at = this.#filePosition;
    const length = this.#source.tryFill(bytes);
    if (this.#isAtEnd && length > 0) throw damagedImage(`something follows its end at byte ${at}`, at);
    if (this.#isAtEnd) return undefined;
    if (length < bytes.length) throw imageWithoutTail(at + length);
    return decodeSegmentHeader(bytes, at);
  }

  #open(header: SegmentHeader): void {
    const encrypted = this.#source.take(header.length + SEGMENT_OVERHEAD - SEGMENT_HEADER_SIZE);
    this.#rest = openSegment(this.#options.key, this.#position, header, encrypted);
    this.#pass(header);
  }

  #pass({ length, isLast }: SegmentHeader): void {
    this.#position += length;
    this.#isAtEnd = isLast;
  }

  get #filePosition(): number {
    return this.#options.filePosition + this.#source.position;
  }

  #skip(bytes: number): number {
    let skipped = Math.min(bytes, this.#rest.length);
    this.#rest = this.#rest.subarray(skipped);
    while (skipped < bytes) {
      const header = this.#nextHeader();
      if (header === undefined) break;
      if (header.length <= bytes - skipped && !header.isLast) {
        this.#passOver(header);
        skipped += header.length;
      } else {
        this.#open(header);
        const part = Math.min(bytes - skipped, this.#rest.length);
        this.#rest = this.#rest.subarray(part);
        skipped += part;
      }
    }
    return skipped;
  }

  #passOver(header: SegmentHeader): void {
    const place = { position: this.#position, filePosition: this.#filePosition, length: header.length };
    this.#source.skip(header.length + SEGMENT_OVERHEAD - SEGMENT_HEADER_SIZE);
    this.#options.onPassedOver?.(place);
    this.#pass(header);
  }
}
