import { describe, expect, it } from 'vitest';
import { parseTimeOffsets, readTimeOffsets, timeOffsetsText } from '../../../src/procfs/time-offsets.ts';
import { asPid } from '../../../src/support/brand.ts';

describe('how far the clocks of a time namespace are from those of the host', () => {
  it('is read to the nanosecond', () => {
    expect(parseTimeOffsets('monotonic      100000         5\nboottime           -2 999999999\n')).toEqual({
      monotonicNs: 100_000_000_000_005n,
      boottimeNs: -1_000_000_001n,
    });
  });

  it('is written as it is read, nanoseconds never negative', () => {
    const offsets = { monotonicNs: -1n, boottimeNs: 3_000_000_007n };
    expect(timeOffsetsText(offsets)).toBe('monotonic -1 999999999\nboottime 3 7\n');
    expect(parseTimeOffsets(timeOffsetsText(offsets))).toEqual(offsets);
  });

  it('is nothing where the kernel has no time namespaces', () => {
    expect(parseTimeOffsets('')).toEqual({ monotonicNs: 0n, boottimeNs: 0n });
  });

  it.each(['monotonic 1 2\n', 'monotonic x 2\nboottime 0 0\n'])('is not guessed: %j', (text) => {
    expect(() => parseTimeOffsets(text)).toThrow(/timens_offsets is not as expected/);
  });

  it('can be read of this process', () => {
    expect(readTimeOffsets(asPid(process.pid)).boottimeNs).toBeTypeOf('bigint');
  });
});
