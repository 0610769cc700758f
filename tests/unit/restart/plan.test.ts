import { describe, expect, it } from 'vitest';
import { encodeMemoryContext } from '../../../src/arch/x86/records.ts';
import { MADV, MAP } from '../../../src/kernel/abi/mman.ts';
import { processAspects, threadAspects } from '../../../src/resources/registry.ts';
import type { RestartHost } from '../../../src/restart/host.ts';
import { planRestart } from '../../../src/restart/plan.ts';
import { type Problem, QuicksaveError, RefusedError } from '../../../src/support/errors.ts';
import { codeAt, dataAt, largeLayout, layoutOf, smallLayout, stateOf, tableOf } from '../arch/x86/samples.ts';
import { errorOf } from '../image/streams.ts';
import { newFile } from '../resources/folder.ts';
import { descriptorStates, EXECUTABLE, processStates, threadStates } from '../resources/samples.ts';
import {
  aspects,
  goodHost,
  type ModelChanges,
  mapping,
  mappings,
  modelWith,
  NULL,
  PID,
  planOfOne,
  ROOT,
  threadModel,
} from './models.ts';

const planOf = (changes: ModelChanges, host: Partial<RestartHost> = {}) =>
  planOfOne(modelWith(changes), { ...goodHost, ...host });

/** What stands in the way on this host; fails if nothing does. */
function problemsOf(changes: ModelChanges, host: Partial<RestartHost> = {}): readonly Problem[] {
  const error = errorOf(() => planOf(changes, host));
  if (!(error instanceof RefusedError)) throw error;
  return error.problems;
}

/** The error for an image that no save makes. */
const faultOf = (changes: ModelChanges): QuicksaveError => errorOf(() => planOf(changes));

const task = modelWith().root.task;
const { head } = modelWith();

