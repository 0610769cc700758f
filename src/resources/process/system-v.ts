/** System V semaphore sets and message queues that the process uses: sysvipc(7). Segments are known by their mappings: ipc/segment.ts. */
import * as v from 'valibot';
import { boundedArray } from '../../image/schema.ts';
import { adjustmentsOf } from '../ipc/adjustments.ts';
import { keptProblems } from '../ipc/ipc-object.ts';
import {
  capacityProblems,
  collectQueues,
  messageQueues,
  queueSchema,
  remarkOnQueue,
  restoreQueue,
} from '../ipc/message-queues.ts';
import {
  collectSemaphores,
  remarkOnSemaphores,
  restoreSemaphores,
  semaphoreSchema,
  semaphoreSets,
} from '../ipc/semaphores.ts';
import type { ProcessAspect } from '../resource.ts';

/** IPCMNI of the kernel. */
const MAX_OBJECTS = 32_768;

const schema = v.strictObject({
  semaphores: boundedArray(semaphoreSchema, MAX_OBJECTS),
  queues: boundedArray(queueSchema, MAX_OBJECTS),
});
type SystemVState = v.InferOutput<typeof schema>;

export const systemV: ProcessAspect<SystemVState> = {
  name: 'systemV',
  // Images from before do not have them.
  schema: v.optional(schema, { semaphores: [], queues: [] }),
  // Setting a semaphore forgets what any process has noted to be undone: before that is noted in the first one.
  stage: 'memory',
  collect: (view) => {
    const state = { semaphores: collectSemaphores(view.pid, adjustmentsOf(view)), queues: collectQueues(view.pid) };
    return () => state;
  },
  plan: ({ semaphores, queues }, host) => [
    ...semaphores.flatMap((one) => keptProblems(semaphoreSets, one, host, ({ count }) => count === one.values.length)),
    ...queues.flatMap((one) => [...keptProblems(messageQueues, one, host, () => true), ...capacityProblems(one, host)]),
  ],
  restore: ({ semaphores, queues }, process) => {
    for (const one of semaphores) restoreSemaphores(one, process);
    for (const one of queues) restoreQueue(one, process);
  },
  remark: ({ semaphores, queues }, pid, host) => {
    const remarks = [
      ...semaphores.map((one) => remarkOnSemaphores(one, pid, host)),
      ...queues.map((one) => remarkOnQueue(one, host)),
    ].filter((one) => one !== undefined);
    return remarks.length === 0 ? undefined : remarks.join('; ');
  },
};
