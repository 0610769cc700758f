/**
 * What the threads that move pages share: who takes which chunk next, where the stream stands, what went wrong. All in one
 * SharedArrayBuffer, used with Atomics, because the thread that holds the target may not go through its event loop.
 */
import type { ErrorCode } from '../support/error-pages/catalogue.ts';
import { ImageError, QuicksaveError } from '../support/errors.ts';

const NEXT = 0;
const ACTIVE = 1;
const FAILED = 2;
const LOCK = 3;
const STOP = 4;
const WORDS = 8;
const NUMBERS_OFFSET = WORDS * 4;
const POSITION = 0;
const DONE_BYTES = 1;
const STORED_BYTES = 2;
const ZERO_PAGES = 3;
const PARENT_PAGES = 4;
const SEGMENTS = 5;
const RELATIVE_PAGES = 6;
const NUMBERS = 7;
const ERROR_OFFSET = NUMBERS_OFFSET + NUMBERS * 8;
const ERROR_BYTES = 4096;
const RESULTS_OFFSET = ERROR_OFFSET + ERROR_BYTES;
/** Position (f64) and checksum (f64; -1 for none) of each chunk's record. */
const RESULT_BYTES = 16;
const NOT_WRITTEN = -1;

/** `segments`: of an encrypted image, counted only by whoever has the position to itself. */
export type Counter = 'doneBytes' | 'storedBytes' | 'zeroPages' | 'parentPages' | 'relativePages' | 'segments';
const counterIndex: Record<Counter, number> = {
  doneBytes: DONE_BYTES,
  storedBytes: STORED_BYTES,
  zeroPages: ZERO_PAGES,
  parentPages: PARENT_PAGES,
  segments: SEGMENTS,
  relativePages: RELATIVE_PAGES,
};

export class SharedState {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #numbers: BigInt64Array;
  readonly #results: Float64Array;
  readonly #error: Uint8Array;

  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer, 0, WORDS);
    this.#numbers = new BigInt64Array(buffer, NUMBERS_OFFSET, NUMBERS);
    this.#error = new Uint8Array(buffer, ERROR_OFFSET, ERROR_BYTES);
    this.#results = new Float64Array(buffer, RESULTS_OFFSET);
  }

  static forChunks(count: number, position: number): SharedState {
    const state = new SharedState(new SharedArrayBuffer(RESULTS_OFFSET + count * RESULT_BYTES));
    Atomics.store(state.#numbers, POSITION, BigInt(position));
    state.#results.fill(NOT_WRITTEN);
    return state;
  }

  /** The next chunk that nobody has taken; undefined when there is none or the work is to end. */
  takeChunk(count: number): number | undefined {
    if (Atomics.load(this.#words, STOP) !== 0) return undefined;
    const index = Atomics.add(this.#words, NEXT, 1);
    return index < count ? index : undefined;
  }

  /** Tells all threads to take no further chunk. */
  stop(): void {
    Atomics.store(this.#words, STOP, 1);
  }

  enter(): void {
    Atomics.add(this.#words, ACTIVE, 1);
  }

  leave(): void {
    Atomics.sub(this.#words, ACTIVE, 1);
    Atomics.notify(this.#words, ACTIVE);
  }

  /** Waits until no thread is at work. */
  awaitOthers(): void {
    for (let active = Atomics.load(this.#words, ACTIVE); active !== 0; active = Atomics.load(this.#words, ACTIVE)) {
      Atomics.wait(this.#words, ACTIVE, active);
    }
  }

  /** Runs `use` with the stream's position to itself; what it returns is the new position. */
  atPosition(use: (position: number) => number): void {
    while (Atomics.compareExchange(this.#words, LOCK, 0, 1) !== 0) Atomics.wait(this.#words, LOCK, 1);
    try {
      const position = Number(Atomics.load(this.#numbers, POSITION));
      Atomics.store(this.#numbers, POSITION, BigInt(use(position)));
    } finally {
      Atomics.store(this.#words, LOCK, 0);
      Atomics.notify(this.#words, LOCK, 1);
    }
  }

  get position(): number {
    return Number(Atomics.load(this.#numbers, POSITION));
  }

  count(counter: Counter, amount: number): void {
    Atomics.add(this.#numbers, counterIndex[counter], BigInt(amount));
  }

  read(counter: Counter): number {
    return Number(Atomics.load(this.#numbers, counterIndex[counter]));
  }

  setResult(chunk: number, position: number, crc: number): void {
    this.#results[chunk * 2] = position;
    this.#results[chunk * 2 + 1] = crc;
  }

  /** Positions and checksums of the chunks that were written, each with its index. */
  results(): { chunk: number; position: number; crc: number }[] {
    const found: { chunk: number; position: number; crc: number }[] = [];
    for (let index = 0; index < this.#results.length; index += 2) {
      const position = this.#results[index] ?? NOT_WRITTEN;
      if (position === NOT_WRITTEN) continue;
      found.push({ chunk: index / 2, position, crc: this.#results[index + 1] ?? 0 });
    }
    return found;
  }

  /** Keeps the first error, and stops everybody. */
  fail(error: unknown): void {
    if (Atomics.compareExchange(this.#words, FAILED, 0, 1) !== 0) return;
    const text = JSON.stringify(describe(error)).slice(0, ERROR_BYTES);
    this.#error.set(Buffer.from(text).subarray(0, ERROR_BYTES - 1));
    this.stop();
  }

  /** Throws what another thread has met. */
  throwIfFailed(): void {
    if (Atomics.load(this.#words, FAILED) === 0) return;
    const text = Buffer.from(this.#error).toString().replace(/\0+$/, '');
    const { code, message, remedy, isOfImage } = JSON.parse(text) as ErrorText;
    const Kind = isOfImage ? ImageError : QuicksaveError;
    throw new Kind(code, message, { remedy });
  }
}

interface ErrorText {
  readonly code: ErrorCode;
  readonly message: string;
  readonly remedy: string;
  readonly isOfImage: boolean;
}

function describe(error: unknown): ErrorText {
  if (!(error instanceof QuicksaveError)) {
    return describe(new QuicksaveError('internal', error instanceof Error ? error.message : String(error)));
  }
  const { code, message, remedy } = error;
  return { code, message, remedy, isOfImage: error instanceof ImageError };
}