describe('the plan of an image without fault', () => {
  const plan = planOf({});

  it('has the state of every aspect, in the order of the registry', () => {
    expect(plan.aspects.map(({ aspect }) => aspect.name)).toEqual(processAspects.map(({ name }) => name));
    expect(plan.aspects.map(({ state }) => state)).toEqual(processAspects.map(({ name }) => aspects[name]));
    expect(plan.threads.map((thread) => thread.aspects.map(({ aspect }) => aspect.name))).toEqual([
      threadAspects.map(({ name }) => name),
    ]);
  });

  it('has a place for the command that saved it, if it saved itself', () => {
    expect(plan.saver).toBeUndefined();
    const saver = { pid: PID + 1, leads: 'group' } as const;
    expect(planOf({ task: { ...task, saver } }).saver).toEqual({ tid: PID + 1, leads: 'group' });
  });

  it('tells of the death signal of the root only, whose parent is the restart command', () => {
    const { root, ...model } = modelWith();
    const childTask = { ...task, pid: PID + 1, parent: PID, threads: [PID + 1], files: task.files + 100 };
    const child = { ...root, task: childTask, threads: [threadModel({ tid: PID + 1 })] };
    const processes = [root, child];
    const { remarks } = planRestart({ ...model, root, processes }, { ...goodHost, keepsParent: false });
    expect(remarks.filter((remark) => remark.includes('no longer gets signal'))).toEqual([
      expect.stringContaining(`thread ${PID} `),
    ]);
  });

  it('has one state for a working directory that processes share', () => {
    const { root, ...model } = modelWith();
    const shared = { ...root, task: { ...root.task, fileSystem: 900 } };
    const childTask = {
      ...task,
      pid: PID + 1,
      parent: PID,
      threads: [PID + 1],
      files: task.files + 100,
      fileSystem: 900,
    };
    const child = {
      ...root,
      task: { ...childTask, session: 1, processGroup: 1 },
      threads: [threadModel({ tid: PID + 1 })],
    };
    const rootInTree = { ...shared, task: { ...shared.task, session: 1, processGroup: 1 } };
    const planned = (aspectsOfChild: typeof root.aspects) =>
      planRestart(
        { ...model, root: rootInTree, processes: [rootInTree, { ...child, aspects: aspectsOfChild }] },
        goodHost,
      );
    expect(planned(root.aspects).births.get(PID + 1)?.gets).toEqual(new Set(['fileSystem']));
    const elsewhere = { ...root.aspects, fileSystemContext: { workingDirectory: '/', umask: 0o777 } };
    expect(errorOf(() => planned(elsewhere)).message).toMatch(/two states of the working directory 900/);
  });

  it('has the registers and the signal mask of every thread', () => {
    expect(plan.threads).toMatchObject([{ tid: PID, signalMask: 0x1000n, cpu: { layout: smallLayout } }]);
    expect(plan.threads[0]?.cpu.xstate).toEqual(stateOf(smallLayout, [2, 9]));
  });

  it('has the segments, which selectors may name', () => {
    const table = tableOf([codeAt(1), dataAt(2)]);
    const areas = tableOf([undefined, dataAt(3), undefined]);
    const threads = [threadModel({ areas, registers: { ds: 0xfn, gs: 0x6bn } })];
    const planned = planOf({ memoryContext: encodeMemoryContext(table), threads });
    expect(planned.localDescriptors).toEqual(table);
    expect(Buffer.from(planned.threads[0]?.threadAreas ?? [])).toEqual(areas);
  });

  it('says how each mapping is made, and with what it is tuned', () => {
    const [program, arena, vdso] = plan.mappings;
    expect(program).toMatchObject({
      made: { flags: MAP.MAP_PRIVATE | MAP.MAP_FIXED_NOREPLACE, file: EXECUTABLE },
      advice: [],
      locking: 'none',
    });
    expect(arena).toMatchObject({
      made: { flags: MAP.MAP_PRIVATE | MAP.MAP_ANONYMOUS | MAP.MAP_NORESERVE | MAP.MAP_FIXED_NOREPLACE, name: 'arena' },
      advice: [MADV.MADV_DONTDUMP],
      locking: 'all',
    });
    expect(vdso).toMatchObject({ made: undefined, specialName: '[vdso]' });
  });

  it('has the open file descriptions with their kinds, and the table as it was', () => {
    expect(plan.descriptions.map(({ objref, kind }) => [objref, kind.kind])).toEqual([
      [NULL, 'memory-device'],
      [ROOT, 'directory'],
    ]);
    expect(plan.entries).toEqual(modelWith().root.files.entries);
  });

  it('tells what comes back otherwise than it was, by the number of its descriptor', () => {
    const changes = {
      aspects: { ...aspects, session: { leadsSession: true, leadsGroup: true, controllingTerminal: 0 } },
      descriptions: new Map([
        [ROOT, { kind: 'external-stream', state: descriptorStates['external-stream'], contentBytes: 0 }],
      ]),
      files: { entries: [{ fd: 9, object: ROOT, closeOnExec: false }] },
    };
    expect(planOf(changes).remarks).toEqual([expect.stringMatching(/descriptor 9 was \/dev\/pts\/3/)]);
    expect(planOf({ ...changes, descriptions: new Map(), files: { entries: [] } }).remarks).toEqual([]);
  });
});

/** Where a 32-bit program has them. */
const mappings32 = mappings.map((state) =>
  state.start < 2 ** 32 ? state : { ...state, start: 0xf7f0_0000, end: 0xf7f0_2000 },
);
const task32: typeof task = { ...task, addressBits: 32, vdso: { sha256: 'face', data: [] } };

describe('the plan of a 32-bit program', () => {
  it('goes by what the kernel maps into such programs', () => {
    expect(planOf({ task: task32, mappings: mappings32 }).is32Bit).toBe(true);
    expect(planOf({}).is32Bit).toBe(false);
  });

  it('asks for that only where it is needed, because a process is made for it', () => {
    const kernelMemory32 = () => {
      throw new Error('asked');
    };
    expect(planOf({}, { kernelMemory32 }).pid).toBe(PID);
  });
});

