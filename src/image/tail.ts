/**
 * TAIL, the last record: how many records came before it, and a digest over their checksums. SHA-256 over the checksums only, as
 * over the whole image it would be the slowest part of a save.
 */

import type { Hash } from 'node:crypto';
import { createHash } from 'node:crypto';
import { viewOf } from './frame.ts';

export const TAIL_MAGIC = 0x002d_2a0c_c0de_ef00n;
export const TAIL_SIZE = 48;
const DIGEST_OFFSET = 16;

export interface Tail {
  readonly recordCount: number;
  readonly digest: Uint8Array;
}

export function encodeTail({ recordCount, digest }: Tail): Uint8Array {
  const payload = new Uint8Array(TAIL_SIZE);
  viewOf(payload).setBigUint64(0, TAIL_MAGIC, true);
  viewOf(payload).setBigUint64(8, BigInt(recordCount), true);
  payload.set(digest, DIGEST_OFFSET);
  return payload;
}

/** Undefined for what is not a TAIL. */
export function decodeTail(payload: Uint8Array): Tail | undefined {
  if (payload.length !== TAIL_SIZE || viewOf(payload).getBigUint64(0, true) !== TAIL_MAGIC) return undefined;
  return { recordCount: Number(viewOf(payload).getBigUint64(8, true)), digest: payload.subarray(DIGEST_OFFSET) };
}

/** SHA-256 over a sequence of checksums, each as four bytes, little-endian. */
export class ChecksumDigest {
  readonly #hash: Hash = createHash('sha256');
  readonly #bytes = new Uint8Array(4);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  add(crc: number): void {
    viewOf(this.#bytes).setUint32(0, crc, true);
    this.#hash.update(this.#bytes);
    this.#count += 1;
  }

  /** Ends the digest; nothing can be added after. */
  finish(): Tail {
    return { recordCount: this.#count, digest: this.#hash.digest() };
  }
}
