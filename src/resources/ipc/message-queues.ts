/**
 * System V message queues: msgget(2). Those that the process has sent to, or received from, last are its own; what waits in them is read without
 * taking it (MSG_COPY). A queue outlives its processes: one that is still there at the restart is left as it is, and if it holds something else by
 * then, that is told. One that is not there is made again with its id (msg_next_id, proc_sys_kernel(5)), and the process sends what had waited.
 *
 * Lost: times, and which process has sent to it and received from it last: the one that brings it back.
 */
import * as v from 'valibot';
import { boundedArray, byteString, count, u64 } from '../../image/schema.ts';
import { CAP } from '../../kernel/abi/capability.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import { IPC, MSG } from '../../kernel/abi/system-v.ts';
import {
  copyMessages,
  type Message,
  queueCapacity,
  removeQueue,
  trySetQueueAccess,
} from '../../kernel/calls/system-v.ts';
import { check } from '../../kernel/errors.ts';
import { type MessageQueue, queueCapacityLimit, readMessageQueues } from '../../procfs/sysvipc.ts';
import type { Pid } from '../../support/brand.ts';
import { type Problem, QuicksaveError } from '../../support/errors.ts';
import type { HostView, RebuiltProcess } from '../resource.ts';
import { hasSameAccess, ipcFields, type Kept, makeAgain } from './ipc-object.ts';

const MAX_MESSAGES = 1 << 20;
const MAX_CAPACITY = 1 << 26;
/** Sent again in one call of a batch; msgmax of proc_sys_kernel(5) is 8 KiB as a rule. */
const MAX_MESSAGE_BYTES = 256 * 1024;

export const queueSchema = v.strictObject({
  ...ipcFields,
  /** msg_qbytes. */
  capacity: v.pipe(count, v.maxValue(MAX_CAPACITY, `must be at most ${MAX_CAPACITY}`)),
  messages: boundedArray(
    v.strictObject({
      type: v.pipe(u64, v.minValue(1n), v.maxValue(2n ** 63n - 1n)),
      bytes: byteString(MAX_MESSAGE_BYTES),
    }),
    MAX_MESSAGES,
  ),
});
export type QueueState = v.InferOutput<typeof queueSchema>;

export const messageQueues: Kept<MessageQueue> = {
  table: 'msg',
  what: 'System V message queue',
  option: '-q',
  list: readMessageQueues,
  remove: removeQueue,
};

export const collectQueues = (pid: Pid): QueueState[] =>
  readMessageQueues()
    .filter(({ senderPid, receiverPid }) => senderPid === pid || receiverPid === pid)
    .map(({ id, key, mode, owner, creator }) => {
      const capacity = queueCapacity(id);
      const messages = copyMessages(id, capacity);
      const longest = Math.max(0, ...messages.map(({ bytes }) => bytes.length));
      if (longest > MAX_MESSAGE_BYTES) throw tooLong(id, longest);
      return { id, key, mode, owner, creator, capacity, messages };
    });

const tooLong = (id: number, sizeBytes: number): QuicksaveError =>
  new QuicksaveError(
    'long-message',
    `A message of ${sizeBytes} bytes waits in the System V message queue ${id}; at most ${MAX_MESSAGE_BYTES} can be sent again.`,
    { remedy: 'Save the program when that message has been received.' },
  );

/** What queues here may hold, without CAP_SYS_RESOURCE. */
export function capacityProblems({ id, capacity }: QueueState, { status }: HostView): Problem[] {
  const limit = queueCapacityLimit();
  const mayExceed = ((status.capEffective >> BigInt(CAP.CAP_SYS_RESOURCE)) & 1n) === 1n;
  if (capacity <= limit || mayExceed) return [];
  return [
    {
      code: 'queue-capacity',
      path: [`System V message queue ${id}`],
      message: `It may hold ${capacity} bytes, and the limit is ${limit} here.`,
      remedy: `Raise it: sysctl kernel.msgmnb=${capacity}`,
    },
  ];
}

export function restoreQueue(state: QueueState, process: RebuiltProcess): void {
  const { id, key, messages } = state;
  if (readMessageQueues().some((one) => one.id === id)) return;
  makeAgain(messageQueues, state, process, ({ batch }) =>
    batch.tryCall('make a System V message queue', SYS.msgget, key, IPC.IPC_CREAT | IPC.IPC_EXCL | 0o600),
  );
  // Sent and received, so that it is known to be the process's by the next save, with nothing in it as well.
  send(id, { type: 1n, bytes: Buffer.alloc(1) }, process);
  const { batch } = process;
  const answer = batch.data(16);
  batch.call(`receive from queue ${id}`, SYS.msgrcv, id, answer.address, 8, 0, MSG.IPC_NOWAIT);
  batch.run();
  // More than a new one takes it must take before it is filled.
  const set = trySetQueueAccess(id, { ...state, capacity: Math.max(state.capacity, queueCapacity(id)) });
  check('msgctl', set, { doing: `set owner, mode and capacity of the System V message queue ${id}` });
  for (const message of messages) send(id, message, process);
  const last = trySetQueueAccess(id, state);
  check('msgctl', last, { doing: `set the capacity of the System V message queue ${id}` });
}

function send(id: number, { type, bytes }: Message | QueueState['messages'][number], { batch }: RebuiltProcess): void {
  const message = Buffer.alloc(8 + bytes.length);
  message.writeBigInt64LE(type, 0);
  message.set(bytes, 8);
  const { address } = batch.bytes(message);
  batch.call(`send to queue ${id}`, SYS.msgsnd, id, address, bytes.length, MSG.IPC_NOWAIT);
  batch.run();
}

/** What others have done with a queue that is still there. */
export function remarkOnQueue(state: QueueState, host: HostView): string | undefined {
  const { id, capacity, messages } = state;
  const there = readMessageQueues().find((one) => one.id === id);
  if (there === undefined || host.programRuns) return undefined;
  const now = copyMessages(id, Math.max(capacity, queueCapacity(id)));
  const isSame =
    now.length === messages.length &&
    now.every(({ type, bytes }, index) => type === messages[index]?.type && bytes.equals(messages[index].bytes));
  const what = [
    ...(isSame ? [] : ['holds other messages than at the save, and keeps them']),
    ...(hasSameAccess(state, there) && queueCapacity(id) === capacity ? [] : ['has another owner, mode or capacity']),
  ];
  if (what.length === 0) return undefined;
  return `the System V message queue ${id} ${what.join(', and ')} (ipcrm -q ${id} before the restart has it made anew)`;
}
