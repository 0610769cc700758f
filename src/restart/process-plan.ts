/** Plan, the part of one process: its threads, mappings and aspects, as this host would make them again. */
import type { CpuState } from '../arch/x86/records.ts';
import { checkedRegisters, localDescriptorsOf } from '../arch/x86/thread-registers.ts';
import { componentName, missingComponents } from '../arch/x86/xstate.ts';
import type { ImageModel } from '../image/model.ts';
import type { ProcessModel, ThreadModel } from '../image/process-model.ts';
import { parseState } from '../image/schema.ts';
import type { MappingState } from '../image/tree.ts';
import { MAP } from '../kernel/abi/mman.ts';
import { PERSONALITY } from '../kernel/abi/personality.ts';
import { aioSlots } from '../resources/aio-room.ts';
import { descriptorKinds, mappingKinds, processAspects, threadAspects } from '../resources/registry.ts';
import type { AttachedSegment, MappingPlan, ProcessAspect, StateSchema, ThreadAspect } from '../resources/resource.ts';
import { adviceOf, isSealed, type Locking, lockingOf, mmapFlagsOf, refusedWords } from '../resources/vm-flags.ts';
import { asPid, asTid, type Pid, type Tid } from '../support/brand.ts';
import { ImageError, type Problem } from '../support/errors.ts';
import type { Span } from '../tracee/address-space.ts';
import type { ProtectionKeys } from '../tracee/protection-keys.ts';
import type { KernelMemory, MemoryFeature, RestartHost } from './host.ts';
import { isSameVdso, type OldMemory, type OldVdso, type OldVdsoRequest, planOldVdso } from './old-vdso.ts';
import { planThreadBirths, type ThreadBirth } from './thread-births.ts';

export interface PlannedMapping {
  readonly state: MappingState;
  /** Undefined: made by the kernel, to be moved to its place. */
  readonly made: MappingPlan | undefined;
  /** Of a part of an attachment. */
  readonly segment?: AttachedSegment;
  readonly specialName: string;
  /** What is in it, where the image has that not as pages. */
  readonly bytes?: Buffer;
  readonly advice: readonly number[];
  readonly locking: Locking;
  readonly sealed: boolean;
}

export interface PlannedThread {
  readonly tid: Tid;
  readonly signalMask: bigint;
  /** How long its call in flight had lasted, as far as is known. */
  readonly waitedNs: bigint;
  readonly cpu: CpuState;
  /** Descriptors of its three slots in the GDT. */
  readonly threadAreas: Uint8Array;
  readonly aspects: readonly { aspect: ThreadAspect<unknown>; state: unknown }[];
}

/** The command that the process ran to save itself. */
export interface PlannedSaver {
  readonly tid: Tid;
  readonly leads: 'nothing' | 'group' | 'session';
}

/** One process of the tree. */
export interface ProcessPlan {
  readonly pid: Pid;
  /** Undefined for the root. */
  readonly parent: number | undefined;
  /** The signal that tells its parent of its end, 0 for none. */
  readonly exitSignal: number;
  readonly is32Bit: boolean;
  /** Of personality(2), for execve(2). */
  readonly layoutBits: number;
  /** objref of the memory, which other processes may have too. */
  readonly memory: number;
  /** objref of what it does on signals, if other processes share that with it. */
  readonly handlers: number | undefined;
  readonly aspects: readonly { aspect: ProcessAspect<unknown>; state: unknown }[];
  /** The leader first, unless it has ended before them. */
  readonly threads: readonly PlannedThread[];
  /** A leader that ends before the threads run. */
  readonly endedLeader: EndedLeader | undefined;
  /** Undefined if it was saved from outside. */
  readonly saver: PlannedSaver | undefined;
  /** A signal has stopped it; `unreported`: its parent has not been told by waitpid(2) yet. */
  readonly stopped: 'reported' | 'unreported' | undefined;
  /** File objects that its mappings and aspects refer to. */
  readonly files: readonly number[];
  readonly mappings: readonly PlannedMapping[];
  /** Where the kernel's own mappings go, by name. */
  readonly kernelPlaces: ReadonlyMap<string, Span>;
  /** Undefined if the vDSO of the image is this kernel's. */
  readonly oldVdso: OldVdso | undefined;
  readonly protectionKeys: ProtectionKeys;
  /** The LDT. */
  readonly localDescriptors: Uint8Array;
  /** objref of its descriptor table, which other processes may have too. */
  readonly table: number;
  readonly entries: ProcessModel['files']['entries'];
  /** How its tasks are made, but the leader: those of its threads, behind a leader that ends. */
  readonly threadBirths: readonly ThreadBirth[];
  /** Descriptor tables that threads of it have, and not the leader: each with the first thread that has it. */
  readonly tablesApart: readonly TableApart[];
  /** The sentence about the vDSO, and what its aspects tell. */
  readonly remarks: readonly string[];
}

