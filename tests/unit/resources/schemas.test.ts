/** The schema of every kind: its states come through an image as they were, and what no save writes is refused. */

import { describe, expect, it } from 'vitest';
import { decodeCbor, encodeCbor } from '../../../src/image/cbor.ts';
import { parseState } from '../../../src/image/schema.ts';
import { FAN } from '../../../src/kernel/abi/fanotify.ts';
import { mappedFileSchema } from '../../../src/resources/mapped-file.ts';
import { descriptorKinds, mappingKinds, processAspects, threadAspects } from '../../../src/resources/registry.ts';
import type { StateSchema } from '../../../src/resources/resource.ts';
import { errorOf } from '../image/streams.ts';
import {
  descriptorStates,
  identity,
  limits,
  mappedFileState,
  mappingStates,
  processStates,
  type States,
  siginfo,
  threadStates,
} from './samples.ts';

interface Sample {
  readonly name: string;
  readonly schema: StateSchema<unknown>;
  readonly state: unknown;
}

const samplesOf = (
  group: string,
  kinds: readonly { name: string; schema: StateSchema<unknown> }[],
  states: States,
): Sample[] => kinds.map(({ name, schema }) => ({ name: `${group} ${name}`, schema, state: states[name] }));

const named = <Kind extends { kind: string }>(kinds: readonly Kind[]) =>
  kinds.map((kind) => ({ ...kind, name: kind.kind }));

const samples: Sample[] = [
  ...samplesOf('process', processAspects, processStates),
  ...samplesOf('thread', threadAspects, threadStates),
  ...samplesOf('descriptor', named(descriptorKinds), descriptorStates),
  ...samplesOf('mapping', named(mappingKinds), mappingStates),
  { name: 'mapped file', schema: mappedFileSchema, state: mappedFileState },
];

const cases = samples.map((sample): [string, Sample] => [sample.name, sample]);
const schemaOf = (name: string): StateSchema<unknown> => {
  const found = samples.find((sample) => sample.name === name);
  if (found === undefined) throw new Error(`there is no ${name}`);
  return found.schema;
};

const problemWith = (schema: StateSchema<unknown>, state: unknown): string => {
  const error = errorOf(() => parseState(schema, state, 'STATE record'));
  expect(error.code).toBe('bad-record');
  return error.message;
};

const isMap = (state: unknown): state is States =>
  typeof state === 'object' && state !== null && !Array.isArray(state) && !(state instanceof Uint8Array);

describe('the registry', () => {
  it('has no kind without a sample here, and no two of one name', () => {
    expect(processAspects.map(({ name }) => name).sort()).toEqual(Object.keys(processStates).sort());
    expect(threadAspects.map(({ name }) => name).sort()).toEqual(Object.keys(threadStates).sort());
    expect(descriptorKinds.map(({ kind }) => kind).sort()).toEqual(Object.keys(descriptorStates).sort());
    expect(mappingKinds.map(({ kind }) => kind).sort()).toEqual(Object.keys(mappingStates).sort());
  });
});

/** Aspects that came later, which images from before do not have, or that few threads have. */
const laterAspects = new Set([
  'process mappingPolicies',
  'process posixTimers',
  'process surroundings',
  'process semaphoreAdjustments',
  'process systemV',
  'process unseenState',
  'thread fileSystemContext',
  'thread seccomp',
]);

