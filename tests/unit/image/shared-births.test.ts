/** Which processes are born with the descriptor tables and directories of their makers. */
import { describe, expect, it } from 'vitest';
import type { Step } from '../../../src/image/hierarchy.ts';
import { planSharedBirths } from '../../../src/image/shared-births.ts';
import { errorOf } from '../image/streams.ts';

type Sharer = Parameters<typeof planSharedBirths>[0][number];

/** What a process has; the second number is of its working directory, 0 for one that nobody else has. */
const has = (pid: number, files: number, fileSystem = 0, others: Partial<Sharer> = {}): Sharer => ({
  ...{ pid, files, addressBits: 64, layoutBits: 0 },
  ...(fileSystem === 0 ? {} : { fileSystem }),
  ...others,
});

const makes = (...pairs: [pid: number, maker: number][]): Step[] =>
  pairs.map(([pid, maker]) => ({ what: 'make', pid, maker, asSibling: false }));

/** 1 makes 2 and 3, 2 makes 4, 4 makes 5. */
const family = makes([2, 1], [3, 1], [4, 2], [5, 4]);

const planned = (tasks: readonly Sharer[], steps: readonly Step[] = family): object =>
  Object.fromEntries(
    [...planSharedBirths(tasks, steps)].map(([pid, { gets, leaves }]) => [pid, [[...gets], [...leaves]]]),
  );

describe('processes', () => {
  it('that share nothing are born with nothing', () => {
    expect(planned([has(1, 11), has(2, 12), has(3, 13), has(4, 14), has(5, 15)])).toEqual({});
  });

  it('get what they share from their makers', () => {
    expect(planned([has(1, 11), has(2, 11), has(3, 13, 21), has(4, 14), has(5, 15)])).toEqual({
      1: [[], []],
      2: [['files'], []],
    });
  });

  it('get one thing and another by different ways', () => {
    expect(planned([has(1, 11, 21), has(2, 11), has(3, 13, 21), has(4, 11), has(5, 15)])).toEqual({
      1: [[], []],
      2: [['files'], []],
      3: [['fileSystem'], []],
      4: [['files'], []],
    });
  });

  it('get it through one that leaves it afterwards', () => {
    expect(planned([has(1, 11), has(2, 12), has(3, 13), has(4, 11), has(5, 11)])).toEqual({
      1: [[], []],
      2: [['files'], ['files']],
      4: [['files'], []],
      5: [['files'], []],
    });
  });

  it('get it from one who has made them all, and leaves it afterwards', () => {
    expect(planned([has(1, 11), has(2, 12), has(3, 13, 21), has(4, 14, 21), has(5, 15)])).toEqual({
      1: [[], ['fileSystem']],
      2: [['fileSystem'], ['fileSystem']],
      3: [['fileSystem'], []],
      4: [['fileSystem'], []],
    });
  });

  const i386 = { addressBits: 32 } as const;
  it('of two kinds may share a directory', () => {
    expect(planned([has(1, 11, 21), has(2, 12, 21, i386)], makes([2, 1]))).toEqual({
      1: [[], []],
      2: [['fileSystem'], []],
    });
  });

  it.each<[string, readonly Sharer[], readonly Step[]]>([
    ['a table, of two kinds', [has(1, 11), has(2, 11, 0, i386)], makes([2, 1])],
    ['through one that stands between others', [has(1, 11), has(2, 12), has(3, 12), has(4, 11), has(5, 15)], family],
    ['from a helper', [has(1, 11), has(2, 11)], makes([2, 7])],
    ['with somebody whom nobody makes', [has(1, 11), has(2, 11)], []],
  ])('cannot share %s', (_, tasks, steps) => {
    expect(errorOf(() => planSharedBirths(tasks, steps))).toMatchObject({ code: 'odd-sharing' });
  });

  it('that are many do not take long', () => {
    const count = 100_000;
    const pids = Array.from({ length: count }, (_, index) => index + 1);
    const chain = makes(...pids.slice(1).map((pid): [number, number] => [pid, pid - 1]));
    expect(
      planSharedBirths([has(1, 11), ...pids.slice(1, -1).map((pid) => has(pid, pid + count)), has(count, 11)], chain)
        .size,
    ).toBe(count);
  });
});
