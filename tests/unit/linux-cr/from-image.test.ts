import { describe, expect, it } from 'vitest';
import type { ImageModel } from '../../../src/image/model.ts';
import type { ProcessModel, ThreadModel } from '../../../src/image/process-model.ts';
import type { MappingState } from '../../../src/image/tree.ts';
import { planExport, type StreamToWrite } from '../../../src/linux-cr/from-image.ts';
import { CR_VMA, PAGE } from '../../../src/linux-cr/layout.ts';
import { statesAfterExecve, unsaidOfProcess, unsaidOfThread } from '../../../src/linux-cr/unsaid.ts';
import type { Problem } from '../../../src/support/errors.ts';
import { smallLayout, stateOf } from '../arch/x86/samples.ts';
import { type ModelChanges, mapping, modelWith, threadModel } from '../restart/models.ts';

const PROGRAM = 3;
const LIBRARY = 4;
const NULL = 5;
const LOG = 6;
const FOLDER = 7;
const CODE = 0x0804_8000;
const HEAP = 0x0900_0000;
const SAVED = 1_700_000_000_000;
const CHANGED = 1_600_000_000_000_000_000n;

const file = (path: string, modifiedNs = CHANGED) => ({ path, device: 1n, inode: 2n, sizeBytes: 3n, modifiedNs });

const fields = {
  ...{ startCode: CODE, endCode: CODE + 100, startData: CODE, endData: CODE + 10, startBrk: HEAP, brk: HEAP + 100 },
  ...{ startStack: HEAP, argStart: HEAP, argEnd: HEAP, envStart: HEAP, envEnd: HEAP },
};

const processStates: Readonly<Record<string, unknown>> = {
  ...statesAfterExecve(unsaidOfProcess),
  credentials: { uid: 0 },
  memoryMapFields: { ...fields, auxv: new Uint8Array(8), executable: PROGRAM },
};
const threadStates: Readonly<Record<string, unknown>> = {
  ...statesAfterExecve(unsaidOfThread),
  scheduling: { nice: 5 },
  name: { comm: 'w\xf6rker' },
};

const mappings: readonly MappingState[] = [
  mapping('private-file', CODE, { file: PROGRAM }, { protection: 5, offset: 4096 }),
  mapping('anonymous', HEAP, { name: '' }, { flags: ['lo', 'rr'], hasPages: true }),
  mapping('kernel', 0xf7fb_a000, { name: '[vvar]' }, { protection: 1 }),
  mapping('kernel', 0xf7fc_0000, { name: '[vdso]' }, { protection: 5 }),
];

const registers = { rip: 0x0804_8100n, rsp: 0x0900_1000n, cs: 0x23n, fs_base: 0n, gs_base: 0n };
const thread = threadModel({ registers, states: threadStates, xstate: stateOf(smallLayout, []) });
const aThread = { ...thread, state: { ...thread.state, signalMask: 0n } };

const descriptions: ImageModel['descriptions'] = new Map([
  [NULL, { kind: 'memory-device', state: { path: '/dev/null', minor: 3, flags: 0 }, contentBytes: 0 }],
  [
    LOG,
    { kind: 'regular-file', state: { file: file('/srv/log'), flags: 0x401, position: 6n, locks: [] }, contentBytes: 0 },
  ],
  [FOLDER, { kind: 'directory', state: { path: '/srv', flags: 0o200000, position: 3n }, contentBytes: 0 }],
]);

function image(changes: ModelChanges = {}): ImageModel {
  const model = modelWith({
    aspects: processStates,
    threads: [aThread],
    mappings,
    mappedFiles: new Map([
      [PROGRAM, { file: file('/srv/program'), buildId: '', writable: false }],
      [LIBRARY, { file: file('/srv/library'), buildId: '', writable: false }],
    ]),
    descriptions,
    files: {
      entries: [
        { fd: 0, object: NULL, closeOnExec: false },
        { fd: 1, object: LOG, closeOnExec: false },
        { fd: 2, object: LOG, closeOnExec: true },
        { fd: 5, object: FOLDER, closeOnExec: false },
      ],
    },
    ...changes,
  });
  const head = { ...model.head, state: { ...model.head.state, createdAt: SAVED } };
  const root: ProcessModel = { ...model.root, task: { ...model.root.task, addressBits: 32, ...changes.task } };
  return { ...model, head, root, processes: [root] };
}

