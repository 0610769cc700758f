/** What is fuzzed: a reader of bytes that others have made, and how such bytes are changed. */
import { expect } from 'vitest';
import { QuicksaveError } from '../../src/support/errors.ts';
import type { Random } from './random.ts';

export interface Subject {
  /** Begins the names of its files in the corpus. */
  readonly name: string;
  /** Inputs as they should be, all of which it reads. */
  readonly seeds: readonly Buffer[];
  readonly mutate: (seed: Buffer, random: Random) => Buffer;
  /** Each reads the input by itself: from its beginning to its end, or to a QuicksaveError. */
  readonly readers: readonly ((input: Buffer) => void)[];
}

/** Nothing that a seed's size of input says is worth more, on a busy machine too. */
const MAX_MS = 10_000;
const MAX_GROWTH_BYTES = 1024 ** 3;

/** How many readers took the input; fails for one that crashes, takes too long, or takes too much memory. */
export function examine({ readers }: Subject, input: Buffer): number {
  let taken = 0;
  for (const read of readers) {
    const started = performance.now();
    const before = process.memoryUsage.rss();
    try {
      read(input);
      taken++;
    } catch (error) {
      if (!(error instanceof QuicksaveError)) throw error;
      expect(error.message).toMatch(/^[A-Z"].*\.$/s);
      expect(error.code).not.toBe('internal');
    }
    expect(performance.now() - started).toBeLessThan(MAX_MS);
    expect(process.memoryUsage.rss() - before).toBeLessThan(MAX_GROWTH_BYTES);
  }
  return taken;
}

/** Bytes changed, cut out, doubled or put in, a few at a time. */
export function mutateBytes(seed: Buffer, random: Random): Buffer {
  let bytes = Buffer.from(seed);
  for (let changes = 1 + random.below(4); changes > 0; changes--) {
    const at = random.below(bytes.length + 1);
    const end = Math.min(bytes.length, at + random.below(random.oneOf([2, 8, 64])));
    const piece = bytes.subarray(at, end);
    const other = random.oneOf([
      Buffer.alloc(0),
      Buffer.concat([piece, piece]),
      Buffer.from(piece.map(() => random.below(256))),
      Buffer.from(piece.map(() => random.oneOf([0, 1, 0x7f, 0x80, 0xff]))),
    ]);
    bytes = Buffer.concat([bytes.subarray(0, at), other, bytes.subarray(end)]);
  }
  return bytes;
}
