import { describe, expect, it } from 'vitest';
import { compressPages, decompressPages } from '../../../src/image/compression.ts';
import { inspectZstdFrame, withContentSize } from '../../../src/image/zstd-frame.ts';
import { ImageError } from '../../../src/support/errors.ts';
import { errorOf, pageData } from './streams.ts';

const pages = pageData(64);
const frame = compressPages(pages, 1) ?? expect.fail('half-random pages were not compressed');

const failure = (bytes: Uint8Array, rawBytes: number): string => {
  const error = errorOf(() => decompressPages(bytes, rawBytes, 'PGARR record at byte 96'));
  expect(error).toBeInstanceOf(ImageError);
  expect(error.code).toBe('bad-record');
  return error.message;
};

describe('compressed pages', () => {
  it.each([1, 3, 9, 19])('come back the same at level %d', (level) => {
    const compressed = compressPages(pages, level) ?? expect.fail();
    expect(Buffer.from(decompressPages(compressed, pages.length)).equals(pages)).toBe(true);
  });

  it('say in their header how many bytes they become', () => {
    expect(inspectZstdFrame(frame)?.contentSize).toBe(pages.length);
  });

  it('that are noise are not compressed', () => {
    expect(compressPages(crypto.getRandomValues(new Uint8Array(4096)), 1)).toBeUndefined();
  });

  it('that are all the same cost almost nothing, and come back', () => {
    const same = new Uint8Array(4 * 1024 * 1024).fill(0x90);
    const compressed = compressPages(same, 1) ?? expect.fail();
    expect(compressed.length).toBeLessThan(1000);
    expect(Buffer.from(decompressPages(compressed, same.length)).equals(same)).toBe(true);
  });
});

describe('decompression refuses', () => {
  it('a frame of another size than its chunk says', () => {
    expect(failure(frame, pages.length + 4096)).toMatch(/are 262144 bytes where 266240 belong/);
  });

  it('a frame that does not say its size', () => {
    const silent = Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, 0, 0x48, 1, 0, 0]);
    expect(failure(silent, 0)).toMatch(/do not say how many/);
    expect(inspectZstdFrame(withContentSize(silent, 0))?.contentSize).toBe(0);
  });

  it('a bomb whose header lies', () => {
    // A thousand blocks that claim 128 KiB each, in a frame that says 4096 bytes.
    const block = [0x02 | ((131_072 << 3) & 0xff), (131_072 >> 5) & 0xff, (131_072 >> 13) & 0xff, 7];
    const blocks = Array.from({ length: 1100 }, () => block).flat();
    blocks[blocks.length - 4] = (blocks[blocks.length - 4] ?? 0) | 1;
    const bomb = Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, 0x80, 0x48, 0, 0x10, 0, 0, ...blocks]);
    expect(failure(bomb, 4096)).toMatch(/far larger/);
  });

  it('a lie that is small', () => {
    const lying = Uint8Array.from(frame);
    const at = lying.findIndex(
      (_, index) => index > 4 && new DataView(lying.buffer).getUint32(index, true) === pages.length,
    );
    new DataView(lying.buffer).setUint32(at, pages.length - 4096, true);
    expect(failure(lying, pages.length - 4096)).toMatch(/cannot be decompressed/);
  });

  const broken: [string, (bytes: Uint8Array) => Uint8Array][] = [
    ['nothing', () => new Uint8Array(0)],
    ['another format', () => new TextEncoder().encode('not a zstd frame at all')],
    ['a cut frame', (bytes) => bytes.slice(0, -1)],
    ['a cut header', (bytes) => bytes.slice(0, 7)],
    ['a frame with bytes behind it', (bytes) => Uint8Array.from([...bytes, 0])],
    ['two frames', (bytes) => Uint8Array.from([...bytes, ...bytes])],
    ['a frame that needs a dictionary', (bytes) => bytes.with(4, (bytes[4] ?? 0) | 1)],
    ['a frame of the future', (bytes) => bytes.with(4, (bytes[4] ?? 0) | 8)],
    ['a skippable frame', (bytes) => bytes.with(0, 0x50).with(1, 0x2a).with(2, 0x4d).with(3, 0x18)],
  ];
  it.each(broken)('%s', (_, breakIt) => {
    expect(failure(breakIt(Uint8Array.from(frame)), pages.length)).toMatch(/not one whole zstd frame/);
  });

  it('changed bytes, never with another error than its own', () => {
    for (let round = 0; round < 300; round += 1) {
      const at = Math.floor(Math.random() * frame.length);
      const changed = Uint8Array.from(frame).with(at, Math.floor(Math.random() * 256));
      try {
        expect(decompressPages(changed, pages.length)).toHaveLength(pages.length);
      } catch (error) {
        expect(error).toBeInstanceOf(ImageError);
      }
    }
  });
});
