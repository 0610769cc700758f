/**
 * CBOR (RFC 8949), narrowed to what our records need: whole numbers, float64, byte and text strings, arrays, maps with text
 * keys, false, true and null. No tags, nothing of indefinite length.
 *
 * Images are not trusted. A structural check goes over the bytes before the library sees them, so that no claimed length, depth
 * or count can cost more than the bytes that are there.
 *
 * What goes in comes out: a `number` stays a number (beyond 32 bits it travels as float64, exact up to 2^53), a `bigint` stays a
 * bigint (always 64 bits wide). Linux paths are bytes, not text: give them as byte strings.
 */
import { isUtf8 } from 'node:buffer';
// This build of the library has neither code generation nor the optional native part, which parses on its own.
import { Encoder } from 'cbor-x/index-no-eval';
import { viewOf } from './frame.ts';
import { badRecord, misuse } from './image-errors.ts';

const MAX_DEPTH = 32;
/** An empty map of one byte becomes an object of dozens: bytes alone do not bound memory. */
const MAX_ITEMS = 1 << 21;

const MAJOR = { UNSIGNED: 0, NEGATIVE: 1, BYTES: 2, TEXT: 3, ARRAY: 4, MAP: 5, SIMPLE: 7 } as const;
const SIMPLE_FALSE = 20;
const SIMPLE_NULL = 22;
const FLOAT64 = 27;

const codec = new Encoder({
  useRecords: false,
  mapsAsObjects: true,
  variableMapSize: true,
  tagUint8Array: false,
  largeBigIntToFloat: false,
});

/** Properties that are undefined are left out. What has no exact form in our CBOR is refused, never bent. */
export function encodeCbor(value: unknown): Uint8Array {
  const encoded = codec.encode(toPlain(value, 0));
  checkCbor(encoded);
  return encoded;
}

/** `where` names the record in errors. Byte strings are views of `bytes`, not copies. */
export function decodeCbor(bytes: Uint8Array, where = 'A record'): unknown {
  checkCbor(bytes, where);
  return codec.decode(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}

/** Throws unless `bytes` are exactly one item of our CBOR. */
export function checkCbor(bytes: Uint8Array, where = 'A record'): void {
  const check = new CborCheck(bytes, where);
  check.item(0);
  check.end();
}

function toPlain(value: unknown, depth: number): unknown {
  if (depth > MAX_DEPTH) throw misuse('a value to encode is nested too deeply');
  if (value === null || typeof value === 'boolean') return value;
  if (typeof value === 'number') return value;
  if (typeof value === 'bigint') return checkBigint(value);
  if (typeof value === 'string') return checkText(value);
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (Array.isArray(value)) return value.map((item) => toPlain(item, depth + 1));
  if (isPlainObject(value)) return plainObject(value, depth);
  throw misuse(`a value to encode is ${describe(value)}`);
}

function plainObject(value: Record<string, unknown>, depth: number): Record<string, unknown> {
  const plain: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) {
    if (item === undefined) continue;
    if (key === '__proto__') throw misuse('a value to encode has a key __proto__');
    plain[checkText(key)] = toPlain(item, depth + 1);
  }
  return plain;
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function describe(value: unknown): string {
  return typeof value === 'object' ? `an object of class ${value?.constructor?.name}` : `of type ${typeof value}`;
}

function checkBigint(value: bigint): bigint {
  if (value >= -(2n ** 63n) && value < 2n ** 64n) return value;
  throw misuse(`a value to encode (${value}) has more than 64 bits`);
}

/** Half a surrogate pair has no UTF-8: encoders put a replacement character there without a word. */
function checkText(text: string): string {
  if (/\p{Surrogate}/u.test(text)) throw misuse('a text to encode is not valid Unicode (use a byte string)');
  return text;
}

/** Goes over the items without making them. */
class CborCheck {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #where: string;
  #at = 0;
  #items = 0;

  constructor(bytes: Uint8Array, where: string) {
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
    this.#where = where;
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw this.#bad('has bytes behind its end');
  }

  item(depth: number): void {
    this.#count(depth);
    const initial = this.#initialByte();
    const major = initial >> 5;
    const info = initial & 31;
    if (major === MAJOR.UNSIGNED || major === MAJOR.NEGATIVE) this.#integer(info);
    else if (major === MAJOR.BYTES) this.#pass(this.#length(info));
    else if (major === MAJOR.TEXT) this.#text(info);
    else if (major === MAJOR.ARRAY) this.#array(this.#length(info), depth);
    else if (major === MAJOR.MAP) this.#map(this.#length(info), depth);
    else if (major === MAJOR.SIMPLE) this.#simple(info);
    else throw this.#bad('holds a tagged value');
  }

  #count(depth: number): void {
    if (depth > MAX_DEPTH) throw this.#bad(`is nested deeper than ${MAX_DEPTH} levels`);
    this.#items += 1;
    if (this.#items > MAX_ITEMS) throw this.#bad(`holds more than ${MAX_ITEMS} values`);
  }

  #initialByte(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw this.#bad('ends in the middle of a value');
    this.#at += 1;
    return byte;
  }

  #integer(info: number): void {
    if (info < 24) return;
    if (info > 27) throw this.#bad('holds a malformed number');
    this.#pass(2 ** (info - 24));
  }

  #array(count: number, depth: number): void {
    this.#expect(count);
    for (let index = 0; index < count; index += 1) this.item(depth + 1);
  }

  #map(count: number, depth: number): void {
    this.#expect(count * 2);
    const keys = new Set<string>();
    for (let index = 0; index < count; index += 1) {
      const key = this.#key();
      if (keys.has(key)) throw this.#bad(`has the key ${JSON.stringify(key)} twice`);
      if (key === '__proto__') throw this.#bad('has a key __proto__');
      keys.add(key);
      this.item(depth + 1);
    }
  }

  #key(): string {
    const initial = this.#initialByte();
    if (initial >> 5 !== MAJOR.TEXT) throw this.#bad('has a key that is not text');
    const bytes = this.#text(initial & 31);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
  }

  #text(info: number): Uint8Array {
    const start = this.#at;
    const length = this.#length(info);
    const textStart = this.#at;
    this.#pass(length);
    const text = this.#bytes.subarray(textStart, this.#at);
    if (!isUtf8(text)) throw this.#bad(`holds a text at ${start} that is not UTF-8`);
    return text;
  }

  #simple(info: number): void {
    if (info >= SIMPLE_FALSE && info <= SIMPLE_NULL) return;
    if (info !== FLOAT64) throw this.#bad('holds a value of a kind that images do not use');
    this.#pass(8);
  }

  /** The length or count that an initial byte announces. No record is so long that it would need 64 bits. */
  #length(info: number): number {
    if (info < 24) return info;
    const start = this.#at;
    if (info > 26) throw this.#bad('holds a length of a kind that images do not use');
    this.#pass(2 ** (info - 24));
    if (info === 24) return this.#view.getUint8(start);
    return info === 25 ? this.#view.getUint16(start) : this.#view.getUint32(start);
  }

  #pass(length: number): void {
    this.#expect(length);
    this.#at += length;
  }

  /** At least so many bytes must follow: each item has one at least. */
  #expect(length: number): void {
    if (length > this.#bytes.length - this.#at) throw this.#bad('announces more than it holds');
  }

  #bad(what: string): Error {
    return badRecord(this.#where, `its content ${what} (at ${this.#at} of ${this.#bytes.length} bytes)`);
  }
}
