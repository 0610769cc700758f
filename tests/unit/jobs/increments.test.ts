import { describe, expect, it } from 'vitest';
import { baseFor, expendable, type Save } from '../../../src/jobs/increments.ts';

const whole = (number: number, run = 1): Save => ({ run, number, sizeBytes: 1000 });
const on = (base: number, number: number, sizeBytes = 100): Save => ({ run: 1, number, base, sizeBytes });
const numbers = (saves: readonly Save[]): number[] => saves.map(({ number }) => number);

describe('the save that the next one builds on', () => {
  it('is the newest whole one of the same start', () => {
    expect(baseFor([], 1)).toBeUndefined();
    expect(baseFor([whole(1), on(1, 2), whole(3), on(3, 4)], 1)?.number).toBe(3);
    expect(baseFor([whole(1), on(1, 2)], 2)).toBeUndefined();
  });

  it('is none when the last one was not half as small, or eight build on it', () => {
    expect(baseFor([whole(1), on(1, 2, 500)], 1)?.number).toBe(1);
    expect(baseFor([whole(1), on(1, 2, 501)], 1)).toBeUndefined();
    const seven = Array.from({ length: 7 }, (_, index) => on(1, index + 2));
    expect(baseFor([whole(1), ...seven], 1)?.number).toBe(1);
    expect(baseFor([whole(1), ...seven, on(1, 9)], 1)).toBeUndefined();
  });
});

describe('saves that may go', () => {
  it('are all but the newest, where all are whole', () => {
    expect(
      numbers(
        expendable(
          [1, 2, 3, 4].map((number) => whole(number)),
          2,
        ),
      ),
    ).toEqual([1, 2]);
    expect(numbers(expendable([whole(1), whole(2)], 1))).toEqual([1]);
    expect(expendable([whole(1)], 3)).toEqual([]);
  });

  it('are none that one which stays builds on, and never the last whole one before that', () => {
    const saves = [whole(1), on(1, 2), whole(3), on(3, 4), on(3, 5), on(3, 6)];
    expect(numbers(expendable(saves, 2))).toEqual([2, 4]);
    expect(numbers(expendable([...saves, whole(7)], 2))).toEqual([2, 4, 5, 1]);
    expect(numbers(expendable([whole(9, 1), ...saves.map((one) => ({ ...one, run: 2 }))], 1))).toEqual([2, 4, 5, 9]);
  });
});