export interface EndedLeader {
  readonly comm: string;
  /** What it gives to exit(2). */
  readonly status: number;
}

/** A descriptor table of threads. */
export interface TableApart {
  /** The index of the task: that of the thread, or one more if there is a leader that ends. */
  readonly thread: number;
  readonly tid: Tid;
  readonly entries: ProcessModel['files']['entries'];
}

/** IA32_PAGE_OFFSET of asm/page_64_types.h. */
const ADDRESS_END_32 = 0xffff_e000;

/** What a plan is made from, and where what stands in the way is noted. */
export interface PlanRequest {
  readonly model: ImageModel;
  readonly host: RestartHost;
  readonly problems: Problem[];
  /** Processes in which an object of the image begins (DescriptorKind.leaderOf). */
  readonly leaders: ReadonlySet<number>;
  /** Objects of the image that are attached, not mapped. */
  readonly segments: ReadonlyMap<number, AttachedSegment>;
}

/** Throws ImageError for what no save makes. */
export function planProcess(process: ProcessModel, request: PlanRequest): ProcessPlan {
  const { model, host, problems } = request;
  const { task, memory } = process;
  const is32Bit = task.addressBits === 32;
  const kernelMemory = is32Bit ? host.kernelMemory32() : host.kernelMemory;
  if (kernelMemory === undefined) problems.push(no32BitPrograms);
  const pid = asPid(task.pid);
  const localDescriptors = localDescriptorsOf(process.memoryContext);
  const threads = process.threads.map((thread) => planThread(thread, localDescriptors, host, problems));
  const mappings = process.mappings.map((state) => planMapping(state, is32Bit, request));
  refuseOddKernelMappings(mappings);
  const registers = threads.map(({ cpu }) => cpu.registers);
  const { release } = model.head.state.kernel;
  const vdso = planVdso({ process, release, kernelMemory, is32Bit, registers, problems }, mappings);
  const aspects = planAspects(process, host, problems);
  const files = new Set([
    ...mappings.flatMap(({ made }) => (made === undefined || made.file === 0 || made.nameless ? [] : [made.file])),
    ...aspects.flatMap(({ aspect, state }) => aspect.filesOf?.(state) ?? []),
  ]);
  const missing = [...files].find((objref) => !model.mappedFiles.has(objref));
  if (missing !== undefined) {
    throw new ImageError('bad-record', `TASK_STATE record: it names the file object ${missing}, which is not there.`);
  }
  const plan = {
    pid,
    parent: task.parent,
    exitSignal: task.exitSignal,
    is32Bit,
    layoutBits: task.layoutBits & (PERSONALITY.ADDR_COMPAT_LAYOUT | PERSONALITY.ADDR_LIMIT_3GB),
    memory: task.memory,
    handlers: task.handlers,
    stopped: task.stopped,
    aspects,
    threads,
    endedLeader: task.leaderStatus === undefined ? undefined : { comm: task.comm, status: task.leaderStatus },
    saver: task.saver === undefined ? undefined : { tid: asTid(task.saver.pid), leads: task.saver.leads },
    files: [...files],
    ...vdso,
    protectionKeys: { allocated: memory.allocatedKeys, executeOnly: memory.executeOnlyKey },
    localDescriptors,
    table: task.files,
    entries: process.files.entries,
    ...planParts(process, threads),
  };
  // Only the root's parent is the restart command.
  const hostOfIt = task.parent === undefined ? host : { ...host, keepsParent: keepsChildren(model, task.parent) };
  return { ...plan, remarks: remarksOf(plan, hostOfIt, request.leaders.has(pid)) };
}

