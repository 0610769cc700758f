/**
 * The boundary between an image's bytes and typed states: valibot schemas, the pieces that all of them share, and errors that
 * say which field of which record is wrong.
 */
import * as v from 'valibot';
import { badRecord } from './image-errors.ts';

/** `where` names the record, as `recordLabel` does. */
export function parseState<const Schema extends v.GenericSchema>(
  schema: Schema,
  value: unknown,
  where: string,
): v.InferOutput<Schema> {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  throw badRecord(where, describeIssue(result.issues[0]));
}

function describeIssue(issue: v.BaseIssue<unknown>): string {
  const path = v.getDotPath(issue) ?? 'it';
  if (issue.message.startsWith('must ')) return `${path} ${issue.message}`;
  if (issue.received === 'undefined') return `${path} is missing`;
  return `${path} must be ${nameExpected(issue.expected)}`;
}

function nameExpected(expected: string | null): string {
  if (expected === null) return 'something else';
  if (!/^[A-Za-z]+$/.test(expected)) return expected.replaceAll(' | ', ' or ');
  const noun = expected.toLowerCase();
  return `${/^[aeiou]/.test(noun) ? 'an' : 'a'} ${noun}`;
}

const isWhole = (value: unknown): value is number | bigint => typeof value === 'bigint' || Number.isSafeInteger(value);

/** A whole number within limits that both fit in a double. Written by others it may come as a 64-bit integer. */
export const integerBetween = (min: number, max: number) =>
  v.pipe(
    v.custom<number | bigint>(
      (value) => isWhole(value) && value >= min && value <= max,
      `must be a whole number from ${min} to ${max}`,
    ),
    v.transform(Number),
  );

const bigintBetween = (min: bigint, max: bigint) =>
  v.pipe(
    v.custom<number | bigint>(
      (value) => isWhole(value) && value >= min && value <= max,
      `must be a whole number from ${min} to ${max}`,
    ),
    v.transform((value) => BigInt(value)),
  );

export const u8 = integerBetween(0, 0xff);
export const u16 = integerBetween(0, 0xffff);
export const u32 = integerBetween(0, 0xffff_ffff);
export const signed32 = integerBetween(-0x8000_0000, 0x7fff_ffff);
/** The objref of another record. 0 is "none" in headers; in states a missing reference is a missing or null field. */
export const objectReference = integerBetween(1, 0xffff_ffff);
/** What a double holds exactly: sizes, times, offsets. */
export const count = integerBetween(0, Number.MAX_SAFE_INTEGER);
export const integer = integerBetween(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
/** Always a bigint after parsing, in whatever form it was written. */
export const u64 = bigintBetween(0n, 2n ** 64n - 1n);
export const i64 = bigintBetween(-(2n ** 63n), 2n ** 63n - 1n);

const USER_SPACE_END = 2 ** 47;
export const PAGE_SIZE = 4096;

/** An address in user space, or the end of user space itself. */
export const userAddress = integerBetween(0, USER_SPACE_END);

export const pageAddress = v.pipe(
  userAddress,
  v.check((value) => value % PAGE_SIZE === 0, 'must be the address of a page'),
);

export const byteString = (maxBytes: number) =>
  v.custom<Uint8Array>(
    (value) => value instanceof Uint8Array && value.length <= maxBytes,
    `must be a byte string of at most ${maxBytes} bytes`,
  );

/** `maxLength` counts UTF-16 units, as `length` does. No text of the kernel has a NUL in it, and no call takes one. */
export const boundedString = (maxLength: number) =>
  v.custom<string>(
    (value) => typeof value === 'string' && value.length <= maxLength && !value.includes('\0'),
    `must be a text of at most ${maxLength} characters without NUL`,
  );

export const boundedArray = <const Item extends v.GenericSchema>(item: Item, maxLength: number) =>
  v.pipe(v.array(item), v.maxLength(maxLength, `must have at most ${maxLength} entries`));
