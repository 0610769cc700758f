/**
 * The account of a stream that is being written: which places are given out, and the checksum of the record at each. Page chunks
 * get their place at once and their bytes, by other threads, in any order; TAIL needs all checksums in the order of the places.
 */

import { paddedLength } from './frame.ts';
import { misuse } from './image-errors.ts';
import { ChecksumDigest, encodeTail } from './tail.ts';

export class RecordLog {
  /** In order of position, as places are given out ascending and a Map keeps the order of its first insertions. */
  readonly #checksums = new Map<number, number | undefined>();
  /** By the position of the record. Only of an image that is to be signed. */
  readonly #digests = new Map<number, readonly Uint8Array[]>();
  #position = 0;

  /** Where the next record goes. */
  get position(): number {
    return this.#position;
  }

  get recordCount(): number {
    return this.#checksums.size;
  }

  /** Gives out the place of one record. `totalBytes` is its whole size with header and padding. */
  reserve(totalBytes: number): number {
    if (totalBytes <= 0 || paddedLength(totalBytes) !== totalBytes) throw misuse(`a record of ${totalBytes} bytes`);
    const position = this.#position;
    this.#checksums.set(position, undefined);
    this.#position += totalBytes;
    return position;
  }

  noteChecksum(position: number, crc: number): void {
    if (!this.#checksums.has(position)) throw misuse(`a checksum for byte ${position}, where no record begins`);
    if (this.#checksums.get(position) !== undefined)
      throw misuse(`a second checksum for the record at byte ${position}`);
    this.#checksums.set(position, crc);
  }

  /** `digests`: as `digestsOfRecord` gives them. */
  noteDigests(position: number, digests: readonly Uint8Array[]): void {
    this.#digests.set(position, digests);
  }

  /** Of all records so far, in the order of the stream. */
  digests(): Uint8Array[] {
    return [...this.#checksums.keys()].flatMap((position) => {
      const digests = this.#digests.get(position);
      if (digests === undefined) throw misuse(`the record at byte ${position} was never digested`);
      return digests;
    });
  }

  /** The payload of TAIL. */
  seal(): Uint8Array {
    const digest = new ChecksumDigest();
    for (const [position, crc] of this.#checksums) {
      if (crc === undefined) throw misuse(`the image ends, but the record at byte ${position} was never written`);
      digest.add(crc);
    }
    return encodeTail(digest.finish());
  }
}
