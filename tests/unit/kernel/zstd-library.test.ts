import { describe, expect, it } from 'vitest';
import { compressPages, decompressPages } from '../../../src/image/compression.ts';
import { bytesAt, NativeMemory } from '../../../src/kernel/native-memory.ts';
import { zstdLibrary } from '../../../src/kernel/zstd-library.ts';
import { packPages, unpackPages } from '../../../src/pages/page-codec.ts';
import { ImageError } from '../../../src/support/errors.ts';
import { errorOf, pageData } from '../image/streams.ts';

const pages = pageData(128);
const memory = NativeMemory.allocate(pages.length);
memory.bytes.set(pages);
const packed = NativeMemory.allocate(pages.length);
const back = NativeMemory.allocate(pages.length);
const whole = { address: memory.address, sizeBytes: pages.length };

describe('pages between pieces of native memory', () => {
  it('are compressed, and what the other codec reads is the same', () => {
    const length = packPages(whole, packed, 1) ?? expect.fail('half-random pages were not compressed');
    expect(length).toBeLessThan(pages.length);
    expect(Buffer.from(decompressPages(packed.bytes.subarray(0, length), pages.length)).equals(pages)).toBe(true);
  });

  it('come back from what the other codec has written', () => {
    const frame = compressPages(pages, 1) ?? expect.fail();
    packed.bytes.set(frame);
    unpackPages({ address: packed.address, sizeBytes: frame.length }, back.address, pages.length, 'PGARR record');
    expect(back.bytes.equals(pages)).toBe(true);
  });

  it('that are noise stay as they are', () => {
    const noise = NativeMemory.allocate(256 * 4096);
    for (let at = 0; at < noise.sizeBytes; at += 65_536) {
      crypto.getRandomValues(bytesAt(noise.address, noise.sizeBytes).subarray(at, at + 65_536));
    }
    const into = NativeMemory.allocate(noise.sizeBytes);
    expect(packPages({ address: noise.address, sizeBytes: noise.sizeBytes }, into, 1)).toBeUndefined();
  });

  it('are refused when their frame is damaged or lies', () => {
    const frame = Uint8Array.from(compressPages(pages, 1) ?? expect.fail());
    packed.bytes.set(frame);
    const stored = { address: packed.address, sizeBytes: frame.length };
    const refused = (rawBytes: number): string => {
      const error = errorOf(() => unpackPages(stored, back.address, rawBytes, 'PGARR record'));
      expect(error).toBeInstanceOf(ImageError);
      return error.message;
    };
    expect(refused(pages.length - 4096)).toMatch(/where 520192 belong/);
    packed.bytes.fill(0xff, 6, 16);
    expect(refused(pages.length)).toMatch(/compressed pages/);
  });
});

it('the library of the system is found where it is installed', () => {
  // Debian's dpkg needs it, so it is there wherever these tests are set up.
  expect(zstdLibrary()).toBeDefined();
});
