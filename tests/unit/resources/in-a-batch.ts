/** Runs what a kind adds to a batch, in a task that is none. */
import type { RebuiltProcess, RebuiltThread } from '../../../src/resources/resource.ts';
import { asPid, asTid } from '../../../src/support/brand.ts';
import { CallBatch } from '../../../src/tracee/call-batch.ts';
import { type FakeKernel, FakeTask, type MadeCall } from '../tracee/fake-task.ts';

export const PID = asPid(4242);
export const TID = asTid(4243);

/** As large as the agent of a process that is being rebuilt has them. */
const MAX_CALLS = 4096;
const MAX_DATA_BYTES = 512 * 1024;

export interface Restored {
  readonly calls: readonly MadeCall[];
  /** What stands in the task's memory at an address that a call was given. */
  at(address: number | undefined): Buffer;
}

/** `restore` of a process aspect or a descriptor's `finish`. Descriptors of file objects are 100 and their number. */
export function restored(restore: (process: RebuiltProcess & RebuiltThread) => void, is32Bit = false): Restored {
  const task = new FakeTask(() => 0, MAX_CALLS, MAX_DATA_BYTES);
  const batch = new CallBatch(task);
  restore({
    pid: PID,
    tid: TID,
    is32Bit,
    batch,
    keepsParent: true,
    remoteFile: (objref) => 100 + objref,
    onFailure: () => {},
  });
  batch.run();
  return { calls: task.made, at: (address = 0) => task.data.subarray(address - task.dataAddress) };
}

/** What `collect` finds when the kernel answers so. */
export function collected<State>(
  collect: (source: { batch: CallBatch; is32Bit: boolean }) => () => State,
  kernel: FakeKernel,
  is32Bit = false,
): State {
  const batch = new CallBatch(new FakeTask(kernel));
  const finish = collect({ batch, is32Bit });
  batch.run();
  return finish();
}

/** `collect` of an aspect that looks at nothing but the answers to its calls. */
export const collectorOf = <Source, State>(aspect: { collect: (source: Source) => () => State }) =>
  aspect.collect as unknown as (source: { batch: CallBatch; is32Bit: boolean }) => () => State;
