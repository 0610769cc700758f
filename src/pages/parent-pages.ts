/**
 * The pages of an earlier image, by address, for the threads of a save: which of them are what a page is now. All in one
 * SharedArrayBuffer; the images themselves are mapped in our memory.
 */
import { chunkPages } from './load-job.ts';
import type { StoredPiece } from './stored-pages.ts';

const PAGE = 4096;
/** start, end, chunk, offset; offset -1: zero. */
const PIECE_FIELDS = 4;
/**
 * offset of the record, data, stored bytes, raw bytes, 1 if compressed, place in the plain image (-1: not encrypted); in the room of the
 * last four the key of the chunk's image.
 */
const CHUNK_FIELDS = 10;
const KEY_FIELD = 6;
const KEY_SIZE = 32;
const ZERO = -1;
const PLAIN = -1;

/** `pieces` ascend. */
export function encodeParentPages(pieces: readonly StoredPiece[]): SharedArrayBuffer {
  const chunks = [...new Set(pieces.map(({ chunk }) => chunk))];
  const numbers = new Map(chunks.map((chunk, index) => [chunk, index]));
  const length = 1 + pieces.length * PIECE_FIELDS + chunks.length * CHUNK_FIELDS;
  const buffer = new SharedArrayBuffer(length * 8);
  const table = new Float64Array(buffer);
  table[0] = pieces.length;
  pieces.forEach(({ start, pages, chunk, offset }, index) => {
    table.set([start, start + pages * PAGE, numbers.get(chunk) ?? 0, offset ?? ZERO], 1 + index * PIECE_FIELDS);
  });
  chunks.forEach(({ offset, dataAddress, storedBytes, rawBytes, encoding, segment }, index) => {
    const at = 1 + pieces.length * PIECE_FIELDS + index * CHUNK_FIELDS;
    const isCompressed = encoding === 'zstd' ? 1 : 0;
    table.set([offset, dataAddress, storedBytes, rawBytes, isCompressed, segment?.position ?? PLAIN], at);
    if (segment !== undefined) keyOf(table.subarray(at, at + CHUNK_FIELDS)).set(segment.key);
  });
  return buffer;
}

/** Bytes in the room of numbers: as numbers they would not stay what they are. */
const keyOf = (chunk: Float64Array): Uint8Array =>
  new Uint8Array(chunk.buffer, chunk.byteOffset + KEY_FIELD * 8, KEY_SIZE);

export class ParentPages {
  readonly buffer: SharedArrayBuffer;
  readonly #table: Float64Array;
  readonly #pieces: number;
  /** Where the last page was found: the next is near it. */
  #index = 0;
  #chunk = -1;
  #bytes: Buffer = Buffer.alloc(0);

  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.#table = new Float64Array(buffer);
    this.#pieces = this.#table[0] ?? 0;
  }

  /** What a run of the page at `address` is, if it has not changed; undefined where the image has none. */
  kindAt(address: number): 'parent' | 'zero' | undefined {
    if (!this.#find(address)) return undefined;
    return this.#table[1 + this.#index * PIECE_FIELDS + 3] === ZERO ? 'zero' : 'parent';
  }

  /** Is the page of the image at `address` the one at `at` in `bytes`? */
  equals(address: number, bytes: Buffer, at: number): boolean {
    if (!this.#find(address)) return false;
    const field = 1 + this.#index * PIECE_FIELDS;
    const offset = this.#table[field + 3] ?? ZERO;
    if (offset === ZERO) return false;
    const from = offset + address - (this.#table[field] ?? 0);
    const pages = this.#pagesOf(this.#table[field + 2] ?? 0);
    return pages.compare(bytes, at, at + PAGE, from, from + PAGE) === 0;
  }

  /** Steps to the piece that has the address. */
  #find(address: number): boolean {
    if (this.#startOf(this.#index) > address || this.#endOf(this.#index) <= address)
      this.#index = this.#search(address);
    return this.#index < this.#pieces && this.#startOf(this.#index) <= address;
  }

  /** The first piece that ends behind the address: the next one, as a rule. */
  #search(address: number): number {
    const next = this.#index + 1;
    if (this.#endOf(this.#index) <= address && next < this.#pieces && this.#endOf(next) > address) return next;
    let [low, high] = [0, this.#pieces];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#endOf(middle) <= address) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  readonly #startOf = (index: number): number => this.#table[1 + index * PIECE_FIELDS] ?? 0;
  readonly #endOf = (index: number): number => this.#table[2 + index * PIECE_FIELDS] ?? 0;

  #pagesOf(chunk: number): Buffer {
    if (chunk !== this.#chunk) {
      const at = 1 + this.#pieces * PIECE_FIELDS + chunk * CHUNK_FIELDS;
      this.#bytes = pagesAt(this.#table.subarray(at, at + CHUNK_FIELDS));
      this.#chunk = chunk;
    }
    return this.#bytes;
  }
}

function pagesAt(fields: Float64Array): Buffer {
  const [offset = 0, dataAddress = 0, storedBytes = 0, rawBytes = 0, isCompressed = 0, position = PLAIN] = fields;
  const encoding = isCompressed === 0 ? 'raw' : 'zstd';
  // A copy that is this thread's: what decrypts it takes no memory that is shared with others.
  const segment = position === PLAIN ? undefined : { key: Uint8Array.from(keyOf(fields)), position };
  return chunkPages({ offset, encoding, dataAddress, storedBytes, rawBytes, segment });
}
