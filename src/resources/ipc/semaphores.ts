/**
 * System V semaphore sets: semget(2). The kernel does not tell who uses a set, but who has used each semaphore last: the sets of which that was the
 * process are its own. A set outlives its processes. One that is still there at the restart is left alone but for those semaphores that nobody
 * else has used since; one that is not is made again with its id (sem_next_id, proc_sys_kernel(5)).
 *
 * So are those that it has adjustments of (SEM_UNDO): at its end the kernel undoes them, and has it be who has used them last.
 *
 * Lost: times, and who has used a semaphore last if that is no process of the tree.
 */
import * as v from 'valibot';
import { boundedArray, integerBetween } from '../../image/schema.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import { IPC, SEM } from '../../kernel/abi/system-v.ts';
import {
  removeSemaphores,
  semaphoreValues,
  setSemaphoreAccess,
  setSemaphoreValues,
  tryLastUser,
} from '../../kernel/calls/system-v.ts';
import { readSemaphoreSets, type SemaphoreSet } from '../../procfs/sysvipc.ts';
import type { Pid } from '../../support/brand.ts';
import type { HostView, RebuiltProcess } from '../resource.ts';
import type { Adjustments } from './adjustments.ts';
import { hasSameAccess, ipcFields, type Kept, makeAgain } from './ipc-object.ts';

/** SEMMSL and SEMVMX of semget(2). */
export const MAX_SEMAPHORES = 32_000;
const MAX_VALUE = 32_767;

export const semaphoreSchema = v.pipe(
  v.strictObject({
    ...ipcFields,
    values: v.pipe(boundedArray(integerBetween(0, MAX_VALUE), MAX_SEMAPHORES), v.minLength(1, 'must not be empty')),
    /** Indexes of those that the process has used last. */
    own: boundedArray(integerBetween(0, MAX_SEMAPHORES - 1), MAX_SEMAPHORES),
  }),
  v.check(({ values, own }) => own.every((index) => index < values.length), 'must name semaphores that there are'),
);
export type SemaphoreState = v.InferOutput<typeof semaphoreSchema>;

export const semaphoreSets: Kept<SemaphoreSet> = {
  table: 'sem',
  what: 'System V semaphore set',
  option: '-s',
  list: readSemaphoreSets,
  remove: removeSemaphores,
};

/** Of the sets that are there, those that the process has used, or has adjustments of. */
export function collectSemaphores(pid: Pid, { entries }: Adjustments): SemaphoreState[] {
  return readSemaphoreSets().flatMap(({ count, ...set }) => {
    const adjusted = entries.filter(({ id }) => id === set.id).flatMap(({ adjustments }) => adjustments);
    const own = Array.from({ length: count }, (_, index) => index).filter(
      (index) => tryLastUser(set.id, index) === pid || adjusted.some((one) => one.index === index),
    );
    return own.length === 0 ? [] : [{ ...set, values: semaphoreValues(set.id, count), own }];
  });
}

export function restoreSemaphores(state: SemaphoreState, process: RebuiltProcess): void {
  const { id, key, values, own } = state;
  const isThere = readSemaphoreSets().some((one) => one.id === id);
  if (!isThere) {
    makeAgain(semaphoreSets, state, process, ({ batch }) =>
      batch.tryCall(
        'make a System V semaphore set',
        SYS.semget,
        key,
        values.length,
        IPC.IPC_CREAT | IPC.IPC_EXCL | 0o600,
      ),
    );
    setSemaphoreValues(id, values);
    setSemaphoreAccess(id, state);
  }
  const { batch } = process;
  for (const index of isThere ? own.filter((one) => tryLastUser(id, one) === process.pid) : own) {
    if (!batch.hasRoomFor(1, 0)) batch.run();
    batch.call(`set semaphore ${index} of set ${id}`, SYS.semctl, id, index, SEM.SETVAL, values[index] ?? 0);
  }
  batch.run();
}

/** What others have done with a set that is still there. Each process speaks of the semaphores that it had used last. */
export function remarkOnSemaphores(state: SemaphoreState, pid: Pid, host: HostView): string | undefined {
  const { id, values, own } = state;
  const there = readSemaphoreSets().find((one) => one.id === id);
  if (there === undefined || host.programRuns || there.count !== values.length) return undefined;
  const now = semaphoreValues(id, there.count);
  const changed = own.filter((index) => now[index] !== values[index] && tryLastUser(id, index) !== pid).length;
  const what = [
    ...(changed === 0 ? [] : [`${changed} are not as they were: others than process ${pid} have used them`]),
    ...(hasSameAccess(state, there) ? [] : ['owner or mode are others']),
  ];
  if (what.length === 0) return undefined;
  return `of the System V semaphore set ${id} ${what.join(', and ')} (ipcrm -s ${id} before the restart has it made anew)`;
}