/** Not one whose leader ends: the kernel tells its children that their parent has ended (forget_original_parent()). */
const keepsChildren = ({ processes }: ImageModel, parent: number): boolean =>
  processes.find(({ task }) => task.pid === parent)?.task.leaderStatus === undefined;

/** Who shares which descriptor table, and working directory, root and umask. */
function planParts(
  { task, apart }: ProcessModel,
  threads: readonly PlannedThread[],
): Pick<ProcessPlan, 'threadBirths' | 'tablesApart'> {
  const own = new Map(apart.map((one) => [one.tid, one]));
  const tables = new Map<number, TableApart>();
  const first = task.leaderStatus === undefined ? 0 : 1;
  const parts = threads.map(({ tid, aspects }, index) => {
    const { files, fileSystem } = own.get(tid) ?? {};
    const hasOwn = aspects.some(({ aspect, state }) => aspect.name === FILE_SYSTEM && state !== undefined);
    if (hasOwn !== (fileSystem !== undefined)) {
      throw new ImageError('bad-record', `TASK record: what it says of thread ${tid} is not what THREAD_STATE says.`);
    }
    if (files !== undefined && !tables.has(files.objref)) {
      tables.set(files.objref, { thread: first + index, tid, entries: files.entries });
    }
    return { files: files?.objref ?? task.files, fileSystem: fileSystem ?? task.fileSystem ?? 0 };
  });
  // A leader that ends has what the first of them has.
  const ofTasks = [...parts.slice(0, first), ...parts];
  return { threadBirths: planThreadBirths(ofTasks), tablesApart: [...tables.values()] };
}

/** The aspect of processes, and of threads that have their own. */
export const FILE_SYSTEM = 'fileSystemContext';

const no32BitPrograms: Problem = {
  code: 'no-32-bit-programs',
  path: ['host'],
  message: 'It is a 32-bit program, and this kernel runs none.',
  remedy: 'Restart it on a kernel with CONFIG_IA32_EMULATION, not switched off by ia32_emulation=0.',
};

function remarksOf(plan: Omit<ProcessPlan, 'remarks'>, host: RestartHost, leads: boolean): string[] {
  return [
    plan.oldVdso?.remark,
    ...plan.aspects.map(({ aspect, state }) => aspect.remark?.(state, plan.pid, host, leads)),
    ...plan.threads.flatMap(({ tid, aspects }) =>
      aspects.map(({ aspect, state }) => aspect.remark?.(state, host, tid)),
    ),
  ].filter((remark) => remark !== undefined);
}

/** What every process has, once. */
function refuseOddKernelMappings(mappings: readonly PlannedMapping[]): void {
  const special = mappings.filter(({ made }) => made === undefined).map(({ specialName }) => specialName);
  if (!special.includes('[vdso]')) throw new ImageError('bad-record', 'The image has no mapping [vdso].');
  if (new Set(special).size !== special.length) {
    throw new ImageError('bad-record', 'The image has two mappings of the kernel with one name.');
  }
}

export function parse<State>(schema: StateSchema<State>, state: unknown, where: string): State {
  return parseState(schema, state, where) as State;
}

function planAspects(process: ProcessModel, host: RestartHost, problems: Problem[]): ProcessPlan['aspects'] {
  refuseUnknown(Object.keys(process.aspects), processAspects, 'process');
  const pid = asPid(process.task.pid);
  return processAspects.map((aspect) => {
    const state = parse(aspect.schema, process.aspects[aspect.name], `TASK_STATE record: ${aspect.name}`);
    problems.push(...(aspect.plan?.(state, host, pid) ?? []));
    return { aspect, state };
  });
}

