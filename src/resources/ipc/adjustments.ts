/** What a process has the kernel undo to System V semaphores at its end: semop(2), SEM_UNDO. Threads share it, as a rule; so may processes (CLONE_SYSVSEM). */
import { tryCountSharers, tryReadHidden, tryReadUndo, type UndoEntry } from '../../kernel/task-objects.ts';
import { readSemaphoreSets } from '../../procfs/sysvipc.ts';
import type { ProcessView } from '../resource.ts';

/** An operation changes a semaphore by no more, and the kernel notes the opposite of it. */
export const MAX_ADJUSTMENT = 32_767;

export interface Adjustments {
  readonly entries: readonly UndoEntry[];
  /** There may be some, which the kernel does not show us. */
  readonly unseen?: true;
  /** Why they could not be brought back: a sentence. */
  readonly odd?: string;
}

/** Of a process that stands still; of another one it is a guess. */
export function adjustmentsOf({ speaker, tids }: Pick<ProcessView, 'speaker' | 'tids'>): Adjustments {
  const sizes = new Map(readSemaphoreSets().map(({ id, count }) => [id, count]));
  // A set that has been removed has nothing to be undone.
  if (sizes.size === 0) return { entries: [] };
  const tasks = tryReadHidden(speaker);
  if (tasks === undefined) return { entries: [], unseen: true };
  const lists = [...new Set(tasks.map(({ undoList }) => undoList))].filter((list) => list !== 0n);
  const read = lists.map((list) => ({ list, entries: tryReadUndo(list, (id) => sizes.get(id)) }));
  if (read.some(({ entries }) => entries === undefined)) return { entries: [], unseen: true };
  const [first, second] = read.filter(({ entries = [] }) => entries.length > 0);
  if (first === undefined) return { entries: [] };
  const { list, entries = [] } = first;
  const sharing = tasks.filter(({ undoList }) => undoList === list).length;
  const sharers = tryCountSharers(list);
  if (sharers === undefined) return { entries: [], unseen: true };
  if (second !== undefined || sharing < tids.length || sharers > sharing) {
    return { entries, odd: `It has adjustments of System V semaphores (SEM_UNDO) that ${ODD_SHARING}.` };
  }
  if (entries.some(({ adjustments }) => adjustments.some(({ value }) => Math.abs(value) > MAX_ADJUSTMENT))) {
    return { entries, odd: 'It has an adjustment of a System V semaphore (SEM_UNDO) that no single operation makes.' };
  }
  return { entries };
}

const ODD_SHARING = 'only some of its threads have, or another process too, which cannot be saved yet';