function streamOf(model: ImageModel): StreamToWrite {
  const { stream, problems } = planExport(model);
  if (stream === undefined) throw new Error(problems.map(({ message }) => message).join('\n'));
  return stream;
}

const withProcess = (changes: Readonly<Record<string, unknown>>): ImageModel =>
  image({ aspects: { ...processStates, ...changes } });
const withThread = (changes: Readonly<Record<string, unknown>>): ImageModel =>
  image({ threads: [{ ...aThread, state: { ...aThread.state, aspects: { ...threadStates, ...changes } } }] });
const withMapping = (...more: MappingState[]): ImageModel => image({ mappings: [...mappings, ...more] });
const withDescription = (kind: string, state: unknown): ImageModel =>
  image({ descriptions: new Map([...descriptions, [LOG, { kind, state, contentBytes: 0 }]]) });

describe('an export to 2008', () => {
  it('has the mappings as the kernel of 2008 would have them', () => {
    const { vmas } = streamOf(image());
    expect(vmas).toEqual([
      ...[
        {
          type: CR_VMA.FILE,
          start: CODE,
          end: CODE + 2 * PAGE,
          pageProt: 0x25n,
          flags: 0x10_0075n,
          pageOffset: 1n,
          name: '/srv/program',
          keepsZeroPages: true,
        },
      ],
      ...[
        {
          type: CR_VMA.ANON,
          start: HEAP,
          end: HEAP + 2 * PAGE,
          pageProt: 0x8000_0000_0000_0025n,
          flags: 0x11_2073n,
          pageOffset: BigInt(HEAP / PAGE),
          name: undefined,
          keepsZeroPages: false,
        },
      ],
      expect.objectContaining({ type: CR_VMA.FILE, name: '[vvar]', flags: 0x4411n }),
      expect.objectContaining({ type: CR_VMA.FILE, name: '[vdso]:cafe', flags: 0x400_0075n }),
    ]);
  });

  it('has each description once, with the access mode in f_mode', () => {
    expect(streamOf(image()).descriptors).toEqual([
      {
        fd: 0,
        objref: 1,
        closeOnExec: 0,
        description: { type: 1, mode: 13, flags: 0, position: 0n, version: 0n, name: '/dev/null' },
      },
      {
        fd: 1,
        objref: 2,
        closeOnExec: 0,
        description: { type: 1, mode: 14, flags: 0x401, position: 6n, version: 0n, name: '/srv/log' },
      },
      { fd: 2, objref: 2, closeOnExec: 1, description: undefined },
      {
        fd: 5,
        objref: 3,
        closeOnExec: 0,
        description: { type: 2, mode: 13, flags: 0o200000, position: 3n, version: 0n, name: '/srv' },
      },
    ]);
  });

  it('is of the second in which the last of its files was changed, if that was after the save began', () => {
    expect(streamOf(image()).head.time).toBe(SAVED / 1000);
    const late = new Map([[PROGRAM, { file: file('/srv/program', BigInt(SAVED) * 1_000_000n + 1n) }]]);
    expect(streamOf(image({ mappedFiles: late })).head.time).toBe(SAVED / 1000 + 1);
  });

  it('says the version of the kernel in numbers and in words', () => {
    const { head } = streamOf(image());
    const [major, minor] = head.release.split('.').map(Number);
    expect(head).toMatchObject({ major, minor, rev: 2, flags: 1n });
  });

  it('remembers where a restartable sequence was registered', () => {
    const rseq = { address: 0xf7fb_9a60n, sizeBytes: 32, signature: 0x53053053 };
    const pointers = { robustList: 0n, robustListSize: 0n, clearTid: 1n, rseq };
    const { stream, losses } = planExport(withThread({ threadPointers: pointers }));
    expect(stream?.rseq).toEqual({ address: 0xf7fb_9a60, sizeBytes: 32 });
    expect(losses.join()).toContain('restartable sequence');
  });

  it('always says what a restart takes from its command', () => {
    const { losses } = planExport(image());
    expect(losses).toHaveLength(3);
    expect(losses.join()).toMatch(/credentials.*working directory.*size and time.*processor/s);
  });

  const told: readonly { what: string; model: ImageModel; says: string }[] = [
    {
      what: 'a name of a mapping',
      model: withMapping(mapping('anonymous', 0xf800_0000, { name: 'arena' })),
      says: 'arena',
    },
    {
      what: 'a wish for huge pages',
      model: withMapping(mapping('anonymous', 0xf800_0000, { name: '' }, { flags: ['hg'] })),
      says: 'huge pages',
    },
    {
      what: 'memory policies',
      model: withProcess({ mappingPolicies: [{ start: 0, end: 4096, mode: 1, nodes: new Uint8Array(1) }] }),
      says: 'memory policies',
    },
    {
      what: 'a memory policy',
      model: withThread({ memoryPolicy: { mode: 1, nodes: new Uint8Array(1) } }),
      says: 'memory policy',
    },
  ];
  it.each(told)('tells $what', ({ model, says }) => {
    const { losses, problems } = planExport(model);
    expect(problems).toEqual([]);
    expect(losses.join('\n')).toContain(says);
  });

  const { task, memory } = modelWith().root;
  const refused: readonly { what: string; model: ImageModel; says: string }[] = [
    { what: 'a 64-bit program', model: modelWith(), says: '64-bit program' },
    { what: 'two threads', model: image({ threads: [aThread, aThread] }), says: '2 threads' },
    {
      what: 'another memory layout',
      model: image({ task: { ...task, addressBits: 32, layoutBits: 0x200000 } }),
      says: 'memory layout',
    },
    {
      what: 'a stopped program',
      model: image({ task: { ...task, addressBits: 32, stopped: 'reported' } }),
      says: 'has stopped',
    },
    {
      what: 'a leader that has ended',
      model: image({ task: { ...task, addressBits: 32, threads: [task.pid + 1], leaderStatus: 3 } }),
      says: 'first thread that has ended',
    },
    {
      what: 'a saver',
      model: image({ task: { ...task, addressBits: 32, saver: { pid: 5, leads: 'group' } } }),
      says: 'saves itself',
    },
    { what: 'protection keys', model: image({ memory: { ...memory, allocatedKeys: 2 } }), says: 'protection keys' },
    {
      what: 'signal actions',
      model: withProcess({ signalActions: [{ signal: 10, handler: 5n, flags: 0n, restorer: 0n, mask: 0n }] }),
      says: 'SIGUSR1',
    },
    { what: 'settings', model: withProcess({ settings: { childSubreaper: 1, dumpable: 1 } }), says: 'prctl' },
    {
      what: 'settings of the thread',
      model: withThread({ settings: { personality: 0x0040000, speculation: [0, 0, 0] } }),
      says: 'personality',
    },
    {
      what: 'a speculation that was forbidden',
      model: withThread({ settings: { speculation: [4, 0, 0] } }),
      says: 'prctl',
    },
    { what: 'a running timer', model: withProcess({ intervalTimers: { real: { leftSec: 1n } } }), says: 'setitimer' },
    { what: 'timers', model: withProcess({ posixTimers: [{ id: 0 }] }), says: 'timer_create' },
    {
      what: 'registrations for membarrier',
      model: withProcess({ membarrier: { registrations: 8 } }),
      says: 'membarrier',
    },
    { what: 'locking of memory to come', model: withProcess({ futureLocking: { mode: 'all' } }), says: 'mlockall' },
    {
      what: 'signals that wait',
      model: withProcess({ sharedPendingSignals: [new Uint8Array(128)] }),
      says: 'signals that wait for it',
    },
    {
      what: 'signals that wait for the thread',
      model: withThread({ ownPendingSignals: [new Uint8Array(128)] }),
      says: 'for its thread',
    },
    {
      what: 'a signal stack',
      model: withThread({ signalStack: { address: 1n, flags: 0, sizeBytes: 8192n } }),
      says: 'sigaltstack',
    },
    {
      what: 'blocked signals',
      model: image({ threads: [{ ...aThread, state: { ...aThread.state, signalMask: 0x200n } }] }),
      says: 'SIGUSR1',
    },
    { what: 'an aspect that nobody knows', model: withProcess({ telepathy: {} }), says: 'its telepathy' },
    { what: 'AVX in use', model: image({ threads: [withUsedAvx()] }), says: 'AVX' },
    { what: 'a base of its own', model: image({ threads: [withBase()] }), says: 'the base of fs' },
    {
      what: 'shared memory',
      model: withMapping(mapping('shared-object', 0xf800_0000, { object: LOG })),
      says: 'shared-object',
    },
    {
      what: 'memory with a protection key',
      model: withMapping(mapping('anonymous', 0xf800_0000, { name: '' }, { protectionKey: 1 })),
      says: 'protection key',
    },
    {
      what: 'guard pages',
      model: withMapping(
        mapping('anonymous', 0xf800_0000, { name: '' }, { guards: [{ start: 0xf800_0000, pages: 1 }] }),
      ),
      says: 'guard pages',
    },
    {
      what: 'a seal',
      model: withMapping(mapping('anonymous', 0xf800_0000, { name: '' }, { flags: ['sl'] })),
      says: '"sl"',
    },
    {
      what: 'wiping on fork',
      model: withMapping(mapping('anonymous', 0xf800_0000, { name: '' }, { flags: ['wf'] })),
      says: 'WIPEONFORK',
    },
    {
      what: 'an executable elsewhere',
      model: image({ mappings: [mapping('private-file', CODE, { file: LIBRARY }), ...mappings.slice(1)] }),
      says: 'program file /srv/program',
    },
    { what: 'a pipe', model: withDescription('pipe', {}), says: '(pipe)' },
    { what: 'a terminal', model: withDescription('external-stream', {}), says: '(external-stream)' },
    {
      what: 'a lock',
      model: withDescription('regular-file', { file: file('/srv/log'), flags: 1, position: 0n, locks: [{}] }),
      says: 'locks of /srv/log',
    },
    {
      what: 'a regular file in the place of a device',
      model: withDescription('regular-file', { file: file('/dev/null'), flags: 1, position: 0n, locks: [] }),
      says: 'a regular file called /dev/null',
    },
    {
      what: 'a device by another name',
      model: withDescription('memory-device', { path: '/srv/null', minor: 3, flags: 0 }),
      says: 'a device called /srv/null',
    },
  ];

  function withUsedAvx(): ThreadModel {
    const xstate = stateOf(smallLayout, [2]);
    const avx = smallLayout.components.find(({ index }) => index === 2);
    xstate.writeUInt8(1, avx?.offset ?? 0);
    const used = threadModel({ registers, states: threadStates, xstate });
    return { ...used, state: aThread.state };
  }
  function withBase(): ThreadModel {
    const based = threadModel({
      registers: { ...registers, fs_base: 0x1000n },
      states: threadStates,
      xstate: stateOf(smallLayout, []),
    });
    return { ...based, state: aThread.state };
  }

  it.each(refused)('is refused with $what', ({ model, says }) => {
    const { problems, stream } = planExport(model);
    expect(stream).toBe(undefined);
    expect(problems.map(({ message }) => message).join('\n')).toContain(says);
    for (const { message, remedy } of problems) {
      expect(message).toMatch(/^A stream of 2008 has no place for .*\.$/);
      expect(remedy).toMatch(/^[A-Z].*\.$/);
    }
  });

  it('names every reason at once', () => {
    const model = image({
      aspects: { ...processStates, signalActions: [{ signal: 2, handler: 1n, flags: 0n, restorer: 0n, mask: 0n }] },
      threads: [{ ...aThread, state: { ...aThread.state, signalMask: 1n } }],
      mappings: [...mappings, mapping('shared-file', 0xf800_0000, { file: LIBRARY })],
      descriptions: new Map([...descriptions, [LOG, { kind: 'eventfd', state: {}, contentBytes: 0 }]]),
    });
    const paths = planExport(model).problems.map(({ path }: Problem) => path[1]);
    expect(paths.sort()).toEqual(['fd 1', 'mapping 0xf8000000', 'signal mask', 'signalActions']);
  });
});
