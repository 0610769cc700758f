import { describe, expect, it } from 'vitest';
import { checksumOf } from '../../../src/kernel/crc32c.ts';
import { NativeMemory } from '../../../src/kernel/native-memory.ts';
import { localAddress } from '../../../src/support/brand.ts';
import { crc32c } from '../../../src/support/checksum.ts';

const STRETCHES = 3 * 2048;
const memory = NativeMemory.allocate(5 * STRETCHES);
memory.bytes.forEach((_, index) => {
  memory.bytes[index] = (index * 2654435761) >>> 13;
});

const both = (start: number, sizeBytes: number, initial: number): [number, number] => [
  checksumOf({ address: localAddress(memory.address + start), sizeBytes }, initial),
  crc32c(memory.bytes.subarray(start, start + sizeBytes), initial),
];

describe('the checksum of native memory', () => {
  it('is that of the standard: RFC 3720, B.4, 32 bytes from 0 to 31', () => {
    const sample = NativeMemory.allocate(32);
    sample.bytes.forEach((_, index) => {
      sample.bytes[index] = index;
    });
    expect(checksumOf(sample, 0)).toBe(0x46dd794e);
  });

  const sizes = [
    0,
    1,
    7,
    8,
    9,
    4096,
    STRETCHES - 1,
    STRETCHES,
    STRETCHES + 1,
    2 * STRETCHES + 4096,
    4 * STRETCHES + 13,
  ];

  it.each(sizes)('is that of the package for %d bytes, at any address, continued from any other', (sizeBytes) => {
    for (const start of [0, 1, 8, 4093]) {
      for (const initial of [0, 1, 0x80000000, 0xffffffff]) {
        const [ours, theirs] = both(start, sizeBytes, initial);
        expect(ours).toBe(theirs);
      }
    }
  });

  it('changes with every bit', () => {
    const [before] = both(0, 4 * STRETCHES, 0);
    for (const at of [0, 2047, 2048, 4096, 6143, 6144, 20_000]) {
      memory.bytes[at] = (memory.bytes[at] ?? 0) ^ 0x10;
      expect(both(0, 4 * STRETCHES, 0)[0]).not.toBe(before);
      memory.bytes[at] = (memory.bytes[at] ?? 0) ^ 0x10;
    }
  });
});
