/** `quicksave inspect --memory ADDR[:LEN]`, `--strings [MIN]`, `--search TEXT` */
import type { FindImage } from '../image/image-folder.ts';
import type { OpenedInput } from '../image/image-source.ts';
import { describeCut, type Inspection } from '../report/inspect.ts';
import type { ProcessMemory } from '../report/process-memory.ts';
import { hexdump } from '../report/render-memory.ts';
import { placesOf, textsIn } from '../report/search-memory.ts';
import { memoryOf, openForLooking } from '../report/task-view.ts';
import { QuicksaveError } from '../support/errors.ts';
import { printResult } from './print-result.ts';
import { UsageError } from './usage-error.ts';

export interface MemoryOptions {
  readonly json?: boolean;
  readonly memory?: string;
  readonly strings?: boolean | string;
  readonly search?: string;
}

const DEFAULT_LENGTH = 256;
const MAX_LENGTH = 1024 * 1024 * 1024;
const SHORTEST_TEXT = 4;
const AROUND = 16;
const FLUSH_AT = 64 * 1024;

/** Returns what is to be told of an image that was cut. */
export function lookIntoMemory(
  input: OpenedInput,
  options: MemoryOptions,
  pid: number | undefined,
  find: FindImage,
): Inspection['cut'] {
  const show = chosen(options);
  const image = openForLooking(input, find, { showsCut: true });
  try {
    const out = new Lines();
    show(memoryOf(image, pid), out, options.json ?? false);
    out.flush();
    return image.cut === undefined ? undefined : describeCut(image.cut);
  } catch (error) {
    if (!(error instanceof SeenEnough)) throw error;
    return undefined;
  } finally {
    image.close();
  }
}

type Show = (memory: ProcessMemory, out: Lines, json: boolean) => void;

/** Wrong usage is said before the image is read. */
function chosen({ memory, strings, search }: MemoryOptions): Show {
  if (memory !== undefined) {
    const range = parseRange(memory);
    return (process, out, json) => showRange(process, range, out, json);
  }
  if (search !== undefined) {
    if (search === '') throw new UsageError('--search takes a text.');
    return (process, out, json) => showPlaces(process, Buffer.from(search), out, json);
  }
  const shortest = strings === true || strings === undefined ? SHORTEST_TEXT : Number(strings);
  if (!Number.isSafeInteger(shortest) || shortest < 1)
    throw new UsageError(`--strings takes a length, not "${strings}".`);
  return (process, out, json) => {
    for (const { address, text } of textsIn(process, shortest)) {
      out.add(json ? JSON.stringify({ address: hex(address), text }) : `${hex(address)} ${text}`);
    }
  };
}

interface Range {
  readonly start: number;
  readonly length: number;
}

function parseRange(text: string): Range {
  const [, address, length] = /^(0x[0-9a-f]+|\d+)(?::(0x[0-9a-f]+|\d+))?$/i.exec(text) ?? [];
  const start = Number(address);
  const bytes = length === undefined ? DEFAULT_LENGTH : Number(length);
  if (address === undefined || !Number.isSafeInteger(start) || bytes < 1 || bytes > MAX_LENGTH) {
    throw new UsageError(`--memory takes ADDRESS or ADDRESS:LENGTH, as 0x7ffc1000:64, not "${text}".`);
  }
  return { start, length: bytes };
}

function showRange(process: ProcessMemory, { start, length }: Range, out: Lines, json: boolean): void {
  if (process.mappingAt(start) === undefined) {
    throw new QuicksaveError('no-such-memory', `Process ${process.process.task.pid} has no memory at ${hex(start)}.`, {
      remedy: 'See inspect --maps.',
    });
  }
  if (!json) {
    for (const line of hexdump(process, start, length)) out.add(line);
    return;
  }
  for (const { address, bytes } of process.read(start, length)) {
    const found = bytes === undefined ? { known: false } : { hex: Buffer.from(bytes).toString('hex') };
    out.add(JSON.stringify({ address: hex(address), ...found }));
  }
}

function showPlaces(process: ProcessMemory, wanted: Buffer, out: Lines, json: boolean): void {
  for (const address of placesOf(wanted, process)) {
    if (json) {
      out.add(JSON.stringify({ address: hex(address) }));
      continue;
    }
    const mapping = process.mappingAt(address);
    const start = Math.max(mapping?.start ?? 0, address - AROUND);
    const end = Math.min(mapping?.end ?? 0, address + wanted.length + AROUND);
    out.add(hex(address));
    for (const line of hexdump(process, start, end - start)) out.add(`  ${line}`);
  }
}

const hex = (address: number): string => `0x${address.toString(16)}`;

/** The reader of the result has gone. */
class SeenEnough extends Error {}

/** Long results go out in pieces. */
class Lines {
  #text = '';

  add(line: string): void {
    this.#text += `${line}\n`;
    if (this.#text.length > FLUSH_AT) this.flush();
  }

  flush(): void {
    const text = this.#text;
    this.#text = '';
    if (text !== '' && !printResult(text)) throw new SeenEnough();
  }
}
