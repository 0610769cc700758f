import { describe, expect, it } from 'vitest';
import { findHole, type Span } from '../../../src/tracee/address-space.ts';
import { errorOf } from '../image/streams.ts';

const PAGE = 4096;
const END = 2 ** 47 - PAGE;
const LOWEST = 0x10_0000;
const span = (start: number, end: number): Span => ({ start, end });

/** All of user space but for `[start, end)`. */
const allBut = (start: number, end: number): Span[] => [span(0, start), span(end, 2 ** 47)];

const touches = (hole: Span, taken: readonly Span[]): boolean =>
  taken.some(({ start, end }) => start < hole.end && hole.start < end);

describe('a hole', () => {
  it('is at the start of a page and overlaps nothing that is taken', () => {
    const taken = [
      span(0x40_0000, 0x40_5000),
      span(0x5555_5555_4000, 0x5555_5557_0000),
      span(0x7fff_f7dc_0000, 0x7fff_f7ff_f000),
      span(0x7fff_fffd_e000, 0x7fff_ffff_f000),
    ];
    for (const size of [PAGE, 100 * PAGE, 2 ** 40]) {
      const start = findHole(taken, size);
      expect(start % PAGE).toBe(0);
      expect(touches(span(start, start + size), taken)).toBe(false);
      expect(start + size).toBeLessThanOrEqual(END);
    }
  });

  it('is in the middle of the widest gap', () => {
    const gap = span(0x2000_0000_0000, 0x6000_0000_0000);
    const taken = [span(gap.end, END), span(0x1000_0000_0000, gap.start), span(LOWEST, 0x2000_0000)];
    expect(findHole(taken, 2 * PAGE)).toBe((gap.start + gap.end) / 2 - PAGE);
  });

  it('is found whatever the order of what is taken', () => {
    const taken = [span(0x5000_0000, 0x6000_0000), span(0x1000_0000, 0x2000_0000), span(0x7000_0000, END)];
    expect(findHole(taken, PAGE)).toBe(findHole(taken.toReversed(), PAGE));
    expect(findHole(taken, PAGE)).toBeGreaterThanOrEqual(0x2000_0000);
    expect(findHole(taken, PAGE)).toBeLessThan(0x5000_0000);
  });

  it('is not where a short span lies within a long one', () => {
    const taken = [span(LOWEST, 0x4000_0000_0000), span(0x1000_0000, 0x2000_0000), span(0x4000_0001_0000, END)];
    const start = findHole(taken, PAGE);
    expect(start).toBeGreaterThan(0x4000_0000_0000);
    expect(start).toBeLessThan(0x4000_0001_0000);
  });

  it('is below the end of user space when nothing is taken', () => {
    const start = findHole([], PAGE);
    expect(start).toBeGreaterThan(LOWEST);
    expect(start).toBeLessThan(END);
  });

  it('does not care for [vsyscall], which is above user space', () => {
    const vsyscall = span(0xffff_ffff_ff60_0000, 0xffff_ffff_ff60_1000);
    expect(findHole([vsyscall], PAGE)).toBe(findHole([], PAGE));
  });

  it('is never in the lowest addresses, which the kernel keeps free', () => {
    expect(errorOf(() => findHole([span(LOWEST, 2 ** 47)], PAGE)).code).toBe('no-room');
  });

  it('may be behind everything', () => {
    const start = findHole([span(0, END - 64 * PAGE)], PAGE);
    expect(start).toBeGreaterThan(END - 64 * PAGE);
    expect(start + PAGE).toBeLessThan(END);
  });

  it('has two pages to spare on both sides, so that the kernel merges it with no neighbour', () => {
    const gap = span(0x3000_0000, 0x3000_0000 + 12 * PAGE);
    const taken = allBut(gap.start, gap.end);
    expect(findHole(taken, 8 * PAGE)).toBe(gap.start + 2 * PAGE);
    const error = errorOf(() => findHole(taken, 9 * PAGE));
    expect(error).toMatchObject({ code: 'no-room', message: expect.stringContaining(`${9 * PAGE} bytes`) });
  });
});
