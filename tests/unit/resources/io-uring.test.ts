/** What of a ring is said at a restart. How rings come back: tests/programs/rings.c; which are refused: tests/faults/odd-states.test.ts. */
import { expect, it } from 'vitest';
import { tryMakeRing } from '../../../src/kernel/calls/io-uring.ts';
import { ioUring } from '../../../src/resources/files/io-uring.ts';
import type { HostView } from '../../../src/resources/resource.ts';
import { descriptorStates } from './samples.ts';

const here = {} as HostView;
const where = ['pid 4242', 'fd 5'];
const planned = (change: object): string[] =>
  (ioUring.plan?.({ ...descriptorStates.io_uring, ...change } as never, here, where) ?? []).map(({ code }) => code);

it('one that can be made here is no problem, one that cannot or has another layout is', (context) => {
  const made = tryMakeRing({ setup: 0, sqEntries: 64, cqEntries: 256 });
  if (typeof made === 'number') return context.skip(`io_uring_setup(2) fails with ${made}`);
  made.ring.close();
  const { offsets } = made;
  expect(planned({ offsets, setup: 0 })).toEqual([]);
  expect(planned({ offsets: { ...offsets, array: offsets.array + 4 }, setup: 0 })).toEqual(['no-io-uring']);
  // Completions that only come when they are asked for need one task that asks (io_uring_setup(2)).
  expect(planned({ offsets, setup: 0x2000 })).toEqual(['no-io-uring']);
});

it('names the descriptors that are registered, and whether the kernel takes hold of memory', () => {
  const state = descriptorStates.io_uring;
  expect(ioUring.descriptorsOf?.(state as never)).toEqual([7, 9]);
  expect(ioUring.touchesMemory?.(state as never)).toBe(true);
  const without = { ...state, registrations: { ...state.registrations, buffers: [] } };
  expect(ioUring.touchesMemory?.(without as never)).toBe(false);
});
