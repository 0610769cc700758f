/**
 * Numbers and "Key: value" lines as the kernel prints them. Strict: what does not look like the documented form is an
 * error that names the file, never a guess.
 */
import { QuicksaveError } from '../support/errors.ts';

/**
 * A number where a double holds it exactly, else a bigint. One value has one form only, so that `===` and keys work.
 */
export type ExactInteger = number | bigint;

export interface Device {
  readonly major: number;
  readonly minor: number;
}

const clip = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);

export function malformed(file: string, what: string, found: string | undefined): QuicksaveError {
  const shown = found === undefined ? 'it is missing' : `found ${clip(found)}`;
  return new QuicksaveError('malformed-proc-file', `The kernel's ${file} is not as expected: ${what}: ${shown}.`, {
    remedy: 'Report this with the output of "uname -r"; this kernel may be newer than quicksave.',
  });
}

export const exact = (value: bigint): ExactInteger =>
  value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;

/** A decimal integer, signed, of any size. */
export function parseExact(file: string, what: string, text: string | undefined): ExactInteger {
  if (text === undefined || !/^-?\d{1,20}$/.test(text)) throw malformed(file, what, text);
  return text.length < 16 ? Number(text) : exact(BigInt(text));
}

/** A decimal integer, signed, that has to fit into a double. */
export function parseDecimal(file: string, what: string, text: string | undefined): number {
  const value = parseExact(file, what, text);
  if (typeof value === 'bigint') throw malformed(file, what, text);
  return value;
}

export function parseOctal(file: string, what: string, text: string | undefined): number {
  if (text === undefined || !/^[0-7]{1,17}$/.test(text)) throw malformed(file, what, text);
  return Number.parseInt(text, 8);
}

export function parseHex(file: string, what: string, text: string | undefined): number {
  if (text === undefined || !/^[0-9a-f]{1,13}$/.test(text)) throw malformed(file, what, text);
  return Number.parseInt(text, 16);
}

/** A bit mask in hexadecimal: with or without 0x, with commas between 32-bit groups as the kernel prints cpu masks. */
export function parseMask(file: string, what: string, text: string | undefined): bigint {
  if (text === undefined || !/^(0x)?[0-9a-f]+(,[0-9a-f]{8})*$/.test(text)) throw malformed(file, what, text);
  return BigInt(`0x${text.replace(/^0x/, '').replaceAll(',', '')}`);
}

/** Numbers between blanks; an empty text has none. */
export const parseDecimals = (file: string, what: string, text: string): number[] =>
  words(text).map((word) => parseDecimal(file, what, word));

/** In the longest list there can be: of processors, of memory nodes. */
const LARGEST_LIST_ENTRY = 65535;

/** A list such as "0-3,8": cpuset(7), list format. */
export const parseList = (file: string, what: string, text: string): number[] =>
  text === '' ? [] : text.split(',').flatMap((range) => parseRange(file, what, range));

function parseRange(file: string, what: string, text: string): number[] {
  const [first, last] = text.split('-');
  const from = parseDecimal(file, what, first);
  const to = last === undefined ? from : parseDecimal(file, what, last);
  if (from > to || to > LARGEST_LIST_ENTRY) throw malformed(file, what, text);
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

export const words = (text: string): string[] => text.split(/\s+/).filter((word) => word !== '');

/** Lines without their newlines; the end of the text is no further line. */
export function lines(text: string): string[] {
  const all = text.split('\n');
  if (all.at(-1) === '') all.pop();
  return all;
}

/** The escapes of the kernel's mangle_path(): a backslash and three octal digits. */
export const unescapeOctal = (text: string): string =>
  text.includes('\\') ? text.replace(/\\([0-3][0-7]{2})/g, (_, digits: string) => octalCharacter(digits)) : text;

const octalCharacter = (digits: string): string => String.fromCharCode(Number.parseInt(digits, 8));

/** A file of "Key: value" lines. */
export class KeyedText {
  readonly #file: string;
  readonly #values: ReadonlyMap<string, string>;

  constructor(file: string, text: string) {
    this.#file = file;
    this.#values = new Map(lines(text).map((line) => splitKey(file, line)));
  }

  optional(key: string): string | undefined {
    return this.#values.get(key);
  }

  text(key: string): string {
    const value = this.#values.get(key);
    if (value === undefined) throw malformed(this.#file, key, undefined);
    return value;
  }

  decimal(key: string): number {
    return parseDecimal(this.#file, key, this.text(key));
  }

  decimals(key: string): number[] {
    return parseDecimals(this.#file, key, this.text(key));
  }

  mask(key: string): bigint {
    return parseMask(this.#file, key, this.text(key));
  }

  /** 0 or 1. */
  flag(key: string): boolean {
    const value = this.text(key);
    if (value !== '0' && value !== '1') throw malformed(this.#file, key, value);
    return value === '1';
  }

  kib(key: string): number {
    const value = this.text(key);
    const number = /^(\d+) kB$/.exec(value)?.[1];
    if (number === undefined) throw malformed(this.#file, key, value);
    return parseDecimal(this.#file, key, number);
  }

  /** `read(key)` if this kernel prints the key. */
  ifPresent<T>(key: string, read: (key: string) => T): T | undefined {
    return this.#values.has(key) ? read(key) : undefined;
  }
}

function splitKey(file: string, line: string): [string, string] {
  const colon = line.indexOf(':');
  if (colon < 1) throw malformed(file, 'a line "key: value"', line);
  return [line.slice(0, colon).trimEnd(), line.slice(colon + 1).trim()];
}
