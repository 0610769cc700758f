import { describe, expect, test } from 'vitest';
import type { LoadChunk } from '../../../src/pages/load-job.ts';
import { PendingPages } from '../../../src/pages/pending-pages.ts';

const PAGE = 4096;
const chunk = { offset: 0, runs: [] } as unknown as LoadChunk;
/** In pages; `offset` undefined for zeros. */
const piece = (start: number, pages: number, offset?: number) => ({
  start: start * PAGE,
  pages,
  offset: offset === undefined ? undefined : offset * PAGE,
  chunk,
});
const shown = (pending: PendingPages): string =>
  pending.stretches
    .map((one) => {
      const { offset } = pending.at(one.start) ?? {};
      return `${one.start / PAGE}+${one.pages}@${offset === undefined ? 'zero' : offset / PAGE}`;
    })
    .join(' ');

const some = (): PendingPages => new PendingPages([piece(40, 5, 15), piece(10, 10, 0), piece(30, 10, 5), piece(20, 5)]);

describe('pages that are still to come', () => {
  test('come in the order of their addresses', () => {
    const pending = some();
    const seen: number[] = [];
    for (let next = pending.next; next !== undefined; next = pending.next) {
      seen.push(next.start / PAGE);
      pending.take(next.start, next.start + 3 * PAGE);
    }
    expect(seen).toEqual([10, 13, 16, 19, 22, 30, 33, 36, 39, 42]);
    expect(pending.isEmpty).toBe(true);
  });

  test('are found by any page of them, from that on', () => {
    expect(some().at(34 * PAGE)).toEqual(piece(34, 6, 9));
    expect(some().at(22 * PAGE)).toEqual(piece(22, 3));
    expect(some().at(25 * PAGE)).toBeUndefined();
    expect(some().at(9 * PAGE)).toBeUndefined();
    expect(some().at(45 * PAGE)).toBeUndefined();
  });

  test('are cut where some of them go', () => {
    const pending = some();
    expect(pending.take(12 * PAGE, 14 * PAGE)).toEqual([piece(12, 2, 2)]);
    expect(pending.take(24 * PAGE, 31 * PAGE).map(({ start }) => start / PAGE)).toEqual([30, 24]);
    expect(shown(pending)).toBe('10+2@0 14+6@4 20+4@zero 31+9@6 40+5@15');
    expect(pending.take(25 * PAGE, 31 * PAGE)).toEqual([]);
    expect(pending.take(0, Number.MAX_SAFE_INTEGER)).toHaveLength(5);
    expect(pending.isEmpty).toBe(true);
  });

  test('move with their memory, over what was there', () => {
    const pending = some();
    pending.move(15 * PAGE, 32 * PAGE, 4 * PAGE);
    expect(shown(pending)).toBe('10+5@0 19+1@9 20+5@zero 30+2@5 32+4@5 36+4@11 40+5@15');
    pending.move(30 * PAGE, 100 * PAGE, 20 * PAGE);
    expect(shown(pending)).toBe('10+5@0 19+1@9 20+5@zero 100+2@5 102+4@5 106+4@11 110+5@15');
    pending.move(100 * PAGE, 2 * PAGE, 3 * PAGE);
    expect(shown(pending)).toBe('2+2@5 4+1@5 10+5@0 19+1@9 20+5@zero 103+3@6 106+4@11 110+5@15');
  });

  test('of a child are its own', () => {
    const parent = some();
    const child = parent.copy();
    parent.take(0, 35 * PAGE);
    expect(shown(child)).toBe('10+10@0 20+5@zero 30+10@5 40+5@15');
    expect(shown(parent)).toBe('35+5@10 40+5@15');
  });
});
