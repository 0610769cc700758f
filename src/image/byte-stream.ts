/**
 * Reads a forward-only source in whole pieces, knows the position, and tells a cut stream from a complete one. What is claimed by
 * a length is allocated only as it arrives.
 */
import { cutImage, misuse } from './image-errors.ts';

export interface ByteSource {
  /** Fills the beginning of `into`, at least one byte. 0 at the end. */
  read(into: Uint8Array): number;
  /** Passes over up to `bytes` bytes; returns how many there were, fewer only at the end. */
  skip?(bytes: number): number;
}

const FIRST_STEP = 1024 * 1024;

export class ByteStream {
  readonly #source: ByteSource;
  #position = 0;

  constructor(source: ByteSource) {
    this.#source = source;
  }

  get position(): number {
    return this.#position;
  }

  get canSkip(): boolean {
    return this.#source.skip !== undefined;
  }

  /** Fills `into` as far as the source goes; returns how many bytes there were. */
  tryFill(into: Uint8Array): number {
    let filled = 0;
    while (filled < into.length) {
      const length = this.#source.read(into.subarray(filled));
      if (length === 0) break;
      filled += length;
    }
    this.#position += filled;
    return filled;
  }

  fill(into: Uint8Array): void {
    if (this.tryFill(into) < into.length) throw cutImage(this.#position);
  }

  /** `length` bytes in a buffer of their own, which grows by doubling: a cut stream costs no more than it holds. */
  take(length: number): Uint8Array {
    let bytes = new Uint8Array(Math.min(length, FIRST_STEP));
    this.fill(bytes);
    while (bytes.length < length) {
      const grown = new Uint8Array(Math.min(length, bytes.length * 2));
      grown.set(bytes);
      this.fill(grown.subarray(bytes.length));
      bytes = grown;
    }
    return bytes;
  }

  skip(length: number): void {
    if (this.#source.skip === undefined) throw misuse('a source that cannot skip was asked to');
    const skipped = length === 0 ? 0 : this.#source.skip(length);
    this.#position += skipped;
    if (skipped < length) throw cutImage(this.#position);
  }
}
