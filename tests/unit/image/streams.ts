/** Sinks and sources in memory, and images to try things on. */
import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import type { ByteSource } from '../../../src/image/byte-stream.ts';
import type { HeadState } from '../../../src/image/head.ts';
import type { ImageRecord, ReaderOptions } from '../../../src/image/reader.ts';
import { ImageReader } from '../../../src/image/reader.ts';
import { RECORD } from '../../../src/image/record-types.ts';
import type { ByteSink } from '../../../src/image/writer.ts';
import { ImageWriter } from '../../../src/image/writer.ts';
import { QuicksaveError } from '../../../src/support/errors.ts';

/** A sink with positions, as a file has them. */
export class MemorySink implements ByteSink {
  bytes = new Uint8Array(0);

  write(bytes: Uint8Array): void {
    // No Buffer: its `slice` would not copy.
    this.bytes = new Uint8Array(Buffer.concat([this.bytes, bytes]));
  }

  skip(bytes: number): void {
    this.write(new Uint8Array(bytes).fill(0xee));
  }
}

/** A source that gives at most `step` bytes at a time, as a pipe does. */
export class MemorySource implements ByteSource {
  readonly #bytes: Uint8Array;
  readonly #step: number;
  #at = 0;

  constructor(bytes: Uint8Array, step = Number.MAX_SAFE_INTEGER) {
    this.#bytes = bytes;
    this.#step = step;
  }

  read(into: Uint8Array): number {
    const length = Math.min(into.length, this.#step, this.#bytes.length - this.#at);
    into.set(this.#bytes.subarray(this.#at, this.#at + length));
    this.#at += length;
    return length;
  }

  skip(bytes: number): number {
    const length = Math.min(bytes, this.#bytes.length - this.#at);
    this.#at += length;
    return length;
  }
}

export const sampleHead: HeadState = {
  imageId: 'a1b2c3',
  tool: 'quicksave 0.1.0',
  createdAt: 1_790_000_000_000,
  kernel: { release: '6.18.0', version: '#1 SMP', machine: 'x86_64' },
  pageSize: 4096,
  cpu: {
    vendor: 'GenuineIntel',
    features: ['fpu', 'avx512f'],
    xcr0: 0xe7n,
    xstateSize: 2696,
    components: [{ index: 2, offset: 576, size: 256, name: 'avx' }],
  },
};

export const taskState = { pid: 4242, comm: 'sleeper', address: 0x7fff_1234_5000, mask: 0xffff_ffff_ffff_fffen };

/** Half of each page is the same, the other half random: compressible, and every byte counts. */
export function pageData(pages: number): Uint8Array {
  const data = new Uint8Array(pages * 4096);
  for (let page = 0; page < pages; page += 1) data.set(randomBytes(2048), page * 4096);
  return data;
}

export const sampleData = pageData(3);

export const sampleRuns = [
  { start: 0x40_0000, pages: 1, kind: 'data' },
  { start: 0x40_1000, pages: 1000, kind: 'zero' },
  { start: 0x7fff_0000_0000, pages: 2, kind: 'data' },
] as const;

/** HEAD, TASK, STRING, CPU, an unknown optional record, a raw chunk, a compressed chunk, a chunk of zeros, TAIL. */
export function writeSample(sink: ByteSink): void {
  const writer = new ImageWriter(sink);
  writer.head(sampleHead);
  writer.record(RECORD.TASK, 1, taskState);
  writer.record(RECORD.STRING, 1, 'sleeper');
  writer.bytes(RECORD.CPU, 1, new Uint8Array(785).fill(7));
  writer.record(777, 0, { later: true }, 1);
  writer.chunk(2, sampleRuns, sampleData);
  writer.chunk(2, sampleRuns, sampleData, { level: 1 });
  writer.chunk(3, [{ start: 0, pages: 0xffff_ffff, kind: 'zero' }], new Uint8Array(0), { level: 1 });
  writer.end();
}

export function writeImage(write: (writer: ImageWriter) => unknown): Uint8Array {
  const sink = new MemorySink();
  const writer = new ImageWriter(sink);
  writer.head(sampleHead);
  write(writer);
  return sink.bytes;
}

export function sampleImage(): Uint8Array {
  const sink = new MemorySink();
  writeSample(sink);
  return sink.bytes;
}

export function readAll(bytes: Uint8Array, options: ReaderOptions = {}, step?: number): ImageRecord[] {
  const reader = new ImageReader(new MemorySource(bytes, step), options);
  const records: ImageRecord[] = [];
  for (let record = reader.next(); record !== undefined; record = reader.next()) records.push(record);
  return records;
}

/** Where each record of an intact image begins and ends. */
export function recordSpans(bytes: Uint8Array): { start: number; end: number }[] {
  const spans: { start: number; end: number }[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let start = 0; start < bytes.length; ) {
    const end = start + 24 + Math.ceil(Number(view.getBigUint64(start + 8, true)) / 8) * 8;
    spans.push({ start, end });
    start = end;
  }
  return spans;
}

/** What `action` throws; anything but an error of ours fails the test. */
export function errorOf(action: () => unknown): QuicksaveError {
  try {
    action();
  } catch (error) {
    if (error instanceof QuicksaveError) return error;
    throw error;
  }
  return expect.fail('nothing was thrown');
}
