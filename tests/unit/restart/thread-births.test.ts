/** By whom threads are made that have a descriptor table, or a directory, of their own. */
import { describe, expect, it } from 'vitest';
import { planThreadBirths, type ThreadParts } from '../../../src/restart/thread-births.ts';

/** What the threads have when all are made as planned: numbers by the order in which objects come to be. */
function played(threads: readonly ThreadParts[]): [number, number][] {
  let next = 1;
  const have = new Map<number, [number, number]>([[0, [0, 0]]]);
  for (const { thread, maker, sharesFiles, sharesFileSystem } of planThreadBirths(threads)) {
    const [files, fileSystem] = have.get(maker) ?? expect.fail(`thread ${maker} makes ${thread} before it is there`);
    have.set(thread, [sharesFiles ? files : next++, sharesFileSystem ? fileSystem : next++]);
  }
  return threads.map((_, thread) => have.get(thread) ?? expect.fail(`thread ${thread} is not made`));
}

/** Who shares with whom, whatever the numbers are. */
const pairs = (objects: readonly number[]): boolean[][] => objects.map((one) => objects.map((other) => one === other));

const parts = (...pairsOfNumbers: [number, number][]): ThreadParts[] =>
  pairsOfNumbers.map(([files, fileSystem]) => ({ files, fileSystem }));

describe('threads', () => {
  it.each<[string, ThreadParts[]]>([
    ['that share all', parts([1, 1], [1, 1], [1, 1])],
    ['of which one shares nothing', parts([1, 1], [2, 2], [1, 1])],
    ['that share with a thread behind them', parts([1, 1], [2, 2], [2, 1])],
    ['that share with each other only', parts([1, 1], [2, 2], [2, 3], [4, 3], [4, 3])],
    ['in a long chain, told from its end', parts([1, 1], [4, 4], [4, 3], [3, 3], [3, 2], [2, 2], [2, 1])],
  ])('%s come to share what they shared', (_, threads) => {
    const made = played(threads);
    expect(pairs(made.map(([files]) => files))).toEqual(pairs(threads.map(({ files }) => files)));
    expect(pairs(made.map(([, place]) => place))).toEqual(pairs(threads.map(({ fileSystem }) => fileSystem)));
  });

  it('that no kernel could have made are refused', () => {
    expect(() => planThreadBirths(parts([1, 1], [2, 1], [2, 2], [1, 2]))).toThrow('no order of making them');
  });

  it.each([1, 2, 200_000])('that are many, with %i tables, do not take long', (count) => {
    const many = Array.from({ length: 200_000 }, (_, index) => ({ files: index % count, fileSystem: index % count }));
    expect(planThreadBirths(many)).toHaveLength(199_999);
  });
});
