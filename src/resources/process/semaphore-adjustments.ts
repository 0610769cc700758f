/**
 * What the kernel does to System V semaphores when the process ends: SEM_UNDO of semop(2). No call shows it, so it is read where the kernel keeps it (CAP_BPF,
 * CAP_PERFMON), if there are sets at all. Brought back by pairs of operations that leave the value as it is, one of them with SEM_UNDO. Setting the value of a
 * semaphore forgets all adjustments of it: system-v.ts has done that in all processes before.
 *
 * Lost: which process has used such a semaphore last, if that was another one: the one that has the adjustment.
 */
import * as v from 'valibot';
import { boundedArray, integerBetween } from '../../image/schema.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import { SEM } from '../../kernel/abi/system-v.ts';
import type { UndoEntry } from '../../kernel/task-objects.ts';
import type { CallBatch } from '../../tracee/call-batch.ts';
import { adjustmentsOf, MAX_ADJUSTMENT } from '../ipc/adjustments.ts';
import { MAX_SEMAPHORES } from '../ipc/semaphores.ts';
import type { ProcessAspect } from '../resource.ts';

/** IPCMNI of the kernel. */
const MAX_SETS = 32_768;

const adjustment = v.strictObject({
  index: integerBetween(0, MAX_SEMAPHORES - 1),
  value: integerBetween(-MAX_ADJUSTMENT, MAX_ADJUSTMENT),
});
const schema = v.strictObject({
  sets: boundedArray(
    v.strictObject({
      id: integerBetween(0, 0x7fff_ffff),
      adjustments: v.pipe(boundedArray(adjustment, MAX_SEMAPHORES), v.minLength(1, 'must not be empty')),
    }),
    MAX_SETS,
  ),
  /** It has used sets, and what it has to undo could not be looked at. */
  unseen: v.optional(v.boolean()),
});
type SemaphoreAdjustments = v.InferOutput<typeof schema>;

export const semaphoreAdjustments: ProcessAspect<SemaphoreAdjustments> = {
  name: 'semaphoreAdjustments',
  // Images from before do not have them.
  schema: v.optional(schema, { sets: [] }),
  stage: 'late',
  obstacles: (view) => {
    const { odd } = adjustmentsOf(view);
    return odd === undefined ? [] : [{ code: 'odd-adjustments', path: [`pid ${view.pid}`], message: odd }];
  },
  collect: (view) => {
    const { entries: sets, unseen } = adjustmentsOf(view);
    const state = { sets: [...sets], ...(unseen === true ? { unseen } : {}) };
    return () => state;
  },
  restore: ({ sets }, { batch }) => {
    for (const one of sets) adjust(one, batch);
  },
  loss: ({ unseen }, pid) =>
    unseen === true
      ? `what process ${pid} would have undone to System V semaphores at its end (SEM_UNDO) is not in the image: only to be seen with CAP_BPF and CAP_PERFMON`
      : undefined,
};

/** SEMOPM of semop(2). */
const MOST_OPERATIONS = 500;
const OPERATION_SIZE = 6;

function adjust({ id, adjustments }: UndoEntry, batch: CallBatch): void {
  const pairs = MOST_OPERATIONS / 2;
  for (let start = 0; start < adjustments.length; start += pairs) {
    const operations = adjustments.slice(start, start + pairs).flatMap(operationsFor);
    const bytes = Buffer.concat(operations.map(encodeOperation));
    if (!batch.hasRoomFor(1, bytes.length)) batch.run();
    const { address } = batch.bytes(bytes);
    batch.call(`have semaphores of set ${id} adjusted`, SYS.semop, id, address, bytes.length / OPERATION_SIZE);
  }
}

interface Operation {
  readonly index: number;
  readonly change: number;
  readonly flags: number;
}

/** The kernel notes the opposite of a change with SEM_UNDO. The rise comes first: a value below zero would be waited for. */
function operationsFor({ index, value }: UndoEntry['adjustments'][number]): Operation[] {
  const noted = { index, change: -value, flags: SEM.SEM_UNDO | SEM.IPC_NOWAIT };
  const balance = { index, change: value, flags: SEM.IPC_NOWAIT };
  return value > 0 ? [balance, noted] : [noted, balance];
}

function encodeOperation({ index, change, flags }: Operation): Buffer {
  const bytes = Buffer.alloc(OPERATION_SIZE);
  bytes.writeUInt16LE(index, 0);
  bytes.writeInt16LE(change, 2);
  bytes.writeInt16LE(flags, 4);
  return bytes;
}
