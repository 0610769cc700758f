import { expect, it } from 'vitest';
import { aioRingBytes, aioSlots, aioWish, mostUnread } from '../../../src/resources/aio-room.ts';

it('a ring takes whole pages, and has at least room for eight requests of each processor', () => {
  expect([1, 20, 61].map((wanted) => aioRingBytes(wanted, 2))).toEqual([4096, 4096, 4096]);
  expect([63, 1000].map((wanted) => aioRingBytes(wanted, 2))).toEqual([8192, 65536]);
  expect(aioRingBytes(1, 64)).toBe(20480);
  expect(aioSlots(4096)).toBe(127);
});

it('what is asked for is what was, or the most that leads to a ring of that size', () => {
  expect(aioWish(20, 4096, 2)).toBe(20);
  expect(aioWish(1, 20480, 64)).toBe(1);
  // On a host with fewer processors.
  const most = aioWish(1, 20480, 2) ?? 0;
  expect(aioRingBytes(most, 2)).toBe(20480);
  expect(aioRingBytes(most + 1, 2)).toBe(24576);
  // On one with more.
  expect(aioWish(20, 4096, 64)).toBeUndefined();
});

it('answers fill whole pieces of a ring', () => {
  expect(mostUnread(127, 2)).toBe(120);
  expect(mostUnread(127, 64)).toBe(126);
});
