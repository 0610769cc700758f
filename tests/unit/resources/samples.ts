/** One state of every kind in the registry, in the form that its schema gives. */
import { OPEN } from '../../../src/kernel/abi/fcntl.ts';
import { RLIMIT } from '../../../src/kernel/abi/resource.ts';
import type { FileIdentity } from '../../../src/resources/file-identity.ts';

export type States = Readonly<Record<string, unknown>>;

export const EXECUTABLE = 3;
const INFINITY = 2n ** 64n - 1n;

export function siginfo(signal: number, fill = 0): Buffer {
  const info = Buffer.alloc(128, fill);
  info.writeInt32LE(signal, 0);
  return info;
}

export const identity: FileIdentity = {
  path: '/var/log/worker',
  device: 0xfe00n,
  inode: 2n ** 63n + 5n,
  sizeBytes: 8192n,
  modifiedNs: 1_790_000_000_123_456_789n,
};

const ids = (first: number) => ({ real: first, effective: first + 1, saved: first + 2, filesystem: 0xffff_ffff });
const stopped = { intervalSec: 0n, intervalUsec: 0n, leftSec: 0n, leftUsec: 0n };

export const limits = Object.fromEntries(
  Object.entries(RLIMIT)
    .filter(([name]) => name.startsWith('RLIMIT_'))
    .map(([name, number]) => [name, { soft: BigInt(number), hard: INFINITY }]),
);

export const processStates = {
  namespaces: {},
  credentials: {
    uid: ids(1000),
    gid: ids(100),
    groups: [100, 27, 0xffff_fffe],
    capInheritable: 5n,
    capPermitted: 2n ** 40n + 7n,
    capEffective: 3n,
    capBounding: 0x1ff_ffff_ffffn,
    capAmbient: 4n,
    securebits: -1,
  },
  session: { leadsSession: true, leadsGroup: false, controllingTerminal: 0x8801, inTree: true, isRoot: true },
  fileSystemContext: { workingDirectory: '/tmp', umask: 0o777 },
  procFiles: { oomScoreAdjustment: -1000, coredumpFilter: 0x33 },
  memoryMapFields: {
    startCode: 0x40_0000,
    endCode: 0x40_1000,
    startData: 0x40_2000,
    endData: 0x40_3000,
    startBrk: 0x50_0000,
    brk: 0x52_1000,
    startStack: 0x7fff_ffff_e000,
    argStart: 0x7fff_ffff_e100,
    argEnd: 0x7fff_ffff_e200,
    envStart: 0x7fff_ffff_e300,
    envEnd: 2 ** 47,
    auxv: Buffer.from(`${'01'.repeat(16)}${'00'.repeat(16)}`, 'hex'),
    executable: EXECUTABLE,
  },
  mappingPolicies: [
    { start: 0x50_0000, end: 0x52_1000, mode: 0x8003, nodes: Buffer.from([1, ...Array(127).fill(0)]) },
    { start: 0x7f00_0000_0000, end: 2 ** 47, mode: 4, nodes: Buffer.alloc(128) },
  ],
  signalActions: [
    { signal: 2, handler: 1n, flags: 0x0400_0000n, restorer: 0n, mask: 0n },
    { signal: 64, handler: 2n ** 63n, flags: 0x1400_0004n, restorer: 0x40_2000n, mask: 2n ** 64n - 1n },
  ],
  settings: {
    childSubreaper: 1,
    thpDisable: 0,
    tileData: 1,
    memoryMerge: 1,
    denyWriteExecute: 3,
    dumpable: 2,
  },
  membarrier: { registrations: 0x10 },
  futureLocking: { mode: 'on-fault' },
  systemV: {
    semaphores: [
      {
        ...{ id: 3, key: 0xffff_ffff, mode: 0o660, owner: { uid: 1, gid: 2 }, creator: { uid: 0, gid: 0 } },
        values: [0, 32_767],
        own: [1],
      },
    ],
    queues: [
      {
        ...{ id: 2 ** 31 - 1, key: 0, mode: 0, owner: { uid: 0, gid: 0 }, creator: { uid: 0, gid: 0 } },
        capacity: 16_384,
        messages: [{ type: 2n ** 63n - 1n, bytes: Buffer.alloc(0) }],
      },
    ],
  },
  semaphoreAdjustments: {
    sets: [
      { id: 3, adjustments: [{ index: 31_999, value: -32_767 }] },
      {
        id: 0,
        adjustments: [
          { index: 0, value: 1 },
          { index: 2, value: -2 },
        ],
      },
    ],
    unseen: true,
  },
  unseenState: { landlock: true },
  surroundings: { cgroups: [], label: '', loginUid: '', vsyscall: '' },
  posixTimers: [
    { id: 7, clockId: 1, notify: 'thread', signal: 34, value: 2n ** 63n, tid: 4243, intervalNs: 5n, leftNs: 2n ** 40n },
    { id: 2, clockId: -6, notify: 'none', signal: 0, value: 0n, tid: 0, intervalNs: 0n, leftNs: 0n },
  ],
  intervalTimers: {
    real: { intervalSec: 1n, intervalUsec: 999_999n, leftSec: 2n ** 62n, leftUsec: 1n },
    virtual: stopped,
    profiling: { ...stopped, leftUsec: 5n },
  },
  sharedPendingSignals: [siginfo(10), siginfo(34, 0xff), siginfo(34, 0x11)],
  limits,
} satisfies States;

