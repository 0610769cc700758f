/** Texts in the memory of a process that an image carries. */
import type { ProcessMemory } from './process-memory.ts';

const PAGE = 4096;

export interface FoundText {
  readonly address: number;
  readonly text: string;
}

/** Longer ones are cut, and go on in the next. */
const MAX_TEXT = 4096;
const FIRST_PRINTABLE = 0x20;
const LAST_PRINTABLE = 0x7e;
const TAB = 9;

/** Runs of printable ASCII of at least so many characters, as strings(1) finds them; also over the ends of pages. */
export function* textsIn(memory: ProcessMemory, shortest: number): Generator<FoundText> {
  let start = 0;
  let text = '';
  let next = -1;
  for (const { address, bytes } of memory.pagesInImage()) {
    if (address !== next) {
      if (text.length >= shortest) yield { address: start, text };
      text = '';
    }
    for (let index = 0; index < bytes.length; index++) {
      const byte = bytes[index] ?? 0;
      const isText = (byte >= FIRST_PRINTABLE && byte <= LAST_PRINTABLE) || byte === TAB;
      if (isText && text === '') start = address + index;
      if (isText) text += String.fromCharCode(byte);
      if (isText && text.length < MAX_TEXT) continue;
      if (text.length >= shortest) yield { address: start, text };
      text = '';
    }
    next = address + PAGE;
  }
  if (text.length >= shortest) yield { address: start, text };
}

/** Every place where these bytes stand, also over the ends of pages. */
export function* placesOf(wanted: Uint8Array, memory: ProcessMemory): Generator<number> {
  if (wanted.length === 0) return;
  let tail = Buffer.alloc(0);
  let next = -1;
  for (const { address, bytes } of memory.pagesInImage()) {
    if (address !== next) tail = Buffer.alloc(0);
    const joined = Buffer.concat([tail, bytes]);
    const base = address - tail.length;
    for (let at = joined.indexOf(wanted); at >= 0; at = joined.indexOf(wanted, at + 1)) yield base + at;
    tail = Buffer.from(joined.subarray(Math.max(0, joined.length - wanted.length + 1)));
    next = address + PAGE;
  }
}