const vma = (kind: string, state: unknown, others = {}): ModelChanges => ({
  mappings: [...mappings.slice(0, 2), mapping(kind, 0x60_0000, state, others), ...mappings.slice(2)],
});

const aioRing = { wanted: 20, slots: 127, head: 3, tail: 3, events: Buffer.alloc(0) };

describe('a host', () => {
  const cases: [string, ModelChanges, Partial<RestartHost>, Partial<Problem>][] = [
    ['that does not let us choose pids', {}, { mayChoosePids: false }, { code: 'not-enough-rights', path: ['host'] }],
    [
      'with another vDSO',
      {},
      { kernelMemory: { ...goodHost.kernelMemory, vdsoSha256: 'beef' } },
      { code: 'other-vdso', path: ['host'] },
    ],
    ['without an instruction set of the image', {}, { cpuFeatures: new Set(['fpu']) }, { code: 'missing-cpu-feature' }],
    [
      'without seals',
      vma('anonymous', { name: '' }, { flags: ['sl'] }),
      { memoryFeatures: new Set(['guard-pages', 'droppable']) },
      { code: 'no-such-memory', path: ['mapping 0x600000'], message: expect.stringContaining('mseal') },
    ],
    [
      'without guard pages',
      vma('anonymous', { name: '' }, { guards: [{ start: 0x60_0000, pages: 1 }] }),
      { memoryFeatures: new Set(['sealing', 'droppable']) },
      { code: 'no-such-memory', message: expect.stringContaining('MADV_GUARD_INSTALL') },
    ],
    [
      'without droppable memory',
      vma('droppable', {}),
      { memoryFeatures: new Set(['guard-pages', 'sealing']) },
      { code: 'no-such-memory', message: expect.stringContaining('MAP_DROPPABLE') },
    ],
    [
      'with too few huge pages',
      vma('huge-pages', { pageKiB: 2048 }, { end: 0x80_0000 }),
      {},
      { code: 'no-huge-pages', path: ['host'], message: 'It needs 1 huge pages of 2048 KiB, and 0 are left here.' },
    ],
    [
      'with too little asynchronous I/O',
      vma('aio-ring', aioRing, { end: 0x60_1000 }),
      { roomForAio: () => ({ free: 19, cpus: 2 }) },
      {
        code: 'no-aio',
        path: ['host'],
        message: 'It needs asynchronous I/O (io_setup) for 20 requests, and 19 are left here.',
      },
    ],
    [
      'with more processors, and so larger rings',
      vma('aio-ring', aioRing, { end: 0x60_1000 }),
      { roomForAio: () => ({ free: 20, cpus: 64 }) },
      { code: 'no-aio', path: [`pid ${task.pid}`, 'mapping 0x600000'] },
    ],
    ['without names for memory', {}, { mayNameMemory: false }, { code: 'no-memory-names', path: ['mapping 0x500000'] }],
    [
      'whose vDSO has another size',
      {},
      { kernelMemory: { ...goodHost.kernelMemory, mappings: new Map([['[vdso]', { start: 0, sizeBytes: 4096 }]]) } },
      { code: 'other-vdso' },
    ],
    [
      'without that vDSO',
      {},
      { kernelMemory: { ...goodHost.kernelMemory, mappings: new Map() } },
      { code: 'other-vdso' },
    ],
    [
      'without 32-bit programs',
      { task: { ...task, addressBits: 32 }, mappings: mappings32 },
      { kernelMemory32: () => undefined },
      { code: 'no-32-bit-programs', path: ['host'] },
    ],
    [
      'with another 32-bit vDSO',
      { task: { ...task, addressBits: 32 }, mappings: mappings32 },
      {},
      { code: 'other-vdso' },
    ],
    [
      'of another machine',
      { head: { ...head, state: { ...head.state, kernel: { ...head.state.kernel, machine: 'i686' } } } },
      {},
      { code: 'other-machine' },
    ],
    [
      'where the pid of the command that saved it is taken',
      { task: { ...task, saver: { pid: process.pid, leads: 'nothing' } } },
      {},
      { code: 'pid-in-use', path: [`pid ${process.pid}`] },
    ],
    [
      'where a pid is taken',
      { task: { ...task, threads: [PID, process.pid] } },
      {},
      { code: 'pid-in-use', path: [`pid ${process.pid}`] },
    ],
    [
      'without the CPUs that a thread was bound to',
      {},
      { status: { ...goodHost.status, cpusAllowed: 0b1100n } },
      { code: 'no-cpu-left', path: [`thread ${PID}`, 'affinity'] },
    ],
    [
      'without AVX, which a thread uses',
      {},
      { layout: layoutOf(0x203n, smallLayout.components.slice(1)) },
      { code: 'missing-cpu-feature', path: [`thread ${PID}`, 'registers'], message: expect.stringContaining('AVX') },
    ],
    [
      'that runs us with other rights',
      { aspects: { ...aspects, credentials: processStates.credentials } },
      { status: { ...goodHost.status, capEffective: goodHost.status.capEffective & ~(1n << 7n) } },
      { code: 'other-credentials', path: [`pid ${PID}`, 'credentials'] },
    ],
    [
      'without the working directory',
      { aspects: { ...aspects, fileSystemContext: { workingDirectory: '/no/such/folder', umask: 0 } } },
      {},
      { code: 'missing-directory', path: [`pid ${PID}`, 'working directory'] },
    ],
    [
      'without a folder that was open',
      {
        descriptions: new Map([
          [ROOT, { kind: 'directory', state: { path: '/no/such', flags: 0, position: 0n }, contentBytes: 0 }],
        ]),
      },
      {},
      { code: 'missing-directory', path: [`pid ${PID}`, 'fd 9'] },
    ],
  ];
  it.each(cases)('%s is refused', (_, changes, host, problem) => {
    expect(problemsOf(changes, host)).toEqual([expect.objectContaining(problem)]);
  });

  it('is told everything that stands in the way at once', () => {
    const kernelMemory = { ...goodHost.kernelMemory, vdsoSha256: 'beef' };
    const host = { mayChoosePids: false, kernelMemory, mayNameMemory: false, cpuFeatures: new Set<string>() };
    expect(problemsOf({}, host).map(({ code }) => code)).toEqual([
      'not-enough-rights',
      'missing-cpu-feature',
      'no-memory-names',
      'other-vdso',
    ]);
    expect(errorOf(() => planOf({}, host)).message).toContain('4 things stand in the way');
  });

  it('may lack a feature that programs do not choose their code by', () => {
    const features = (names: string[]) => ({
      ...head,
      state: { ...head.state, cpu: { ...head.state.cpu, features: names } },
    });
    expect(planOf({ head: features(['fpu', 'nonstop_tsc', 'hypervisor', 'xsaves']) }).pid).toBe(PID);
    expect(problemsOf({ head: features(['sse2', 'sha_ni', 'avx512f', 'hypervisor']) })[0]?.message).toContain(
      'lacks sha_ni, avx512f,',
    );
  });

  it('may lack a component that no thread uses', () => {
    const thread = threadModel({ xstate: stateOf(largeLayout, [2]), layout: largeLayout });
    expect(planOf({ threads: [thread] }).threads).toHaveLength(1);
  });

  it('may have another program file, if that is accepted', () => {
    const path = newFile();
    const saved = {
      file: { path, device: 1n, inode: 1n, sizeBytes: 1n, modifiedNs: 1n },
      buildId: '',
      writable: false,
    };
    const mappedFiles = new Map([[EXECUTABLE, saved]]);
    expect(problemsOf({ mappedFiles })).toMatchObject([{ code: 'changed-file', path: ['mapped file', path] }]);
    expect(planOf({ mappedFiles }, { acceptChangedFiles: true }).mappedFiles.get(EXECUTABLE)).toEqual(saved);
  });
});

