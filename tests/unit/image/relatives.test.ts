/** Where the pages of a process are looked for. */
import { expect, it } from 'vitest';
import { namedRelatives } from '../../../src/image/relatives.ts';

const task = (pid: number, parent?: number) => ({ pid, parent, memory: pid * 10 });

it('the relatives of a process are its ancestors, the nearest first, and its eldest sibling', () => {
  const tasks = [task(1), task(2, 1), task(3, 1), task(4, 2), task(5, 4), task(6, 5), task(7, 1), task(8, 2)];
  expect(Object.fromEntries(namedRelatives(tasks))).toEqual({
    10: [],
    20: [10],
    30: [10, 20],
    40: [20, 10],
    50: [40, 20, 10],
    60: [50, 40, 20],
    70: [10, 20],
    80: [20, 10, 40],
  });
});

it('a memory that processes share has the relatives of the first of them, and is none of its own', () => {
  const shared = { ...task(3, 2), memory: 20 };
  expect(Object.fromEntries(namedRelatives([task(1), task(2, 1), shared, task(4, 3)]))).toEqual({
    10: [],
    20: [10],
    40: [20, 10],
  });
});

it('every relative comes before the process, as an image needs it', () => {
  const tasks = [task(9), task(8, 9), task(3, 8), task(7, 9), task(1, 8)];
  const order = tasks.map(({ memory }) => memory);
  for (const [memory, relatives] of namedRelatives(tasks)) {
    for (const relative of relatives) expect(order.indexOf(relative)).toBeLessThan(order.indexOf(memory));
  }
});
