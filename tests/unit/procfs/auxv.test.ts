import { describe, expect, it } from 'vitest';
import { auxvWordSize, parseAuxv, readAuxv } from '../../../src/procfs/auxv.ts';
import { asPid } from '../../../src/support/brand.ts';

const table64 = (...words: bigint[]): Uint8Array => new Uint8Array(BigUint64Array.from(words).buffer);
const table32 = (...words: number[]): Uint8Array => new Uint8Array(Uint32Array.from(words).buffer);

describe('parseAuxv', () => {
  it('reads words of 64 bits', () => {
    expect(parseAuxv(table64(33n, 0x7f6207fd2000n, 51n, 0xd30n, 11n, 0n, 0n, 0n))).toEqual([
      [33n, 0x7f6207fd2000n],
      [51n, 0xd30n],
      [11n, 0n],
    ]);
  });

  it('reads words of 32 bits', () => {
    const table = table32(32, 0xf7f0a000, 33, 0xf7f09000, 11, 0, 0, 0, 0, 0);
    expect(auxvWordSize(table)).toBe(4);
    expect(parseAuxv(table)).toEqual([
      [32n, 0xf7f0a000n],
      [33n, 0xf7f09000n],
      [11n, 0n],
    ]);
  });

  it('reads bytes that begin inside a larger buffer', () => {
    const table = new Uint8Array([9, ...table64(6n, 4096n, 0n, 0n)]).subarray(1);
    expect(parseAuxv(table)).toEqual([[6n, 4096n]]);
  });

  it('has no entries for a kernel thread', () => {
    expect(parseAuxv(new Uint8Array(0))).toEqual([]);
  });

  it.each([
    ['no end', table64(6n, 4096n)],
    ['a cut table', table64(6n, 4096n, 0n, 0n).subarray(0, 20)],
    ['one byte', new Uint8Array(1)],
    ['noise', new Uint8Array(64).fill(0xff)],
  ])('refuses %s', (_, bytes) => {
    expect(() => parseAuxv(bytes)).toThrow(expect.objectContaining({ code: 'malformed-proc-file' }));
  });

  it('reads this process', () => {
    const AT_PAGESZ = 6n;
    expect(new Map(readAuxv(asPid(process.pid))).get(AT_PAGESZ)).toBe(4096n);
  });
});
