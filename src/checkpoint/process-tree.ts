/** Which processes belong to a tree: all descendants of its root, as /proc/PID/task/TID/children shows them. */
import { unlessMissing } from '../procfs/proc-file.ts';
import { readStat } from '../procfs/stat.ts';
import { childrenOf } from '../procfs/tasks.ts';
import type { Pid } from '../support/brand.ts';

export interface TreeMembers {
  /** Living ones: the root first, every other behind its parent. */
  readonly living: readonly Pid[];
  /** Those that have ended and were not waited for. */
  readonly exited: readonly Pid[];
}

/**
 * While the tree runs the list may miss who is being born or orphaned. `isLeftOut`: quicksave itself, where it is a child of
 * the process that it saves.
 */
export function listTree(root: Pid, isLeftOut: (pid: Pid) => boolean): TreeMembers {
  const living: Pid[] = [root];
  const exited: Pid[] = [];
  for (const parent of living) {
    for (const child of unlessMissing(() => childrenOf(parent)) ?? []) {
      if (isLeftOut(child)) continue;
      const stat = unlessMissing(() => readStat(child));
      if (stat === undefined) continue;
      // A leader that has ended before its threads is in state Z too.
      const hasEnded = stat.state === 'X' || (stat.state === 'Z' && stat.threadCount <= 1);
      if (hasEnded) exited.push(child);
      else living.push(child);
    }
  }
  return { living, exited };
}
