/** Who makes processes that share their memory. */
import { describe, expect, it } from 'vitest';
import type { Step } from '../../../src/image/hierarchy.ts';
import { planMemoryBirths } from '../../../src/image/memory-births.ts';
import { errorOf } from '../image/streams.ts';

type Sharer = Parameters<typeof planMemoryBirths>[0][number];

/** The pid of its parent, and what it has. */
const has = (pid: number, parent: number, memory: number, others: Partial<Sharer> = {}): Sharer => ({
  ...{ pid, memory, exitSignal: 17, ...(parent === 0 ? {} : { parent }) },
  ...others,
});

const make = (pid: number, maker: number, asSibling = false): Step => ({ what: 'make', pid, maker, asSibling });

function planned(tasks: readonly Sharer[], steps: readonly Step[]) {
  const { hierarchy, births } = planMemoryBirths(tasks, { steps, helpers: [] });
  return { steps: hierarchy.steps, births: [...births].map(([pid, { handlers }]) => [pid, handlers]) };
}

const family = [make(2, 1), make(3, 1), make(4, 2)];

describe('processes', () => {
  it('with memories of their own are made as ever', () => {
    const tasks = [has(1, 0, 11), has(2, 1, 12), has(3, 1, 13), has(4, 2, 14)];
    expect(planned(tasks, family)).toEqual({ steps: family, births: [] });
  });

  it('get memory from their parents, with or without handlers', () => {
    const tasks = [
      has(1, 0, 11, { handlers: 21 }),
      has(2, 1, 11, { handlers: 21 }),
      has(3, 1, 11, { handlers: 22 }),
      has(4, 2, 11),
    ];
    expect(planned(tasks, family)).toEqual({
      steps: family,
      births: [
        [2, true],
        [3, false],
        [4, false],
      ],
    });
  });

  it('are made by a sibling where the parent has another memory, or other handlers', () => {
    const tasks = [
      has(1, 0, 11, { handlers: 21 }),
      has(2, 1, 12),
      has(3, 1, 12),
      has(5, 1, 11, { handlers: 22 }),
      has(6, 1, 11, { handlers: 22 }),
      has(7, 1, 11, { handlers: 21 }),
    ];
    const steps = [make(2, 1), make(3, 1), make(5, 1), make(6, 1), make(7, 1)];
    expect(planned(tasks, steps)).toEqual({
      steps: [make(2, 1), make(3, 2, true), make(5, 1), make(6, 5, true), make(7, 1)],
      births: [
        [3, false],
        [5, false],
        [6, true],
        [7, true],
      ],
    });
  });

  const session = (pid: number): Step => ({ what: 'begin-session', pid });
  const orphan: Step = { what: 'make-orphan', pid: 3, maker: 2, parent: 1 };
  it.each<[string, readonly Sharer[], readonly Step[]]>([
    ['a grandparent', [has(1, 0, 11), has(2, 1, 12), has(4, 2, 11)], [make(2, 1), make(4, 2)]],
    [
      'a sibling in another session',
      [has(1, 0, 11), has(2, 1, 12), has(3, 1, 12)],
      [make(2, 1), session(2), make(3, 1)],
    ],
    [
      'a sibling with another exit signal',
      [has(1, 0, 11), has(2, 1, 12, { exitSignal: 0 }), has(3, 1, 12)],
      [make(2, 1), make(3, 1)],
    ],
    ['an ancestor of an orphan', [has(1, 0, 11), has(2, 1, 12), has(3, 1, 11)], [make(2, 1), orphan]],
    ['whom a helper does not have', [has(1, 0, 11), has(2, 1, 11)], [make(2, 9)]],
  ])('cannot get it from %s', (_, tasks, steps) => {
    expect(errorOf(() => planned(tasks, steps))).toMatchObject({ code: 'odd-sharing' });
  });
});