function refuseUnknown(names: readonly string[], known: readonly { name: string }[], what: string): void {
  const unknown = names.find((name) => !known.some((one) => one.name === name));
  if (unknown === undefined) return;
  throw new ImageError(
    'bad-record',
    `The image has a state of the ${what} that this quicksave does not know: ${unknown.slice(0, 64)}.`,
  );
}

function planThread(
  thread: ThreadModel,
  localDescriptors: Uint8Array,
  host: RestartHost,
  problems: Problem[],
): PlannedThread {
  const tid = asTid(thread.tid);
  refuseUnknown(Object.keys(thread.state.aspects), threadAspects, 'thread');
  const { cpu, threadAreas } = checkedRegisters(thread, localDescriptors);
  for (const index of missingComponents(cpu.xstate, cpu.layout, host.layout)) {
    problems.push({
      code: 'missing-cpu-feature',
      path: [`thread ${tid}`, 'registers'],
      message: `It uses ${componentName(index)}, which this processor does not have, or not in that size.`,
      remedy: 'Restart it on a host whose processor has it.',
    });
  }
  const aspects = threadAspects.map((aspect) => {
    const state = parse(
      aspect.schema,
      thread.state.aspects[aspect.name],
      `THREAD_STATE record of thread ${tid}: ${aspect.name}`,
    );
    problems.push(...(aspect.plan?.(state, host, tid) ?? []));
    return { aspect, state };
  });
  const { signalMask, waitedNs } = thread.state;
  return { tid, signalMask, waitedNs, cpu, threadAreas, aspects };
}

function planMapping(state: MappingState, is32Bit: boolean, request: PlanRequest): PlannedMapping {
  const { host, problems } = request;
  const where = `VMA record: mapping 0x${state.start.toString(16)}`;
  const kind = mappingKinds.find((candidate) => candidate.kind === state.kind);
  if (kind === undefined) throw new ImageError('bad-record', `${where}: its kind ${state.kind} is not known.`);
  if (is32Bit && state.end > ADDRESS_END_32) {
    throw new ImageError('bad-record', `${where}: it lies where no 32-bit program has memory.`);
  }
  const own = parse(kind.schema, state.state, where);
  const made = kind.mapping(own);
  const [refused] = made === undefined ? [] : refusedWords(state.flags);
  if (refused !== undefined) throw new ImageError('bad-record', `${where}: it has ${refused}.`);
  if (made !== undefined && made.file !== 0 && !hasFile(request, made)) {
    throw new ImageError('bad-record', `${where}: its file is object ${made.file}, which is not there.`);
  }
  refuseCutHugePages(state, made, where);
  if (made?.aio !== undefined && aioSlots(state.end - state.start) !== made.aio.slots) {
    throw new ImageError('bad-record', `${where}: its ring has not as many slots as it has room for.`);
  }
  const specialName = made === undefined ? (own as { name: string }).name : '';
  if (made !== undefined && made.name !== '' && !host.mayNameMemory) {
    problems.push({
      code: 'no-memory-names',
      path: [`mapping 0x${state.start.toString(16)}`],
      message: `It is called "${made.name}", and this kernel has no names for memory (CONFIG_ANON_VMA_NAME).`,
      remedy: 'Restart it on a kernel that has them.',
    });
  }
  if (made !== undefined) problems.push(...missingFeatures(state, host));
  const flags = made === undefined ? 0 : made.flags | mmapFlagsOf(state.flags) | MAP.MAP_FIXED_NOREPLACE;
  return {
    state,
    made: made === undefined ? undefined : { ...made, flags },
    ...segmentOf(state, made, request),
    specialName,
    advice: adviceOf(state.flags),
    locking: lockingOf(state.flags),
    sealed: isSealed(state.flags),
  };
}

const PAGE = 4096;

function refuseCutHugePages({ start, end, offset }: MappingState, made: MappingPlan | undefined, where: string): void {
  const size = made?.hugePageBytes;
  if (size === undefined || [start, end, offset].every((one) => one % size === 0)) return;
  throw new ImageError('bad-record', `${where}: it does not begin and end with a huge page.`);
}

