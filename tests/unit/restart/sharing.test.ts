/** Who is born with which pages, and what is done with the pages of everybody before and after. */
import { describe, expect, it } from 'vitest';
import type { Step } from '../../../src/image/hierarchy.ts';
import type { LoadChunk } from '../../../src/pages/load-job.ts';
import { endOf, type Stretch } from '../../../src/pages/page-pieces.ts';
import type { StoredPiece } from '../../../src/pages/stored-pages.ts';
import { ownersInOrder, ownersOf } from '../../../src/restart/memory-owners.ts';
import type { ProcessPlan } from '../../../src/restart/process-plan.ts';
import { type MemorySharing, type PageChange, planSharing } from '../../../src/restart/sharing.ts';

const PAGE = 4096;
const BASE = 0x10_0000;
const at = (page: number): number => BASE + page * PAGE;

/** Pages 0 to 9 of anonymous memory. */
const mapping = (others: object = {}, made: object = {}) => ({
  state: { start: BASE, end: at(10), kind: 'anonymous', flags: [], offset: 0, hasPages: true, ...others },
  made: { flags: 0x22, file: 0, name: '', ...made },
});

const plan = (pid: number, mappings: readonly object[] = [mapping()], others: object = {}): ProcessPlan =>
  ({ pid, memory: pid, is32Bit: false, layoutBits: 0, mappings, ...others }) as unknown as ProcessPlan;

const make = (pid: number, maker: number, asSibling = false): Step => ({ what: 'make', pid, maker, asSibling });

/** A page is a letter, its content; a dot is no page. The same letter at the same place is the same page of the image. */
function piecesOf(letters: string): StoredPiece[] {
  return [...letters].flatMap((letter, page) => {
    if (letter === '.') return [];
    const chunk = { dataAddress: letter.charCodeAt(0) * 2 ** 20 } as unknown as LoadChunk;
    return [{ start: at(page), pages: 1, offset: page * PAGE, chunk }];
  });
}

/** What memory with these pages becomes. */
function changed(letters: string, { load, drop }: PageChange): string {
  const pages = [...letters.padEnd(20, '.')];
  const places = ({ start, pages: count }: Stretch): number[] =>
    Array.from({ length: count }, (_, index) => (start - BASE) / PAGE + index);
  for (const stretch of drop) for (const page of places(stretch)) pages[page] = '.';
  for (const piece of load) {
    for (const page of places(piece)) pages[page] = String.fromCharCode(piece.chunk.dataAddress / 2 ** 20);
  }
  return pages.join('').replace(/\.+$/, '');
}

const loadedIn = ({ load }: PageChange): number => load.reduce((sum, { pages }) => sum + pages, 0);

interface Outcome {
  readonly sharing: Map<number, MemorySharing>;
  /** By pid: the pages that it has in the end, and how many had to be put into it. */
  readonly memories: Record<number, [string, number]>;
}

/** Carries the plan out as the rebuilding does. */
function carryOut(
  processes: readonly ProcessPlan[],
  steps: readonly Step[],
  contents: Record<number, string>,
): Outcome {
  const sharing = planSharing(processes, steps, (memory) => piecesOf(contents[memory] ?? ''));
  const atBirths = new Map<number, string>();
  const memories: Outcome['memories'] = {};
  for (const { pid } of processes) {
    const { born, before, rest } = sharing.get(pid) as MemorySharing;
    const isKept = (page: number): boolean =>
      born?.kept.some(({ start, bornEnd, end }) => start <= at(page) && at(page) < Math.min(bornEnd, end)) ?? false;
    let memory = [...(atBirths.get(born?.parent ?? 0) ?? '')]
      .map((page, index) => (isKept(index) ? page : '.'))
      .join('');
    if (before !== undefined) memory = changed(memory, before.pages);
    atBirths.set(pid, memory);
    const loaded = loadedIn(rest) + (before === undefined ? 0 : loadedIn(before.pages));
    memories[pid] = [changed(memory, rest), loaded];
  }
  return { sharing, memories };
}

const family = [plan(1), plan(2), plan(3), plan(4)];
const steps = [make(2, 1), make(3, 1), make(4, 2)];