describe('the state of', () => {
  it.each(cases)('%s comes through an image as it was', (_, { schema, state }) => {
    expect(parseState(schema, decodeCbor(encodeCbor(state)), 'STATE record')).toEqual(state);
  });

  it.each(cases)('%s is not nothing, a number, a text or a list of them', (name, { schema }) => {
    if (!laterAspects.has(name)) problemWith(schema, undefined);
    for (const lie of [null, 7, 'text', [7], Buffer.from('bytes')]) problemWith(schema, lie);
  });

  const fields = samples.flatMap(({ name, schema, state }) =>
    isMap(state)
      ? Object.keys(state).map((field): [string, string, Sample] => [name, field, { name, schema, state }])
      : [],
  );
  it.each(fields)('%s holds nothing but what belongs there in %s', (_, field, { schema, state }) => {
    const lies = [{ lie: true }, [[]], null];
    for (const lie of lies) {
      expect(problemWith(schema, { ...(state as States), [field]: lie })).toMatch(new RegExp(`: ${field}[. ]`));
    }
  });

  /** Fields that came later: an image from before has the first value that a process begins with. */
  const later = new Map<string, unknown>([
    ['process settings: tileData', 0],
    ['process semaphoreAdjustments: unseen', undefined],
    ['process unseenState: landlock', undefined],
    ['descriptor unlinked-file: owner', undefined],
    ['descriptor regular-file: endsChecksum', undefined],
    ['descriptor directory: deleted', undefined],
    ['descriptor pty-master: content', undefined],
    ['descriptor pty-master: unseen', undefined],
    ['descriptor pipe: packets', []],
    ['descriptor pipe: cutOff', undefined],
    ['descriptor unix-socket: outside', undefined],
    ['descriptor unix-socket: filter', undefined],
    ['descriptor udp-socket: protocol', undefined],
    ['descriptor udp-socket: groups', undefined],
    ['descriptor udp-socket: queue', undefined],
    ['descriptor udp-socket: filter', undefined],
    ['descriptor tcp-socket: filter', undefined],
    ['descriptor netlink-socket: filter', undefined],
    ['descriptor packet-socket: filter', undefined],
    ['descriptor raw-socket: filter', undefined],
    ['descriptor raw-socket: groups', undefined],
    ['descriptor fifo: packets', []],
    ['thread settings: ioFlusher', false],
    ['process session: inTree', false],
    ['process session: isRoot', true],
    ['thread settings: cpuidFaults', false],
    ['thread settings: coreScheduled', false],
    ['thread threadPointers: compatRobustList', 0],
  ]);
  const isLater = (name: string, field: string): boolean => later.has(`${name}: ${field}`);

  it.each(fields.filter(([name, field]) => isLater(name, field)))('%s may be without its %s', (name, field, sample) => {
    const { [field]: _left, ...rest } = sample.state as States;
    expect(parseState(sample.schema, rest, 'STATE record')).toEqual({
      ...rest,
      [field]: later.get(`${name}: ${field}`),
    });
  });

  const required = fields.filter(([name, field]) => name !== 'process limits' && !isLater(name, field));
  it.each(required)('%s is not without its %s', (_, field, { schema, state }) => {
    const { [field]: _left, ...rest } = state as States;
    expect(problemWith(schema, rest)).toBe(`STATE record: ${field} is missing.`);
  });

  // A limit that is not there is left as the rebuilding has set it: NOFILE stays raised.
  it.each(Object.keys(limits))('process limits is not without its %s', (field) => {
    const { [field]: _left, ...rest } = limits;
    problemWith(schemaOf('process limits'), rest);
  });

  const maps = cases.filter(([, { state }]) => isMap(state));
  it.each(maps)('%s has no field that nobody knows', (_, { schema, state }) => {
    expect(problemWith(schema, { ...(state as States), colour: 'blue' })).toMatch(/colour/);
  });
});