function segmentOf(
  state: MappingState,
  made: MappingPlan | undefined,
  { segments }: PlanRequest,
): Pick<PlannedMapping, 'segment'> {
  const segment = made?.attach === undefined ? undefined : segments.get(made.file);
  if (segment === undefined) return {};
  const where = `VMA record: mapping 0x${state.start.toString(16)}`;
  if (state.offset + state.end - state.start > Math.ceil(segment.sizeBytes / PAGE) * PAGE) {
    throw new ImageError('bad-record', `${where}: it goes beyond the end of its segment.`);
  }
  if (mmapFlagsOf(state.flags) !== 0) throw new ImageError('bad-record', `${where}: no segment has such flags.`);
  return { segment };
}

const FEATURES: Record<MemoryFeature, string> = {
  'guard-pages': 'guard pages (MADV_GUARD_INSTALL, Linux 6.13)',
  sealing: 'a seal (mseal, Linux 6.10)',
  droppable: 'memory that the kernel may drop (MAP_DROPPABLE, Linux 6.11)',
};

function missingFeatures({ start, guards, flags, kind }: MappingState, host: RestartHost): Problem[] {
  const needed: MemoryFeature[] = [
    ...(guards.length > 0 ? (['guard-pages'] as const) : []),
    ...(isSealed(flags) ? (['sealing'] as const) : []),
    ...(kind === 'droppable' ? (['droppable'] as const) : []),
  ];
  return needed
    .filter((feature) => !host.memoryFeatures.has(feature))
    .map((feature) => ({
      code: 'no-such-memory',
      path: [`mapping 0x${start.toString(16)}`],
      message: `It has ${FEATURES[feature]}, which this kernel does not know.`,
      remedy: 'Restart it on a newer kernel.',
    }));
}

/** A file with a name, a description that has one no more, or a segment to be attached. */
function hasFile({ model, segments }: PlanRequest, { file, nameless, attach }: MappingPlan): boolean {
  if (attach !== undefined || segments.has(file)) return attach !== undefined && segments.has(file);
  return nameless ? mayBeMapped(model.descriptions.get(file)?.kind) : model.mappedFiles.has(file);
}

const mayBeMapped = (kind: string | undefined): boolean =>
  descriptorKinds.some(
    (candidate) => candidate.kind === kind && (candidate.contentTarget !== undefined || candidate.isMapped === true),
  );

/** The request of {@link planOldVdso}, on a kernel that may run no such programs at all. */
type VdsoRequest = Omit<OldVdsoRequest, 'kernelMemory'> & { readonly kernelMemory: KernelMemory | undefined };

function planVdso(
  request: VdsoRequest,
  mappings: readonly PlannedMapping[],
): Pick<ProcessPlan, 'mappings' | 'kernelPlaces' | 'oldVdso'> {
  const { process, kernelMemory } = request;
  const kernelMade = mappings.filter(({ made }) => made === undefined);
  const named = kernelMade.map(({ specialName: name, state }) => ({ name, state }));
  const kernelPlaces = new Map(named.map(({ name, state }) => [name, state]));
  if (kernelMemory === undefined || isSameVdso(process.task, named, kernelMemory)) {
    return { mappings, kernelPlaces, oldVdso: undefined };
  }
  const oldVdso = planOldVdso({ ...request, kernelMemory }, named);
  return {
    mappings: [...mappings.filter(({ made }) => made !== undefined), ...(oldVdso?.memory ?? []).map(madeOfBytes)],
    kernelPlaces: oldVdso?.places ?? kernelPlaces,
    oldVdso,
  };
}

/** Memory of the program as if the image had it as pages. */
const madeOfBytes = ({ start, end, protection, bytes }: OldMemory): PlannedMapping => ({
  state: {
    start,
    end,
    protection,
    offset: 0,
    protectionKey: 0,
    flags: [],
    kind: '',
    state: {},
    hasPages: true,
    guards: [],
  },
  made: { flags: MAP.MAP_PRIVATE | MAP.MAP_ANONYMOUS | MAP.MAP_FIXED_NOREPLACE, file: 0, name: '' },
  specialName: '',
  advice: [],
  locking: 'none',
  sealed: false,
  bytes,
});