describe('pages that are the same', () => {
  it('are put into the parent only, and children get what they have not, and lose what they have not', () => {
    const { memories, sharing } = carryOut(family, steps, { 1: 'abcd.f', 2: 'abXd.f', 3: '.bcdef', 4: 'abXY.f' });
    expect(memories).toEqual({ 1: ['abcd.f', 5], 2: ['abXd.f', 1], 3: ['.bcdef', 1], 4: ['abXY.f', 1] });
    expect(sharing.get(4)?.born?.parent).toBe(2);
    expect(sharing.get(1)?.before?.mappings).toEqual(family[0]?.mappings);
    expect(sharing.get(3)?.rest.drop).toEqual([{ start: BASE, pages: 1 }]);
  });

  it('are shared by children though the parent has others by now, or none', () => {
    const { memories } = carryOut(family, steps, { 1: 'ab.d', 2: 'ABCd', 3: 'ABCd', 4: 'ABCd' });
    expect(memories).toEqual({ 1: ['ab.d', 6], 2: ['ABCd', 0], 3: ['ABCd', 0], 4: ['ABCd', 0] });
  });

  it('are shared with a grandparent though the parent has others by now', () => {
    const { memories } = carryOut(family, steps, { 1: 'abc', 2: 'aXY', 3: 'abc', 4: 'abc' });
    expect(memories).toEqual({ 1: ['abc', 3], 2: ['aXY', 2], 3: ['abc', 0], 4: ['abc', 0] });
  });

  it('do not make a child lose what it shares with its parent for what others share', () => {
    const { memories } = carryOut([plan(1), plan(2), plan(3)], [make(2, 1), make(3, 1)], { 1: 'ab', 2: 'XY', 3: 'aY' });
    expect(memories).toEqual({ 1: ['ab', 3], 2: ['XY', 1], 3: ['aY', 0] });
  });
});

describe('processes that share their memory', () => {
  const guest = (pid: number, memory: number): ProcessPlan => plan(pid, undefined, { memory });

  it('are one, whose pages are put there once, and children of each are born with them', () => {
    const all = [plan(1), guest(2, 1), plan(3), plan(4)];
    const sharing = planSharing(all, [make(2, 1), make(3, 2), make(4, 1)], () => piecesOf('abc'));
    expect([...sharing.keys()]).toEqual([1, 3, 4]);
    expect(sharing.get(3)?.born?.parent).toBe(1);
    expect(sharing.get(3)?.rest.load).toEqual([]);
  });

  it('begin with the one that is made first', () => {
    const all = [plan(1), plan(2), guest(3, 2), plan(4)];
    const owners = ownersOf(all, [make(3, 1), make(2, 3, true), make(4, 2)]);
    expect([...owners]).toEqual([
      [1, 1],
      [2, 3],
      [4, 4],
    ]);
    expect(ownersInOrder(all, owners).map(({ pid }) => pid)).toEqual([1, 3, 4]);
  });
});

describe('a child is born without memory', () => {
  const alone = { 1: ['abc', 3], 2: ['abc', 3] };
  it.each<[string, ProcessPlan, ProcessPlan, Step]>([
    ['if a sibling makes it', plan(1), plan(2), make(2, 1, true)],
    ['if a helper makes it', plan(1), plan(2), make(2, 99)],
    ['of another width', plan(1), plan(2, [mapping()], { is32Bit: true }), make(2, 1)],
    ['of another layout', plan(1), plan(2, [mapping()], { layoutBits: 0x200000 }), make(2, 1)],
    ['if its mapping is of a file', plan(1), plan(2, [mapping({ kind: 'private-file' }, { file: 5 })]), make(2, 1)],
    [
      'if its mapping is shared',
      plan(1, [mapping({ kind: 'shared-file' })]),
      plan(2, [mapping({ kind: 'shared-file' })]),
      make(2, 1),
    ],
    ['if its mapping is made otherwise', plan(1), plan(2, [mapping({}, { flags: 0x4022 })]), make(2, 1)],
    ['if its mapping begins elsewhere', plan(1), plan(2, [mapping({ start: at(-1) })]), make(2, 1)],
    ['if its mapping has no pages', plan(1), plan(2, [mapping({ hasPages: false })]), make(2, 1)],
    [
      'if memory that grows down ends elsewhere',
      plan(1, [mapping({ flags: ['gd'] })]),
      plan(2, [mapping({ flags: ['gd'], end: at(9) })]),
      make(2, 1),
    ],
  ])('%s', (_, parent, child, step) => {
    const { sharing, memories } = carryOut([parent, child], [step], { 1: 'abc', 2: 'abc' });
    expect(sharing.get(2)?.born).toBeUndefined();
    expect(sharing.get(1)?.before).toBeUndefined();
    expect(memories).toEqual(alone);
  });

  it('if it has no page that its parent has', () => {
    const { sharing } = carryOut([plan(1), plan(2)], [make(2, 1)], { 1: 'abc', 2: 'xyz' });
    expect(sharing.get(2)?.born).toBeUndefined();
  });
});

it('a mapping that the child has made longer or shorter is kept as far as both have it', () => {
  const longer = plan(2, [mapping({ end: at(12) })]);
  const shorter = plan(3, [mapping({ end: at(4) })]);
  const { sharing, memories } = carryOut([plan(1), longer, shorter], [make(2, 1), make(3, 1)], {
    1: 'abcdefghij',
    2: 'abcdefghijkl',
    3: 'abcd',
  });
  expect(memories).toEqual({ 1: ['abcdefghij', 10], 2: ['abcdefghijkl', 2], 3: ['abcd', 0] });
  expect(sharing.get(2)?.born?.kept).toEqual([{ start: BASE, bornEnd: at(10), end: at(12) }]);
  // Nothing is dropped where it has no memory any more.
  expect(sharing.get(3)?.rest.drop.every((stretch) => endOf(stretch) <= at(4))).toBe(true);
});
