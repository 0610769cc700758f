/** An image of a small process, put together as data, and a host on which it can be restarted. */
import { encodeCpu, encodeThread } from '../../../src/arch/x86/records.ts';
import { type RegisterName, withRegisters } from '../../../src/arch/x86/registers.ts';
import type { ImageModel } from '../../../src/image/model.ts';
import type { ProcessModel, ThreadModel } from '../../../src/image/process-model.ts';
import type { MappingState } from '../../../src/image/tree.ts';
import { readStatus } from '../../../src/procfs/status.ts';
import { collectMappedFile } from '../../../src/resources/mapped-file.ts';
import type { KernelMemory, RestartHost } from '../../../src/restart/host.ts';
import { planRestart, type RestartPlan } from '../../../src/restart/plan.ts';
import type { ProcessPlan } from '../../../src/restart/process-plan.ts';
import { asPid } from '../../../src/support/brand.ts';
import { running, smallLayout, stateOf } from '../arch/x86/samples.ts';
import { sampleHead } from '../image/streams.ts';
import { descriptorStates, EXECUTABLE, processStates, threadStates } from '../resources/samples.ts';

/** Beyond what any kernel gives (PID_MAX_LIMIT): nobody can have it. */
export const PID = 4_194_305;
const MEMORY = 1;
const FILES = 2;
export const NULL = 4;
export const ROOT = 5;
const VDSO_SIZE = 8192;

const ownPid = asPid(process.pid);
const allCapabilities = 2n ** 41n - 1n;
const status = {
  ...readStatus(ownPid),
  capEffective: allCapabilities,
  capPermitted: allCapabilities,
  cpusAllowed: 3n,
};

const kernelMemory = (vdsoSha256: string): KernelMemory => ({
  vdsoSha256,
  vdso: Buffer.alloc(0),
  mappings: new Map([['[vdso]', { start: 0x7fff_f7ff_0000, sizeBytes: VDSO_SIZE }]]),
});

export const goodHost: RestartHost = {
  clock: undefined,
  cgroups: { choice: 'join', mounts: [], own: new Map() },
  ownPid,
  status,
  acceptChangedFiles: false,
  keepsParent: true,
  maySetTimerNumbers: true,
  layout: smallLayout,
  cpuFeatures: new Set(['fpu', 'sse2', 'avx2']),
  kernelMemory: kernelMemory('cafe'),
  kernelMemory32: () => kernelMemory('face'),
  mayChoosePids: true,
  mayNameMemory: true,
  memoryFeatures: new Set(['guard-pages', 'sealing', 'droppable']),
  availableHugePages: () => 0,
  roomForAio: () => ({ free: 0, cpus: 1 }),
};

const { uid, gid, groups, capInheritable, capPermitted, capEffective, capBounding, capAmbient } = status;

export const aspects: Readonly<Record<string, unknown>> = {
  ...processStates,
  credentials: {
    ...{ uid, gid, groups: [...groups], capInheritable, capPermitted, capEffective, capBounding, capAmbient },
    securebits: 0,
  },
};

/** What a leader has is its process's. */
export const { fileSystemContext: _, ...statesOfLeader } = threadStates;

export function threadModel({
  tid = PID,
  registers = {},
  xstate = stateOf(smallLayout, [2, 9]),
  layout = smallLayout,
  debugRegisters = [0n, 0n, 0n, 0n, 0n, 0n, 0xffff_0ff0n, 0n],
  areas = new Uint8Array(24),
  // Who runs the tests need not be one who may give filters.
  states = { ...statesOfLeader, seccomp: { filters: [] } } as Readonly<Record<string, unknown>>,
}: Partial<{
  tid: number;
  registers: Partial<Record<RegisterName, bigint>>;
  xstate: Buffer;
  layout: typeof smallLayout;
  debugRegisters: readonly bigint[];
  areas: Uint8Array;
  states: Readonly<Record<string, unknown>>;
}> = {}): ThreadModel {
  return {
    tid,
    state: { signalMask: 0x1000n, waitedNs: 0n, aspects: states },
    thread: encodeThread(areas),
    cpu: encodeCpu({ registers: withRegisters(running, registers), debugRegisters, xstate, layout }),
    where: `thread ${tid}`,
  };
}

export function mapping(kind: string, start: number, state: unknown, others: Partial<MappingState> = {}): MappingState {
  return {
    start,
    end: start + 8192,
    protection: 3,
    offset: 0,
    protectionKey: 0,
    flags: [],
    guards: [],
    kind,
    state,
    hasPages: false,
    ...others,
  };
}

export const mappings: readonly MappingState[] = [
  mapping('private-file', 0x40_0000, { file: EXECUTABLE }, { protection: 5, offset: 4096 }),
  mapping('anonymous', 0x50_0000, { name: 'arena' }, { flags: ['nr', 'dd', 'lo'], hasPages: true }),
  mapping('kernel', 0x7fff_0000_0000, { name: '[vdso]' }, { end: 0x7fff_0000_0000 + VDSO_SIZE, protection: 5 }),
];

/** Of an image with one process: its own parts, and those of the image. */
export type ModelChanges = Partial<ProcessModel & Omit<ImageModel, 'root' | 'processes'>>;

/** A model without fault, with some parts exchanged. */
export function modelWith(changes: ModelChanges = {}): ImageModel {
  const { head, exited, mappedFiles, descriptions, origin, ...own } = changes;
  const root: ProcessModel = { ...process1, ...own };
  return {
    head: head ?? { formatVersion: 1, state: { ...sampleHead, cpu: { ...sampleHead.cpu, features: ['fpu', 'avx2'] } } },
    root,
    processes: [root],
    exited: exited ?? [],
    mappedFiles: mappedFiles ?? new Map([[EXECUTABLE, collectMappedFile(process.execPath, process.execPath, false)]]),
    descriptions:
      descriptions ??
      new Map([
        [NULL, { kind: 'memory-device', state: descriptorStates['memory-device'], contentBytes: 0 }],
        [ROOT, { kind: 'directory', state: descriptorStates.directory, contentBytes: 0 }],
      ]),
    ...(origin === undefined ? {} : { origin }),
  };
}

const process1: ProcessModel = {
  task: {
    pid: PID,
    comm: 'worker',
    exitSignal: 17,
    threads: [PID],
    memory: MEMORY,
    files: FILES,
    vdso: { sha256: 'cafe', data: [] },
    addressBits: 64,
    layoutBits: 0,
  },
  aspects,
  threads: [threadModel()],
  apart: [],
  files: {
    entries: [
      { fd: 0, object: NULL, closeOnExec: false },
      { fd: 9, object: ROOT, closeOnExec: true },
    ],
  },
  memory: { mappings: mappings.length, pages: 0, allocatedKeys: 0, executeOnlyKey: 0, relatives: [] },
  mappings,
};

/** The plan of an image with one process, with the parts of that. */
export function planOfOne(model: ImageModel, host: RestartHost): RestartPlan & ProcessPlan {
  const plan = planRestart(model, host);
  const [only] = plan.processes;
  if (only === undefined) throw new Error('a plan has a process');
  return { ...only, ...plan };
}
