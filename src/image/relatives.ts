/** Whose pages a process of a tree may have too, since fork(2). */
import type { TaskRecord } from './tree.ts';

/** Of its ancestors, the nearest; with each further one, pages that are nowhere to be found are looked for once more. */
const ANCESTORS = 3;

type Kin = Pick<TaskRecord, 'pid' | 'parent' | 'memory'>;

/**
 * The memories that each memory may take pages from, in the order in which they are looked at: those of its ancestors, the nearest first, and
 * that of its eldest sibling, who has what the parent had before it wrote something else. `tasks`: each behind its parent.
 */
export function namedRelatives(tasks: readonly Kin[]): Map<number, readonly number[]> {
  const byPid = new Map(tasks.map((task) => [task.pid, task]));
  const eldest = new Map<number, Kin>();
  const found = new Map<number, readonly number[]>();
  for (const task of tasks) {
    const { parent, memory } = task;
    // It is that of a process before, which it shares.
    if (found.has(memory)) continue;
    const relatives = new Set<number>();
    for (let at = byPid.get(parent ?? 0); at !== undefined && relatives.size < ANCESTORS; ) {
      relatives.add(at.memory);
      at = byPid.get(at.parent ?? 0);
    }
    const sibling = parent === undefined ? undefined : eldest.get(parent);
    if (sibling !== undefined) relatives.add(sibling.memory);
    else if (parent !== undefined) eldest.set(parent, task);
    found.set(memory, [...relatives]);
  }
  return found;
}
