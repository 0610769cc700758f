/**
 * What our images say of a process and the streams of 2008 do not, aspect by aspect: what a program restarted from such a stream
 * has instead, and whether it can do without what it had. Both ways rely on this table, so that nothing falls between them.
 */
import { SS, signalName } from '../kernel/abi/signal.ts';

/**
 * `record`: a record of the stream has it. `command`: the restarted program has what the restart command has. `execve`: it
 * begins as after execve(2), with `state`.
 */
export type Unsaid =
  | { readonly from: 'record' | 'command' }
  | {
      readonly from: 'execve';
      readonly state: unknown;
      /** A program that had something else relies on it: it is refused. Otherwise it is told what is lost. */
      readonly needed: boolean;
      /** What it is, as the object of a sentence. */
      readonly what: (state: unknown) => string;
      readonly remedy?: string;
    };

const record: Unsaid = { from: 'record' };
const command: Unsaid = { from: 'command' };

const begins = (state: unknown, what: string | ((state: unknown) => string), remedy?: string): Unsaid => ({
  from: 'execve',
  state,
  needed: true,
  what: typeof what === 'string' ? () => what : what,
  ...(remedy === undefined ? {} : { remedy }),
});

const forgets = (state: unknown, what: string): Unsaid => ({ from: 'execve', state, needed: false, what: () => what });

const noTimer = { intervalSec: 0, intervalUsec: 0, leftSec: 0, leftUsec: 0 };
const WHEN_NOTHING_WAITS = 'Save it when no signal is waiting.';

function actionsText(state: unknown): string {
  const signals = Array.isArray(state) ? state.map((action) => (action as { signal?: unknown } | null)?.signal) : [];
  const names = signals.map((signal) => (typeof signal === 'number' ? signalName(signal) : '?'));
  return `what it does on signals: it has actions of its own for ${names.join(', ')}`;
}

export const unsaidOfProcess: Readonly<Record<string, Unsaid>> = {
  namespaces: forgets({}, 'its namespaces'),
  credentials: command,
  session: command,
  fileSystemContext: command,
  procFiles: command,
  memoryMapFields: record,
  mappingPolicies: forgets([], 'the memory policies of its mappings'),
  signalActions: begins(
    [],
    actionsText,
    'Start the program without ignored signals, and save it before it sets handlers.',
  ),
  settings: begins(
    { childSubreaper: 0, thpDisable: 0, tileData: 0, memoryMerge: 0, denyWriteExecute: 0, dumpable: 1 },
    'what it has set with prctl(2)',
  ),
  membarrier: begins({ registrations: 0 }, 'its registrations for membarrier(2)'),
  futureLocking: begins({ mode: 'none' }, 'the locking of memory to come (mlockall(2))'),
  intervalTimers: begins({ real: noTimer, virtual: noTimer, profiling: noTimer }, 'a running timer of setitimer(2)'),
  posixTimers: begins([], 'its timers of timer_create(2)'),
  sharedPendingSignals: begins([], 'signals that wait for it', WHEN_NOTHING_WAITS),
  systemV: begins({ semaphores: [], queues: [] }, 'the System V semaphores and message queues that it uses'),
  semaphoreAdjustments: begins({ sets: [] }, 'what is to be undone to System V semaphores at its end'),
  unseenState: begins({}, 'whether it is in a sandbox of Landlock'),
  surroundings: command,
  limits: command,
};

export const unsaidOfThread: Readonly<Record<string, Unsaid>> = {
  name: record,
  scheduling: command,
  signalStack: begins(
    { address: 0, flags: SS.SS_DISABLE, sizeBytes: 0 },
    'its alternate signal stack (sigaltstack(2))',
  ),
  settings: begins(
    {
      personality: 0,
      parentDeathSignal: 0,
      noNewPrivs: false,
      timeStampCounter: 1,
      memoryErrors: 2,
      speculation: [0, 0, 0],
      ioFlusher: false,
      cpuidFaults: false,
      coreScheduled: false,
    },
    'what the thread has set with prctl(2) or personality(2)',
  ),
  memoryPolicy: forgets({ mode: 0, nodes: new Uint8Array(0) }, 'its memory policy'),
  fileSystemContext: forgets(undefined, 'a working directory of its own'),
  ownPendingSignals: begins([], 'signals that wait for its thread', WHEN_NOTHING_WAITS),
  seccomp: begins({ filters: [] }, 'its seccomp filters'),
  threadPointers: forgets(
    {
      robustList: 0,
      robustListSize: 0,
      compatRobustList: 0,
      clearTid: 0,
      rseq: { address: 0, sizeBytes: 0, signature: 0 },
    },
    'what its C library has registered: the robust futex list, the address of the thread id, the restartable sequence',
  ),
};

/** The states that follow from nothing but execve(2). */
export const statesAfterExecve = (table: Readonly<Record<string, Unsaid>>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(table).flatMap(([name, unsaid]) => (unsaid.from === 'execve' ? [[name, unsaid.state]] : [])),
  );

/** Equal as states: numbers in whatever form, and a field that an older image does not have is as it is by default. */
export function isSameState(state: unknown, usual: unknown): boolean {
  if (isNumber(state) && isNumber(usual)) return BigInt(state) === BigInt(usual);
  if (state instanceof Uint8Array && usual instanceof Uint8Array) return Buffer.from(state).equals(usual);
  if (Array.isArray(state) && Array.isArray(usual)) {
    return state.length === usual.length && state.every((item, index) => isSameState(item, usual[index]));
  }
  if (!isPlain(state) || !isPlain(usual)) return state === usual;
  const names = Object.keys(state);
  return names.every((name) => Object.hasOwn(usual, name) && isSameState(state[name], usual[name]));
}

const isNumber = (value: unknown): value is number | bigint => typeof value === 'bigint' || Number.isInteger(value);

const isPlain = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
