import { describe, expect, it } from 'vitest';
import { parsePersonality, readPersonality } from '../../../src/procfs/personality.ts';
import { asPid } from '../../../src/support/brand.ts';

describe('the personality', () => {
  it('is a number in hexadecimal', () => {
    expect(parsePersonality('00000000\n')).toBe(0);
    expect(parsePersonality('0c400000\n')).toBe(0xc40_0000);
    expect(parsePersonality('ffffffff\n')).toBe(0xffff_ffff);
  });

  it.each(['', '0\n', '00000000', 'g0000000\n', '000000000\n'])('is refused where it is none: %j', (text) => {
    expect(() => parsePersonality(text)).toThrow(/personality/);
  });

  it('of this process can be read', () => {
    expect(readPersonality(asPid(process.pid))).toBeGreaterThanOrEqual(0);
  });
});
