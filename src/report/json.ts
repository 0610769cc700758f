/** Values of an image as JSON: nothing that is in an image may be lost on the way, and nothing may be unbounded. */

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** What a byte string becomes: its length, and its first bytes in hexadecimal. */
export interface JsonBytes {
  readonly bytes: number;
  readonly hex: string;
}

/** Of a longer byte string (a pipe may hold megabytes) only so much is shown. */
const MAX_SHOWN_BYTES = 4096;

/**
 * Whole numbers that a double holds exactly stay numbers, larger ones become decimal text. What JSON does not know, and an
 * image's CBOR neither, becomes null.
 */
export function toJson(value: unknown): Json {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value;
    case 'number':
      return Number.isFinite(value) ? value : null;
    case 'bigint':
      return isExact(value) ? Number(value) : value.toString();
    case 'object':
      return value === null ? null : objectToJson(value);
    default:
      return null;
  }
}

const isExact = (value: bigint): boolean =>
  value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER);

function objectToJson(value: object): Json {
  if (value instanceof Uint8Array) return { ...bytesToJson(value) };
  if (Array.isArray(value)) return value.map(toJson);
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, toJson(part)]));
}

export const bytesToJson = (value: Uint8Array): JsonBytes => ({
  bytes: value.length,
  hex: Buffer.from(value.subarray(0, MAX_SHOWN_BYTES)).toString('hex'),
});

/** The value below a path of keys; undefined wherever the path leads nowhere. */
export function at(value: Json | undefined, ...path: readonly string[]): Json | undefined {
  let found = value;
  for (const key of path) {
    if (!isObject(found)) return undefined;
    found = Object.hasOwn(found, key) ? found[key] : undefined;
  }
  return found;
}

export const isObject = (value: Json | undefined): value is { readonly [key: string]: Json } =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export const isList = (value: Json | undefined): value is readonly Json[] => Array.isArray(value);

export const numberAt = (value: Json | undefined, ...path: readonly string[]): number | undefined => {
  const found = at(value, ...path);
  return typeof found === 'number' ? found : undefined;
};

export const textAt = (value: Json | undefined, ...path: readonly string[]): string | undefined => {
  const found = at(value, ...path);
  return typeof found === 'string' ? found : undefined;
};

/** A whole number that may have become text, because it is beyond 2^53. */
export function wholeAt(value: Json | undefined, ...path: readonly string[]): bigint | undefined {
  const found = at(value, ...path);
  if (typeof found === 'number' && Number.isSafeInteger(found)) return BigInt(found);
  return typeof found === 'string' && /^-?\d{1,20}$/.test(found) ? BigInt(found) : undefined;
}
