import { describe, expect, it } from 'vitest';
import { PROT } from '../../../src/kernel/abi/mman.ts';
import { SHM } from '../../../src/kernel/abi/shm.ts';
import { attachSegments } from '../../../src/restart/attach-segments.ts';
import type { PlannedMapping } from '../../../src/restart/process-plan.ts';
import { FakeTask } from '../tracee/fake-task.ts';
import { mapping } from './models.ts';

const PAGE = 4096;
const BASE = 0x7000_0000;
const SPACE_END = 2 ** 32;

/** Of a segment of five pages, the last of which it does not fill. */
function part(firstPage: number, pages: number, others: { protection?: number; readOnly?: boolean } = {}) {
  const { protection = 3, readOnly = false } = others;
  const start = BASE + firstPage * PAGE;
  const state = mapping(
    'system-v-segment',
    start,
    {},
    { end: start + pages * PAGE, offset: firstPage * PAGE, protection },
  );
  return {
    state,
    made: { flags: 0, file: 7, nameless: true, attach: { readOnly }, name: '' },
    segment: { id: 42, sizeBytes: 5 * PAGE - 100 },
  } as unknown as PlannedMapping;
}

/** Name and arguments of each call, with addresses as pages from where it is attached. */
function callsFor(mappings: readonly PlannedMapping[], others: readonly { start: number; end: number }[] = []) {
  const task = new FakeTask();
  attachSegments(task, mappings, [...mappings.map(({ state }) => state), ...others], SPACE_END);
  const at = task.made[0]?.args[1] ?? 0;
  const pages = (value: number): number => (value - at) / PAGE;
  return {
    at,
    attached: task.made.filter(({ name }) => name === 'shmat').map(({ args }) => args.slice(0, 3)),
    unmapped: task.made
      .filter(({ name }) => name === 'munmap')
      .map(({ args: [start = 0, size = 0] }) => [pages(start), size / PAGE]),
    moved: task.made
      .filter(({ name }) => name === 'mremap')
      .map(({ args: [from = 0, size = 0, , , to = 0] }) => [pages(from), size / PAGE, to]),
    protected: task.made
      .filter(({ name }) => name === 'mprotect')
      .map(({ args: [start, , protection] }) => [start, protection]),
  };
}

describe('attachSegments', () => {
  it('attaches a whole segment where it was', () => {
    const {
      attached,
      unmapped,
      moved,
      protected: protections,
    } = callsFor([part(0, 5, { readOnly: true, protection: 1 })]);
    expect(attached).toEqual([[42, BASE, SHM.SHM_RDONLY]]);
    expect([unmapped, moved]).toEqual([[], []]);
    expect(protections.at(-1)).toEqual([BASE, 1]);
  });

  it('unmaps what was unmapped, if nothing else is there', () => {
    const { attached, unmapped, moved } = callsFor([part(1, 1), part(3, 1)]);
    expect(attached).toEqual([[42, BASE, 0]]);
    expect(unmapped).toEqual([
      [0, 1],
      [2, 1],
      [4, 1],
    ]);
    expect(moved).toEqual([]);
  });

  it('attaches it elsewhere and moves its parts, if something else is there', () => {
    const { at, attached, moved } = callsFor([part(1, 2), part(4, 1)], [{ start: BASE, end: BASE + PAGE }]);
    expect(attached).toHaveLength(1);
    expect(at).toBeGreaterThan(BASE + 5 * PAGE);
    expect(moved).toEqual([
      [1, 2, BASE + PAGE],
      [4, 1, BASE + 4 * PAGE],
    ]);
  });

  it('keeps parts apart that differ in nothing', () => {
    const { protected: protections } = callsFor([part(0, 1), part(1, 1), part(2, 3)]);
    expect(protections.map(([, protection]) => protection)).toEqual([
      PROT.PROT_READ,
      PROT.PROT_NONE,
      PROT.PROT_READ,
      3,
      3,
      3,
    ]);
  });

  it('makes one attachment for each that there was', () => {
    const moved = { ...part(0, 5), state: { ...part(0, 5).state, start: BASE + 16 * PAGE, end: BASE + 21 * PAGE } };
    const constant = {
      ...part(0, 5, { readOnly: true }),
      state: { ...part(0, 5).state, start: BASE + 32 * PAGE, end: BASE + 37 * PAGE },
    };
    expect(callsFor([part(0, 5), moved, constant]).attached.map(([, address, flags]) => [address, flags])).toEqual([
      [BASE, 0],
      [BASE + 16 * PAGE, 0],
      [BASE + 32 * PAGE, SHM.SHM_RDONLY],
    ]);
  });
});