export const threadStates = {
  fileSystemContext: { workingDirectory: '/var/tmp', umask: 0o027 },
  name: { comm: 'worker\u00e9' },
  scheduling: {
    policy: 0,
    flags: 0n,
    nice: -20,
    priority: 0,
    runtime: 0n,
    deadline: 0n,
    period: 0n,
    utilMin: 0,
    utilMax: 1024,
    affinity: Buffer.from([3, 0, 0, 0, 0, 0, 0, 0]),
    ioPriority: 0x4004,
    timerSlack: 50_000n,
  },
  signalStack: { address: 0x7f00_0000_0000n, flags: 0x8000_0000, sizeBytes: 8192n },
  settings: {
    personality: 0x40000,
    parentDeathSignal: 64,
    noNewPrivs: true,
    timeStampCounter: 2,
    memoryErrors: 0,
    speculation: [4, 0, 8],
    ioFlusher: true,
    cpuidFaults: false,
    coreScheduled: false,
  },
  memoryPolicy: { mode: 3, nodes: Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]) },
  ownPendingSignals: [siginfo(12, 0x22)],
  // BPF_RET | BPF_K, SECCOMP_RET_ALLOW; then with SECCOMP_RET_ERRNO | 1 before it, behind a jump over it.
  seccomp: {
    filters: [
      { program: Buffer.from('060000000000ff7f', 'hex'), log: true },
      { program: Buffer.from('0500000001000000060000000100050006000000' + '0000ff7f', 'hex'), log: false },
    ],
  },
  threadPointers: {
    robustList: 0x7f00_0000_1a20n,
    robustListSize: 24n,
    compatRobustList: 0xffff_eff0,
    clearTid: 0x7f00_0000_1a10n,
    rseq: { address: 0x7f00_0000_20e0n, sizeBytes: 32, signature: 0x5305_3053 },
  },
} satisfies States;

const unixName = { name: Buffer.from('/run/served'), place: [] };
const unixPlace = { directory: '/srv', file: 'of-another', mode: 0o777, uid: 0xffff_ffff, gid: 7 };
const inet6End = Buffer.from(`0a001f90${'00'.repeat(4)}${'00'.repeat(15)}01${'00'.repeat(4)}`, 'hex');
const inet6Sender = Buffer.from(`0a0000350000000020010db8${'00'.repeat(11)}01${'00'.repeat(4)}`, 'hex');
const ucred = { pid: 2 ** 31 - 1, uid: 0xffff_ffff, gid: 0 };

