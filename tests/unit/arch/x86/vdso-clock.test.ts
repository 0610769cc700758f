import { describe, expect, it } from 'vitest';
import { stopClocks } from '../../../../src/arch/x86/vdso-clock.ts';

const COUNTER = 0x5d8e_f75b_15aen;

/** A page with the beginnings of clocks. */
function pageOf(clocks: readonly { offset: number; count: number; mode: number; counter?: bigint }[]): Buffer {
  const page = Buffer.alloc(4096);
  for (const { offset, count, mode, counter = COUNTER } of clocks) {
    page.writeUInt32LE(count, offset);
    page.writeInt32LE(mode, offset + 4);
    page.writeBigUInt64LE(counter, offset + 8);
  }
  return page;
}

const headAt = (page: Buffer, offset: number): number[] => [page.readUInt32LE(offset), page.readInt32LE(offset + 4)];

describe('clocks of another kernel', () => {
  it.each([
    ['at the beginning of the page', 0],
    ['behind what older kernels have there', 128],
  ])('are marked as not readable %s, all of them', (_, first) => {
    const page = pageOf([
      { offset: first, count: 100, mode: 1 },
      { offset: first + 0xe8, count: 100, mode: 1 },
      { offset: first + 0x200, count: 7, mode: 1, counter: COUNTER + 5000n },
    ]);
    expect(stopClocks(page)).toBe(true);
    expect(headAt(page, first)).toEqual([102, 0]);
    expect(headAt(page, first + 0xe8)).toEqual([102, 0]);
    // An update was under way: that count would be waited for without end.
    expect(headAt(page, first + 0x200)).toEqual([8, 0]);
  });

  it('get a count that no reader has seen, also where it wraps', () => {
    const page = pageOf([{ offset: 0, count: 0xffff_fffe, mode: 2 }]);
    stopClocks(page);
    expect(headAt(page, 0)).toEqual([0, 0]);
  });

  it('are nothing else in the page', () => {
    const page = pageOf([
      { offset: 0, count: 2, mode: 1 },
      { offset: 0x40, count: 2, mode: 1, counter: 77n },
      { offset: 0x60, count: 2, mode: 5 },
    ]);
    const before = Buffer.from(page);
    stopClocks(page);
    expect(page.subarray(8)).toEqual(before.subarray(8));
  });

  it('stay as they are where they cannot be read anyway', () => {
    const page = pageOf([{ offset: 0, count: 2, mode: 0 }]);
    const before = Buffer.from(page);
    expect(stopClocks(page)).toBe(true);
    expect(page).toEqual(before);
  });

  it.each([
    ['zeros', Buffer.alloc(4096)],
    ['the page of a time namespace', pageOf([{ offset: 0, count: 1, mode: 0x7fff_ffff }])],
    ['a short page', Buffer.alloc(8)],
  ])('are not seen in %s', (_, page) => {
    expect(stopClocks(page)).toBe(false);
  });
});
