/** A stream that is read twice, as a pipe cannot be. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import type { ByteSource } from '../../../src/image/byte-stream.ts';
import { newMemoryFile } from '../../../src/kernel/calls/descriptors.ts';
import { keepStream, recorded } from '../../../src/pages/kept-stream.ts';
import { MemorySource, pageData } from '../image/streams.ts';

/** Reads up to so many bytes, always into the same buffer, as a reader does. */
function readSome(source: ByteSource, bytes: number): Buffer {
  const buffer = Buffer.alloc(1000);
  const found: Buffer[] = [];
  for (let left = bytes; left > 0; ) {
    const length = source.read(buffer.subarray(0, Math.min(left, buffer.length)));
    if (length === 0) break;
    found.push(Buffer.from(buffer.subarray(0, length)));
    left -= length;
  }
  return Buffer.concat(found);
}

const bytes = Buffer.from(pageData(20));

it('what was read of a stream comes again, and then the rest', () => {
  for (const already of [0, 1, 4096, 50_000, bytes.length]) {
    const source = recorded(new MemorySource(bytes, 777));
    expect(readSome(source, already).equals(bytes.subarray(0, already))).toBe(true);
    const file = newMemoryFile('kept');
    try {
      expect(keepStream(file, source.fromStart())).toBe(bytes.length);
      expect(readFileSync(`/proc/self/fd/${file.number}`).equals(bytes)).toBe(true);
    } finally {
      file.close();
    }
  }
});

it('what is forgotten of it does not', () => {
  const source = recorded(new MemorySource(bytes));
  readSome(source, 4096);
  source.forget();
  expect(readSome(source, bytes.length).equals(bytes.subarray(4096))).toBe(true);
});