export const descriptorStates = {
  'unix-socket': {
    socket: 0xffff_ffff,
    peer: 7,
    type: 5,
    flags: OPEN.O_RDWR | OPEN.O_NONBLOCK,
    role: 'pair',
    own: { ...unixName, place: [unixPlace] },
    other: { name: Buffer.from('\0abstract'), place: [] },
    accepted: 'own',
    credentials: [ucred],
    otherCredentials: [],
    keepsCredentials: false,
    backlog: 4096,
    shutdown: 3,
    reset: true,
    queue: [
      { bytes: Buffer.from('waits'), sender: Buffer.alloc(108, 'x'), credentials: [ucred] },
      { bytes: Buffer.alloc(0), sender: Buffer.alloc(0), credentials: [], descriptors: [1, 0xffff_ffff] },
    ],
    outside: { becomes: 'closed', lost: 0xffff_ffff },
    filter: { instructions: Buffer.alloc(4096 * 8), locked: false },
    buffers: { receiveBytes: 212_992, sendBytes: 0xffff_ffff, locked: 3 },
    options: [{ level: 1, option: 13, value: Buffer.from([1, 0, 0, 0, 9, 0, 0, 0]) }],
  },
  'udp-socket': {
    domain: 10,
    flags: OPEN.O_RDWR,
    local: inet6End,
    remote: Buffer.alloc(0),
    waiting: 3,
    protocol: 17,
    queue: [
      { bytes: Buffer.from('waits'), sender: inet6Sender },
      { bytes: Buffer.alloc(0), sender: inet6Sender },
    ],
    groups: [
      { interface: 'eth0', group: Buffer.from([239, 1, 2, 3]), excludes: true, sources: [Buffer.alloc(4, 9)] },
      { interface: 'lo', group: Buffer.alloc(16, 0xff), excludes: false, sources: [] },
    ],
    filter: { instructions: Buffer.alloc(16), locked: true },
    buffers: { receiveBytes: 212_992, sendBytes: 0, locked: 0 },
    options: [{ level: 41, option: 26, value: Buffer.from([1, 0, 0, 0]) }],
  },
  'netlink-socket': {
    type: 3,
    protocol: 15,
    flags: OPEN.O_RDWR,
    port: 0xffff_ffff,
    groups: [1, 65_536],
    remote: { port: 17, groups: 1 },
    filter: { instructions: Buffer.alloc(8), locked: false },
    buffers: { receiveBytes: 212_992, sendBytes: 0, locked: 1 },
    options: [{ level: 270, option: 11, value: Buffer.from([1, 0, 0, 0]) }],
  },
  'packet-socket': {
    type: 2,
    protocol: 0xffff,
    interfaces: ['eth0'],
    flags: OPEN.O_RDWR,
    memberships: [
      { interface: 'lo', kind: 1, address: Buffer.alloc(0), times: 1024 },
      { interface: 'ib0', kind: 0, address: Buffer.alloc(32, 9), times: 1 },
    ],
    filter: { instructions: Buffer.alloc(8), locked: true },
    buffers: { receiveBytes: 212_992, sendBytes: 0, locked: 0 },
    options: [{ level: 263, option: 23, value: Buffer.from([1, 0, 0, 0]) }],
  },
  'raw-socket': {
    domain: 10,
    type: 3,
    protocol: 58,
    flags: OPEN.O_RDWR,
    local: inet6End,
    remote: Buffer.alloc(0),
    groups: [{ interface: 'lo', group: Buffer.alloc(16, 0xff), excludes: true, sources: [] }],
    filter: { instructions: Buffer.alloc(8), locked: true },
    buffers: { receiveBytes: 212_992, sendBytes: 0, locked: 0 },
    options: [{ level: 58, option: 1, value: Buffer.alloc(32, 0xff) }],
  },
  'tcp-socket': {
    domain: 2,
    flags: OPEN.O_RDWR | OPEN.O_NONBLOCK,
    role: 'connected',
    unread: Buffer.from('not read'),
    local: Buffer.from('02001f907f0000010000000000000000', 'hex'),
    remote: Buffer.from('0200ffffffffffff0000000000000000', 'hex'),
    backlog: 0,
    waiting: 0,
    buffers: { receiveBytes: 131_072, sendBytes: 16_384, locked: 1 },
    options: [{ level: 6, option: 13, value: Buffer.from('reno\0\0\0\0\0\0\0\0\0\0\0\0') }],
    filter: { instructions: Buffer.alloc(8), locked: true },
    stream: [
      {
        sendSequence: 0xffff_ffff,
        receiveSequence: 0,
        sendQueue: Buffer.from('unacknowledged and unsent'),
        unsentBytes: 6,
        receiveQueue: Buffer.from('unread'),
        maxSegment: 65_483,
        timestamp: 0xffff_fffe,
        window: { snd_wl1: 1, snd_wnd: 65_536, max_window: 65_536, rcv_wnd: 65_536, rcv_wup: 0xffff_ffff },
        usesTimestamps: true,
        usesSack: true,
        usesWindowScale: true,
        sendScale: 14,
        receiveScale: 0,
        ownEnd: 'acknowledged',
        otherEnd: true,
        deaf: true,
        table: 'quicksave-0123456789abcdef',
      },
    ],
  },
  'other-socket': { domain: 16, type: 3, protocol: 0 },
  'regular-file': {
    file: identity,
    endsChecksum: 0x1234_5678,
    flags: OPEN.O_RDWR | OPEN.O_APPEND,
    position: 77n,
    locks: [
      { kind: 'POSIX', exclusive: true, start: 10n, length: 0n },
      { kind: 'OFDLCK', exclusive: false, start: 0n, length: 1n },
      { kind: 'FLOCK', exclusive: true, start: 0n, length: 0n },
    ],
  },
  memfd: {
    name: 'pool',
    inode: 2n ** 40n,
    flags: OPEN.O_RDWR,
    mode: 0o777,
    owner: { uid: 0, gid: 2 ** 32 - 2 },
    seals: 0x17,
    position: 2n ** 33n,
    sizeBytes: 5000,
    carries: true,
    locks: [{ kind: 'FLOCK', exclusive: true, start: 0n, length: 0n }],
  },
  'system-v-segment': {
    id: 2 ** 31 - 1,
    key: 2 ** 32 - 1,
    sizeBytes: 5000,
    mode: 0o604,
    owner: { uid: 2 ** 32 - 2, gid: 7 },
    creator: { uid: 0, gid: 0 },
    creatorPid: 4242,
    changedAt: 1_790_000_000,
    attachedAt: 1_790_000_001,
    removed: false,
    locked: true,
  },
  'shared-memory': { inode: 2n ** 40n, sizeBytes: 8192, carries: true },
  timerfd: {
    clockId: 0,
    settings: 3,
    ticks: 2n ** 40n,
    intervalNs: 1_500_000_000n,
    valueNs: 2n ** 60n,
    flags: OPEN.O_RDWR,
  },
  signalfd: { mask: 2n ** 63n + 1n, flags: OPEN.O_RDWR | OPEN.O_NONBLOCK },
  'unlinked-file': {
    path: '/tmp/gone',
    inode: 2n ** 40n,
    device: 1n,
    flags: OPEN.O_RDWR,
    mode: 0o600,
    owner: { uid: 0, gid: 2 ** 32 - 2 },
    position: 2n ** 33n,
    sizeBytes: 5000,
    carries: true,
    locks: [],
  },
  directory: {
    path: '/srv/gone',
    flags: OPEN.O_DIRECTORY,
    position: 2n ** 62n,
    deleted: { device: 1n, inode: 2n ** 40n, mode: 0o1777, owner: { uid: 0, gid: 2 ** 32 - 2 } },
  },
  'memory-device': { path: '/dev/null', minor: 3, flags: OPEN.O_RDWR },
  'pty-master': {
    index: 7,
    flags: OPEN.O_RDWR | OPEN.O_NONBLOCK,
    settings: Buffer.alloc(44, 5),
    size: { rows: 24, columns: 80, xPixels: 0, yPixels: 2 ** 16 - 1 },
    packets: true,
    exclusive: false,
    locked: false,
    hungUp: true,
    session: 4242,
    foreground: 4243,
    content: {
      typed: { bytes: Buffer.from('line\npart'), ends: [4], quotes: false },
      shown: Buffer.from('shown'),
      stopped: 'typed' as const,
    },
    unseen: true,
  },
  'pty-slave': { index: 7, flags: OPEN.O_RDWR | OPEN.O_LARGEFILE, exclusive: true },
  'external-stream': { stream: 2, flags: OPEN.O_APPEND, was: '/dev/pts/3' },
  pipe: {
    pipe: 4_026_531_999n,
    flags: OPEN.O_NONBLOCK,
    original: true,
    capacityBytes: 65_536,
    content: Buffer.from('queued'),
    cutOff: true,
    packets: [2, 4],
  },
  fifo: {
    path: '/run/control',
    unlinked: true,
    mode: 0o620,
    device: 1n,
    inode: 2n ** 40n,
    flags: OPEN.O_RDWR | OPEN.O_NONBLOCK,
    unmet: false,
    capacityBytes: 4096,
    content: Buffer.from('queued'),
    packets: [],
  },
  'path-only': { path: '/srv', type: 0o40000, flags: OPEN.O_PATH | OPEN.O_DIRECTORY },
  'proc-file': { path: '/proc/meminfo', flags: OPEN.O_RDONLY, position: 2n ** 40n },
  fanotify: {
    flags: OPEN.O_NONBLOCK,
    made: { flags: 0x1eb0, eventFlags: 0x8000 },
    privileged: true,
    marks: [
      { on: 'file', path: '/etc', flags: 0x440, mask: 0x5000_0100, ignored: 0x4000_0200 },
      { on: 'mount', path: '/', flags: 0, mask: 0x1000, ignored: 0 },
    ],
    waitingBytes: 24,
  },
  inotify: {
    flags: OPEN.O_NONBLOCK,
    watches: [
      { number: 1, path: '/etc', mask: 0x8400_0fff },
      { number: 2 ** 20, path: '/srv/file', mask: 2 },
    ],
    waitingBytes: 32,
  },
  pidfd: { pid: 4242, flags: OPEN.O_NONBLOCK },
  eventfd: { count: 2n ** 64n - 2n, semaphore: true, flags: OPEN.O_RDWR | OPEN.O_NONBLOCK },
  io_uring: {
    flags: OPEN.O_NONBLOCK,
    pid: 4242,
    setup: 0x1008,
    sqEntries: 64,
    cqEntries: 256,
    sqHead: 2 ** 32 - 1,
    cqTail: 70_000,
    offsets: { cqes: 64, array: 4160 },
    ringBytes: 8192,
    sqeBytes: 4096,
    rings: Buffer.alloc(4200, 1),
    sqes: Buffer.alloc(0),
    registrations: {
      files: [null, { fd: 7, tag: 2n ** 64n - 1n }],
      buffers: [{ address: 0x7f00_0000_1000, sizeBytes: 65_536, tag: 0n }, null],
      free: { start: 0, end: 2 },
      eventfd: { fd: 9, isAsync: true },
      workers: [4, 1024],
    },
  },
  epoll: {
    flags: OPEN.O_RDWR,
    entries: [
      { fd: 0, watches: 0, events: 0x8000_0019, data: 2n ** 64n - 1n, mayFire: false },
      { fd: 7, watches: 9, events: 0x4000_0000, data: 7n, mayFire: true },
    ],
    busyPolling: { microseconds: 64, budget: 8, preferred: 1 },
  },
} satisfies States;

export const mappingStates = {
  kernel: { name: '[vdso]' },
  anonymous: { name: 'arena' },
  'private-file': { file: 3 },
  'shared-file': { file: 4 },
  droppable: {},
  'huge-pages': { pageKiB: 1048576 },
  'private-object': { object: 5 },
  'shared-object': { object: 6 },
  'system-v-segment': { object: 7, readOnly: true },
  'aio-ring': { wanted: 20, slots: 127, head: 126, tail: 1, events: Buffer.alloc(64, 3) },
  io_uring: { ring: 8 },
} satisfies States;

export const mappedFileState = { file: identity, buildId: 'ab12', writable: true };