describe('a state that no save writes is refused:', () => {
  const { credentials, memoryMapFields, intervalTimers, signalActions } = processStates;
  const { scheduling, signalStack, settings, threadPointers } = threadStates;
  const instructions = (count: number) => ({ program: Buffer.alloc(count * 8, 6), log: false });
  const regular = descriptorStates['regular-file'];
  const ring = descriptorStates.io_uring;
  const registered = (other: object): unknown => ({ ...ring, registrations: { ...ring.registrations, ...other } });
  const [aBuffer] = ring.registrations.buffers;
  const [action] = signalActions;
  const [aTimer] = processStates.posixTimers;

  const lies: [string, string, unknown][] = [
    ['process credentials', 'a uid of 33 bits', { ...credentials, uid: { ...credentials.uid, real: 2 ** 32 } }],
    ['process credentials', 'a negative gid', { ...credentials, gid: { ...credentials.gid, saved: -1 } }],
    ['process credentials', 'a group that is no number', { ...credentials, groups: ['wheel'] }],
    ['process credentials', 'more groups than there can be', { ...credentials, groups: Array(65_537).fill(1) }],
    ['process credentials', 'capabilities of 65 bits', { ...credentials, capEffective: 2n ** 64n }],
    ['process fileSystemContext', 'a umask of ten bits', { workingDirectory: '/', umask: 0o1000 }],
    ['process fileSystemContext', 'a path that is too long', { workingDirectory: '/'.repeat(4097), umask: 0 }],
    ['process procFiles', 'an oom_score_adj below -1000', { oomScoreAdjustment: -1001, coredumpFilter: 0 }],
    ['process procFiles', 'an oom_score_adj above 1000', { oomScoreAdjustment: 1001, coredumpFilter: 0 }],
    ['process memoryMapFields', 'an address of the kernel', { ...memoryMapFields, startBrk: 2 ** 47 + 1 }],
    ['process memoryMapFields', 'a negative address', { ...memoryMapFields, brk: -1 }],
    ['process memoryMapFields', 'an auxv that is too long', { ...memoryMapFields, auxv: Buffer.alloc(1025) }],
    ['process memoryMapFields', 'no executable', { ...memoryMapFields, executable: 0 }],
    ['process signalActions', 'signal 0', [{ ...action, signal: 0 }]],
    ['process signalActions', 'signal 65', [{ ...action, signal: 65 }]],
    ['process signalActions', 'more actions than signals', Array(65).fill(action)],
    ['process signalActions', 'a handler of 65 bits', [{ ...action, handler: 2n ** 64n }]],
    ['process settings', 'a personality of 33 bits', { ...processStates.settings, personality: 2 ** 31 }],
    ['process intervalTimers', 'half a timer', { ...intervalTimers, real: { leftSec: 1n } }],
    ['process posixTimers', 'a number twice', [aTimer, aTimer]],
    ['process posixTimers', 'a negative number', [{ ...aTimer, id: -1 }]],
    ['process posixTimers', 'signal 65', [{ ...aTimer, signal: 65 }]],
    ['process posixTimers', 'time that is negative', [{ ...aTimer, leftNs: -1n }]],
    ['process posixTimers', 'a notice that there is not', [{ ...aTimer, notify: 'mail' }]],
    ['descriptor timerfd', 'a clock without timers', { ...descriptorStates.timerfd, clockId: 2 }],
    ['descriptor timerfd', 'a setting that there is not', { ...descriptorStates.timerfd, settings: 4 }],
    ['descriptor timerfd', 'time that is negative', { ...descriptorStates.timerfd, valueNs: -1n }],
    ['descriptor memfd', 'a seal that nobody knows', { ...descriptorStates.memfd, seals: 0x40 }],
    ['descriptor system-v-segment', 'no size', { ...descriptorStates['system-v-segment'], sizeBytes: 0 }],
    ['descriptor system-v-segment', 'an id of 32 bits', { ...descriptorStates['system-v-segment'], id: 2 ** 31 }],
    ['descriptor system-v-segment', 'a mode of ten bits', { ...descriptorStates['system-v-segment'], mode: 0o1000 }],
    [
      'descriptor system-v-segment',
      'a maker whom nobody can be',
      { ...descriptorStates['system-v-segment'], creator: { uid: 2 ** 32 - 1, gid: 0 } },
    ],
    ['descriptor memfd', 'half a huge page', { ...descriptorStates.memfd, sizeBytes: 1 << 20, hugePageKiB: 2048 }],
    [
      'descriptor shared-memory',
      'pages of a size that there is not',
      { ...descriptorStates['shared-memory'], hugePageKiB: 4096 },
    ],
    ['descriptor shared-memory', 'no size', { ...descriptorStates['shared-memory'], sizeBytes: 0 }],
    ['process sharedPendingSignals', 'a siginfo that is cut', [siginfo(10).subarray(0, 127)]],
    ['process sharedPendingSignals', 'a siginfo with a byte too many', [Buffer.concat([siginfo(10), Buffer.alloc(1)])]],
    ['process limits', 'a limit that nobody knows', { ...limits, RLIMIT_BEER: { soft: 1n, hard: 2n } }],
    ['process limits', 'a number that is no limit', { ...limits, RLIM_NLIMITS: { soft: 1n, hard: 2n } }],
    ['process limits', 'a negative limit', { ...limits, RLIMIT_CPU: { soft: -1n, hard: 0n } }],
    ['process limits', 'a limit without its hard part', { ...limits, RLIMIT_CPU: { soft: 1n } }],
    ['thread name', 'a name that is too long', { comm: 'x'.repeat(65) }],
    ['thread scheduling', 'a nice value of -21', { ...scheduling, nice: -21 }],
    ['thread scheduling', 'a nice value of 20', { ...scheduling, nice: 20 }],
    ['thread scheduling', 'a priority of 100', { ...scheduling, priority: 100 }],
    ['thread scheduling', 'no CPU at all', { ...scheduling, affinity: Buffer.alloc(0) }],
    ['thread scheduling', 'more CPUs than 8192', { ...scheduling, affinity: Buffer.alloc(1025, 1) }],
    ['thread signalStack', 'an address of 65 bits', { ...signalStack, address: 2n ** 64n }],
    ['thread settings', 'a death signal of 65', { ...settings, parentDeathSignal: 65 }],
    ['thread settings', 'a flag that is a number', { ...settings, noNewPrivs: 1 }],
    ['thread settings', 'a use of the time stamp counter that there is not', { ...settings, timeStampCounter: 0 }],
    ['thread settings', 'a policy for broken memory that there is not', { ...settings, memoryErrors: 3 }],
    ['thread settings', 'a speculation setting too few', { ...settings, speculation: [4, 0] }],
    ['thread seccomp', 'a filter without instructions', { filters: [instructions(0)] }],
    ['thread seccomp', 'half an instruction', { filters: [{ program: Buffer.alloc(12), log: false }] }],
    ['thread seccomp', 'a filter of more instructions than there can be', { filters: [instructions(4097)] }],
    ['thread seccomp', 'more instructions than a thread can have', { filters: Array(8).fill(instructions(4093)) }],
    ['thread seccomp', 'more filters than a thread can have', { filters: Array(6554).fill(instructions(1)) }],
    ['thread seccomp', 'a flag that is a number', { filters: [{ ...instructions(1), log: 1 }] }],
    ['thread memoryPolicy', 'more nodes than 1024', { mode: 3, nodes: Buffer.alloc(129, 1) }],
    ['process futureLocking', 'a mode that there is not', { mode: 'some' }],
    ['thread threadPointers', 'half an rseq', { ...threadPointers, rseq: { address: 1n } }],
    ['descriptor regular-file', 'an unknown lock', { ...regular, locks: [{ ...regular.locks[0], kind: 'DELEG' }] }],
    ['descriptor regular-file', 'a negative lock', { ...regular, locks: [{ ...regular.locks[0], start: -1n }] }],
    ['descriptor regular-file', 'a file without a name', { ...regular, file: { ...identity, path: 7 } }],
    ['descriptor regular-file', 'a negative position', { ...regular, position: -1n }],
    ['descriptor unlinked-file', 'a negative size', { ...descriptorStates['unlinked-file'], sizeBytes: -1 }],
    ['descriptor unlinked-file', 'a size with a fraction', { ...descriptorStates['unlinked-file'], sizeBytes: 0.5 }],
    ['descriptor memory-device', '/dev/mem', { ...descriptorStates['memory-device'], minor: 1 }],
    ['descriptor external-stream', 'a fourth stream', { ...descriptorStates['external-stream'], stream: 3 }],
    ['descriptor pipe', 'a pipe of less than a page', { ...descriptorStates.pipe, capacityBytes: 4095 }],
    ['descriptor pipe', 'content that is a text', { ...descriptorStates.pipe, content: 'queued' }],
    ['mapping aio-ring', 'a place behind its end', { ...mappingStates['aio-ring'], tail: 127 }],
    ['mapping aio-ring', 'fewer answers than are unread', { ...mappingStates['aio-ring'], head: 125 }],
    [
      'descriptor fanotify',
      'a group that grants access',
      { ...descriptorStates.fanotify, made: { flags: FAN.FAN_CLASS_CONTENT, eventFlags: 0 } },
    ],
    ['descriptor io_uring', 'a way of making it that cannot be made again', { ...ring, setup: 2 }],
    ['descriptor io_uring', 'a number of entries that is no power of two', { ...ring, sqEntries: 63 }],
    ['descriptor io_uring', 'more entries than there can be', { ...ring, sqEntries: 65_536, cqEntries: 65_536 }],
    ['descriptor io_uring', 'more completions than submissions', { ...ring, sqHead: 69_999 }],
    ['descriptor io_uring', 'a larger queue of submissions than of completions', { ...ring, cqEntries: 32 }],
    ['descriptor io_uring', 'less memory than its entries take', { ...ring, ringBytes: 4096 }],
    ['descriptor io_uring', 'an index array in the completions', { ...ring, offsets: { cqes: 64, array: 4156 } }],
    ['descriptor io_uring', 'no index array', { ...ring, offsets: { cqes: 64, array: 0 } }],
    ['descriptor io_uring', 'an index array that it has not', { ...ring, setup: 0x1_1008 }],
    ['descriptor io_uring', 'more bytes than memory', { ...ring, rings: Buffer.alloc(8193) }],
    ['descriptor io_uring', 'free slots behind the last one', registered({ free: { start: 1, end: 3 } })],
    ['descriptor io_uring', 'free slots that end before they begin', registered({ free: { start: 2, end: 1 } })],
    ['descriptor io_uring', 'a buffer of the kernel', registered({ buffers: [{ ...aBuffer, address: 2 ** 47 + 1 }] })],
    ['descriptor io_uring', 'an empty buffer', registered({ buffers: [{ ...aBuffer, sizeBytes: 0 }] })],
    ['mapping kernel', 'a name that is too long', { name: `[${'v'.repeat(32)}]` }],
    ['mapping anonymous', 'a name that is too long', { name: 'x'.repeat(257) }],
    ['mapping private-file', 'object 0', { file: 0 }],
    ['mapping shared-file', 'an object of 33 bits', { file: 2 ** 32 }],
    ['mapped file', 'a build id that is too long', { ...mappedFileState, buildId: 'a'.repeat(129) }],
    ['mapped file', 'a size of 65 bits', { ...mappedFileState, file: { ...identity, sizeBytes: 2n ** 64n } }],
  ];
  it.each(lies)('%s with %s', (name, _, state) => {
    problemWith(schemaOf(name), state);
  });

  // The lock goes into a struct flock, whose numbers are signed: a RangeError in the middle of the rebuilding.
  it.each(['start', 'length'])('descriptor regular-file with a lock whose %s is beyond 63 bits', (field) => {
    const lock = { ...regular.locks[0], [field]: 2n ** 63n };
    problemWith(schemaOf('descriptor regular-file'), { ...regular, locks: [lock] });
  });

  // setrlimit(2) answers EINVAL, when the process is made already.
  it('process limits with a soft limit above the hard one', () => {
    problemWith(schemaOf('process limits'), { ...limits, RLIMIT_CPU: { soft: 2n, hard: 1n } });
  });

  it('thread settings with a speculation setting too many', () => {
    problemWith(schemaOf('thread settings'), { ...settings, speculation: [4, 0, 8, 4] });
  });

  it('thread scheduling with a utilisation above 1024', () => {
    problemWith(schemaOf('thread scheduling'), { ...scheduling, utilMax: 1025 });
  });

  // Only the last one would be restored.
  it('process signalActions with two actions for one signal', () => {
    problemWith(schemaOf('process signalActions'), [action, { ...action, handler: 0x40_1000n }]);
  });

  it.each([9, 19])('process signalActions with an action for signal %d, which can have none', (signal) => {
    problemWith(schemaOf('process signalActions'), [{ ...action, signal }]);
  });

  it.each([0, 65, -1])('process sharedPendingSignals with signal %d', (signal) => {
    problemWith(schemaOf('process sharedPendingSignals'), [siginfo(signal)]);
  });
});