describe('an image that no save makes is refused:', () => {
  const thread = (changes: Parameters<typeof threadModel>[0]): ModelChanges => ({
    threads: [threadModel(changes)],
  });
  const description = (kind: string, state: unknown, contentBytes = 0): ModelChanges => ({
    descriptions: new Map([[ROOT, { kind, state, contentBytes }]]),
    files: { entries: [] },
  });
  const ofSegment = (kind: string, others = {}): ModelChanges => ({
    ...description('system-v-segment', descriptorStates['system-v-segment'], 5000),
    ...vma(kind, { object: ROOT, ...(kind === 'system-v-segment' ? { readOnly: false } : {}) }, others),
  });
  const without = (states: Readonly<Record<string, unknown>>, name: string) =>
    Object.fromEntries(Object.entries(states).filter(([key]) => key !== name));

  const lies: [string, ModelChanges, RegExp][] = [
    [
      'a state of the process that nobody knows',
      { aspects: { ...aspects, magic: 1 } },
      /state of the process .*magic\.$/,
    ],
    [
      'a state of a thread that nobody knows',
      thread({ states: { ...threadStates, magic: 1 } }),
      /state of the thread .*magic\.$/,
    ],
    [
      'a process without its limits',
      { aspects: without(aspects, 'limits') },
      /^TASK_STATE record: limits: it is missing\.$/,
    ],
    [
      'a thread without its name',
      thread({ states: without(threadStates, 'name') }),
      /THREAD_STATE record of thread \d+: name: it is missing\.$/,
    ],
    ['a mapping of an unknown kind', vma('magic', {}), /mapping 0x600000: its kind magic is not known/],
    ['a 32-bit program with memory above', { task: task32 }, /where no 32-bit program has memory/],
    ['a mapping with a state of another kind', vma('anonymous', { file: 3 }), /mapping 0x600000: /],
    [
      'a mapping of a file that is not there',
      vma('private-file', { file: 99 }),
      /its file is object 99, which is not there/,
    ],
    [
      'an attachment beyond the end of its segment',
      ofSegment('system-v-segment', { offset: 4096 }),
      /mapping 0x600000: it goes beyond the end of its segment/,
    ],
    [
      'an attachment with flags that none has',
      ofSegment('system-v-segment', { flags: ['nr'] }),
      /mapping 0x600000: no segment has such flags/,
    ],
    [
      'an attachment of what is no segment',
      vma('system-v-segment', { object: ROOT, readOnly: false }),
      /its file is object 5, which is not there/,
    ],
    [
      'a segment that is mapped and not attached',
      ofSegment('shared-object'),
      /its file is object 5, which is not there/,
    ],
    ['a mapping with an unknown flag', vma('anonymous', { name: '' }, { flags: ['zz'] }), /flag "zz"/],
    ['memory of a file system of huge pages', vma('anonymous', { name: '' }, { flags: ['dd', 'ht'] }), /huge pages/],
    ['a description of an unknown kind', description('magic', {}), /its kind magic is not known/],
    [
      'an epoll that watches a descriptor that is not there',
      description('epoll', descriptorStates.epoll),
      /descriptor/,
    ],
    [
      'a socket in which waits what is not there',
      description('unix-socket', {
        ...descriptorStates['unix-socket'],
        own: { name: Buffer.from('\0own'), place: [] },
      }),
      /FD_DATA record of object \d+: object 1 waits in it, which is not there/,
    ],
    ['a description with a state of another kind', description('pipe', descriptorStates.directory), /FD_DATA record/],
    [
      'content of an object that has none',
      description('directory', descriptorStates.directory, 4096),
      /its content does not fit/,
    ],
    [
      'less content than the object says',
      description('unlinked-file', descriptorStates['unlinked-file'], 4999),
      /its content does not fit/,
    ],
    [
      'a mapped file without a path',
      { mappedFiles: new Map([[EXECUTABLE, {}]]) },
      /FNAME record of object 3: file is missing/,
    ],
  ];
  it.each(lies)('%s', (_, changes, message) => {
    expect(faultOf(changes)).toMatchObject({ code: 'bad-record', message: expect.stringMatching(message) });
  });

  const registers: [string, Parameters<typeof threadModel>[0], RegExp][] = [
    [
      'an instruction pointer in the kernel',
      { registers: { rip: 0xffff_ffff_8100_0000n } },
      /rip .* outside of user space/,
    ],
    ['a segment of the kernel', { registers: { cs: 0x10n } }, /cs is 0x10/],
    ['a thread area that is not there', { registers: { gs: 0x63n } }, /gs is 0x63/],
    ['an entry of an LDT that is not there', { registers: { ds: 0x7n } }, /ds is 0x7/],
    ['a 64-bit address in 32-bit code', { registers: { cs: 0x23n, rip: 0x1_0000_0000n } }, /rip is 0x100000000/],
    ['I/O privileges', { registers: { eflags: 0x3202n } }, /eflags is 0x3202/],
    ['a breakpoint in the kernel', { debugRegisters: [2n ** 63n, 0n, 0n, 0n, 0n, 0n, 0n, 1n] }, /dr0 is outside/],
    ['general detect', { debugRegisters: [0n, 0n, 0n, 0n, 0n, 0n, 0n, 0x2000n] }, /dr7 is 0x2000/],
    ['a component that XCR0 lacks', { layout: { ...smallLayout, xcr0: 3n } }, /XSTATE_BV/],
  ];
  it.each(registers)('%s in a register', (_, changes, message) => {
    expect(faultOf(thread(changes))).toMatchObject({ code: 'bad-register', message: expect.stringMatching(message) });
    expect(faultOf(thread(changes)).message).toContain(`CPU record of thread ${PID}`);
  });

  it('segments that no program may have', () => {
    const gate = Buffer.from([0, 0, 0x10, 0, 0, 0xec, 0, 0]);
    const areas = Buffer.concat([gate, Buffer.alloc(16)]);
    expect(faultOf(thread({ areas }))).toMatchObject({
      code: 'bad-register',
      message: `Segments of thread ${PID}: thread area 0 is a system segment.`,
    });
    expect(faultOf({ memoryContext: encodeMemoryContext(gate) })).toMatchObject({
      code: 'bad-register',
      message: `Segments of thread ${PID}: LDT entry 0 is a system segment.`,
    });
  });

  it('registers or thread areas that are cut', () => {
    const whole = threadModel();
    const cuts = [
      { ...whole, cpu: whole.cpu.subarray(0, -1) },
      { ...whole, thread: whole.thread.subarray(0, -1) },
    ];
    for (const cut of cuts) expect(faultOf({ threads: [cut] }).code).toBe('bad-record');
  });

  it('huge pages that are cut', () => {
    const cuts = [{ end: 0x70_0000 }, { start: 0x61_0000, end: 0x80_0000 }, { end: 0x80_0000, offset: 4096 }];
    for (const cut of cuts) {
      expect(faultOf(vma('huge-pages', { pageKiB: 2048 }, cut))).toMatchObject({
        code: 'bad-record',
        message: expect.stringContaining('it does not begin and end with a huge page'),
      });
    }
  });

  // Each of these passes the plan and is noticed, if at all, when the process has been made.
  const unnoticed: [string, ModelChanges][] = [
    [
      'an executable that is no file of the image',
      { aspects: { ...aspects, memoryMapFields: { ...processStates.memoryMapFields, executable: 99 } } },
    ],
    ['no vDSO', { mappings: mappings.slice(0, 2) }],
    ['two vDSOs', vma('kernel', { name: '[vdso]' })],
    [
      'AVX of another size than here',
      thread({ layout: { ...smallLayout, components: [{ index: 2, offset: 576, sizeBytes: 128 }] } }),
    ],
    ['AVX without a place', thread({ layout: { ...smallLayout, components: smallLayout.components.slice(1) } })],
  ];
  it.each(unnoticed)('%s', (_, changes) => {
    expect(() => planOf(changes)).toThrow(QuicksaveError);
  });
});
