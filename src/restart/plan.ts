/**
 * Plan: everything that stands in the way of bringing an image back on this host, found before any process is made. Only
 * questions are asked; the result can be printed.
 */
import type { CpuState } from '../arch/x86/records.ts';
import { checkedRegisters, localDescriptorsOf } from '../arch/x86/thread-registers.ts';
import { componentName, missingComponents } from '../arch/x86/xstate.ts';
import type { ImageModel, ThreadModel } from '../image/model.ts';
import { parseState } from '../image/schema.ts';
import type { MappingState } from '../image/tree.ts';
import { MAP } from '../kernel/abi/mman.ts';
import { PERSONALITY } from '../kernel/abi/personality.ts';
import { RLIMIT } from '../kernel/abi/resource.ts';
import { getLimit } from '../kernel/calls/task-attributes.ts';
import { type MappedFile, mappedFileSchema, planMappedFile } from '../resources/mapped-file.ts';
import { noPidChoice } from '../resources/pid-choice.ts';
import { descriptorKinds, mappingKinds, processAspects, threadAspects } from '../resources/registry.ts';
import type { DescriptorKind, MappingPlan, ProcessAspect, StateSchema, ThreadAspect } from '../resources/resource.ts';
import { type Signals, signalsSchema } from '../resources/signal-driven.ts';
import { adviceOf, isSealed, type Locking, lockingOf, mmapFlagsOf, refusedWords } from '../resources/vm-flags.ts';
import { asPid, asTid, type Tid } from '../support/brand.ts';
import { ImageError, type Problem, RefusedError } from '../support/errors.ts';
import type { Span } from '../tracee/address-space.ts';
import type { ProtectionKeys } from '../tracee/protection-keys.ts';
import type { KernelMemory, MemoryFeature, RestartHost } from './host.ts';
import { isSameVdso, type OldMemory, type OldVdso, type OldVdsoRequest, planOldVdso } from './old-vdso.ts';
import { takenPids } from './taken-pids.ts';

export interface PlannedMapping {
  readonly state: MappingState;
  /** Undefined: made by the kernel, to be moved to its place. */
  readonly made: (MappingPlan & { readonly flags: number }) | undefined;
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
  readonly cpu: CpuState;
  /** Descriptors of its three slots in the GDT. */
  readonly threadAreas: Uint8Array;
  readonly aspects: readonly { aspect: ThreadAspect<unknown>; state: unknown }[];
}

export interface PlannedDescription {
  readonly objref: number;
  readonly kind: DescriptorKind<unknown>;
  readonly state: unknown;
  /** Undefined if it signals nobody. */
  readonly signals: Signals | undefined;
}

/** The command that the process ran to save itself. */
export interface PlannedSaver {
  readonly tid: Tid;
  readonly leads: 'nothing' | 'group' | 'session';
}

export interface RestartPlan {
  readonly pid: ReturnType<typeof asPid>;
  readonly is32Bit: boolean;
  /** Of personality(2), for execve(2). */
  readonly layoutBits: number;
  /** objref of the memory. */
  readonly memory: number;
  readonly aspects: readonly { aspect: ProcessAspect<unknown>; state: unknown }[];
  readonly threads: readonly PlannedThread[];
  /** Undefined if it was saved from outside. */
  readonly saver: PlannedSaver | undefined;
  readonly mappedFiles: ReadonlyMap<number, MappedFile>;
  readonly mappings: readonly PlannedMapping[];
  /** Where the kernel's own mappings go, by name. */
  readonly kernelPlaces: ReadonlyMap<string, Span>;
  /** Undefined if the vDSO of the image is this kernel's. */
  readonly oldVdso: OldVdso | undefined;
  readonly protectionKeys: ProtectionKeys;
  /** The LDT. */
  readonly localDescriptors: Uint8Array;
  readonly descriptions: readonly PlannedDescription[];
  readonly entries: ImageModel['files']['entries'];
  readonly remarks: readonly string[];
}

/** IA32_PAGE_OFFSET of asm/page_64_types.h. */
const ADDRESS_END_32 = 0xffff_e000;
/** Throws RefusedError with every reason, or ImageError for an image that no save makes. */
export function planRestart(model: ImageModel, host: RestartHost): RestartPlan {
  refuseIncremental(model);
  const is32Bit = model.task.addressBits === 32;
  const kernelMemory = is32Bit ? host.kernelMemory32() : host.kernelMemory;
  const problems: Problem[] = [
    ...hostProblems(model, host, kernelMemory !== undefined),
    ...(model.origin?.problems ?? []),
  ];
  const pid = asPid(model.task.pid);
  const localDescriptors = localDescriptorsOf(model.memoryContext);
  const threads = model.threads.map((thread) => planThread(thread, localDescriptors, host, problems));
  const mappings = model.mappings.map((state) => planMapping(state, model, host, problems));
  refuseOddKernelMappings(mappings);
  const registers = threads.map(({ cpu }) => cpu.registers);
  const vdso = planVdso({ model, kernelMemory, is32Bit, registers, problems }, mappings);
  const plan: RestartPlan = {
    pid,
    is32Bit,
    layoutBits: model.task.layoutBits & (PERSONALITY.ADDR_COMPAT_LAYOUT | PERSONALITY.ADDR_LIMIT_3GB),
    memory: model.task.memory,
    aspects: planProcess(model, host, problems),
    threads,
    saver: planSaver(model),
    mappedFiles: planFiles(model, host, problems),
    ...vdso,
    protectionKeys: { allocated: model.memory.allocatedKeys, executeOnly: model.memory.executeOnlyKey },
    localDescriptors,
    descriptions: planDescriptions(model, host, problems),
    entries: model.files.entries,
    remarks: [],
  };
  refuseIncomplete(plan);
  if (problems.length > 0) {
    const reasons = problems.length === 1 ? 'one thing stands' : `${problems.length} things stand`;
    throw new RefusedError(`The image of process ${pid} cannot be restarted here: ${reasons} in the way.`, problems);
  }
  return { ...plan, remarks: [...(model.origin?.remarks ?? []), ...remarksOf(plan, host)] };
}

/** Every number that a task of the restarted process has. */
export const numbersOf = ({ threads, saver }: ImageModel['task']): number[] =>
  saver === undefined ? [...threads] : [...threads, saver.pid];

const planSaver = ({ task: { saver } }: ImageModel): PlannedSaver | undefined =>
  saver === undefined ? undefined : { tid: asTid(saver.pid), leads: saver.leads };

function refuseIncremental({ head }: ImageModel): void {
  if (head.state.parentId === undefined) return;
  throw new ImageError('incremental-image', `The image only has what changed since image ${head.state.parentId}.`, {
    remedy: 'Restart it with a quicksave that knows incremental images.',
  });
}

/** What every process has, once. */
function refuseOddKernelMappings(mappings: readonly PlannedMapping[]): void {
  const special = mappings.filter(({ made }) => made === undefined).map(({ specialName }) => specialName);
  if (!special.includes('[vdso]')) throw new ImageError('bad-record', 'The image has no mapping [vdso].');
  if (new Set(special).size !== special.length) {
    throw new ImageError('bad-record', 'The image has two mappings of the kernel with one name.');
  }
}

/** References between the kinds. */
function refuseIncomplete({ aspects, mappedFiles }: RestartPlan): void {
  const missing = aspects
    .flatMap(({ aspect, state }) => aspect.filesOf?.(state) ?? [])
    .find((objref) => !mappedFiles.has(objref));
  if (missing !== undefined) {
    throw new ImageError('bad-record', `TASK_STATE record: it names the file object ${missing}, which is not there.`);
  }
}

function hostProblems(model: ImageModel, host: RestartHost, runsSuchPrograms: boolean): Problem[] {
  const problems = [...takenPids(numbersOf(model.task)), ...tooManyDescriptors(model)];
  if (!host.mayChoosePids) problems.push(noPidChoice);
  if (model.head.state.kernel.machine !== 'x86_64') {
    problems.push({
      code: 'other-machine',
      path: ['host'],
      message: `The image is of a ${model.head.state.kernel.machine} machine.`,
    });
  }
  if (!runsSuchPrograms) {
    problems.push({
      code: 'no-32-bit-programs',
      path: ['host'],
      message: 'It is a 32-bit program, and this kernel runs none.',
      remedy: 'Restart it on a kernel with CONFIG_IA32_EMULATION, not switched off by ia32_emulation=0.',
    });
  }
  const missing = model.head.state.cpu.features.filter((name) => isProgramFeature(name) && !host.cpuFeatures.has(name));
  if (missing.length > 0) {
    problems.push({
      code: 'missing-cpu-feature',
      path: ['host'],
      message: `This processor lacks ${missing.join(', ')}, which the program may have chosen to use.`,
      remedy: 'Restart it on a host whose processor has them.',
    });
  }
  return problems;
}

/** What the restart has open itself, at most. */
const OWN_DESCRIPTORS = 64;

/** All descriptions are made in our own table, before they are handed over. */
function tooManyDescriptors({ descriptions, mappedFiles }: ImageModel): Problem[] {
  const needed = descriptions.size + mappedFiles.size + OWN_DESCRIPTORS;
  const { soft } = getLimit(asPid(process.pid), RLIMIT.RLIMIT_NOFILE);
  if (soft >= needed) return [];
  return [
    {
      code: 'too-many-descriptors',
      path: ['host'],
      message: `The image has ${descriptions.size} open files, and the restart may only have ${soft} open itself.`,
      remedy: `Raise the limit: ulimit -n ${needed}`,
    },
  ];
}

/** Instruction sets, as /proc/cpuinfo calls them: what programs look for when they choose their code. */
const isProgramFeature = (name: string): boolean =>
  /^(sse|ssse3|avx|fma|bmi|adx|sha|aes|vaes|vpclmul|pclmul|gfni|popcnt|abm|movbe|f16c|rdrand|rdseed|xsave$|fsgsbase|clwb|clflushopt|erms|fsrm|cx16|lahf|rdtscp|rdpid|amx|pku|ospke|tbm|3dnow|mmx)/.test(
    name,
  );

function parse<State>(schema: StateSchema<State>, state: unknown, where: string): State {
  return parseState(schema, state, where) as State;
}

function planProcess(model: ImageModel, host: RestartHost, problems: Problem[]): RestartPlan['aspects'] {
  refuseUnknown(Object.keys(model.aspects), processAspects, 'process');
  const pid = asPid(model.task.pid);
  return processAspects.map((aspect) => {
    const state = parse(aspect.schema, model.aspects[aspect.name], `TASK_STATE record: ${aspect.name}`);
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
  return { tid, signalMask: thread.state.signalMask, cpu, threadAreas, aspects };
}

function planFiles(model: ImageModel, host: RestartHost, problems: Problem[]): Map<number, MappedFile> {
  const files = new Map<number, MappedFile>();
  for (const [objref, saved] of model.mappedFiles) {
    const state = parseState(mappedFileSchema, saved, `FNAME record of object ${objref}`);
    files.set(objref, state);
    problems.push(...planMappedFile(state, host));
  }
  return files;
}

function planMapping(state: MappingState, model: ImageModel, host: RestartHost, problems: Problem[]): PlannedMapping {
  const where = `VMA record: mapping 0x${state.start.toString(16)}`;
  const kind = mappingKinds.find((candidate) => candidate.kind === state.kind);
  if (kind === undefined) throw new ImageError('bad-record', `${where}: its kind ${state.kind} is not known.`);
  if (model.task.addressBits === 32 && state.end > ADDRESS_END_32) {
    throw new ImageError('bad-record', `${where}: it lies where no 32-bit program has memory.`);
  }
  const own = parse(kind.schema, state.state, where);
  const made = kind.mapping(own);
  const [refused] = made === undefined ? [] : refusedWords(state.flags);
  if (refused !== undefined) throw new ImageError('bad-record', `${where}: it has ${refused}.`);
  if (made !== undefined && made.file !== 0 && !hasFile(model, made)) {
    throw new ImageError('bad-record', `${where}: its file is object ${made.file}, which is not there.`);
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
    specialName,
    advice: adviceOf(state.flags),
    locking: lockingOf(state.flags),
    sealed: isSealed(state.flags),
  };
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

/** A file with a name, or a description that has one no more. */
const hasFile = ({ descriptions, mappedFiles }: ImageModel, { file, nameless }: MappingPlan): boolean =>
  nameless ? mayBeMapped(descriptions.get(file)?.kind) : mappedFiles.has(file);

const mayBeMapped = (kind: string | undefined): boolean =>
  descriptorKinds.some((candidate) => candidate.kind === kind && candidate.contentTarget !== undefined);

/** The request of {@link planOldVdso}, on a kernel that may run no such programs at all. */
type VdsoRequest = Omit<OldVdsoRequest, 'kernelMemory'> & { readonly kernelMemory: KernelMemory | undefined };

function planVdso(
  request: VdsoRequest,
  mappings: readonly PlannedMapping[],
): Pick<RestartPlan, 'mappings' | 'kernelPlaces' | 'oldVdso'> {
  const { model, kernelMemory } = request;
  const kernelMade = mappings.filter(({ made }) => made === undefined);
  const named = kernelMade.map(({ specialName: name, state }) => ({ name, state }));
  const kernelPlaces = new Map(named.map(({ name, state }) => [name, state]));
  if (kernelMemory === undefined || isSameVdso(model.task, named, kernelMemory)) {
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

function planDescriptions(model: ImageModel, host: RestartHost, problems: Problem[]): PlannedDescription[] {
  const numbers = new Set(model.files.entries.map(({ fd }) => fd));
  return [...model.descriptions].map(([objref, record]) => {
    const kind = descriptorKinds.find((candidate) => candidate.kind === record.kind);
    if (kind === undefined) {
      throw new ImageError('bad-record', `FD_DATA record of object ${objref}: its kind ${record.kind} is not known.`);
    }
    const state = parse(kind.schema, record.state, `FD_DATA record of object ${objref}`);
    if ((kind.contentBytes?.(state) ?? 0) !== record.contentBytes) {
      throw new ImageError('bad-record', `FD_DATA record of object ${objref}: its content does not fit its state.`);
    }
    const missing = kind.descriptorsOf?.(state).find((number) => !numbers.has(number));
    if (missing !== undefined) {
      throw new ImageError(
        'bad-record',
        `FD_DATA record of object ${objref}: it names descriptor ${missing}, which is not there.`,
      );
    }
    const fd = model.files.entries.find((entry) => entry.object === objref)?.fd;
    problems.push(...(kind.plan?.(state, host, [`pid ${model.task.pid}`, `fd ${fd ?? '?'}`]) ?? []));
    const signals =
      record.signals === undefined
        ? undefined
        : parse(signalsSchema, record.signals, `FD_DATA record of object ${objref}: signals`);
    return { objref, kind, state, signals };
  });
}

function remarksOf(plan: RestartPlan, host: RestartHost): string[] {
  const fdOf = (objref: number): number => plan.entries.find((entry) => entry.object === objref)?.fd ?? -1;
  const leads = plan.descriptions.some(({ kind, state }) => kind.leaderOf?.(state) === plan.pid);
  return [
    plan.oldVdso?.remark,
    ...plan.aspects.map(({ aspect, state }) => aspect.remark?.(state, plan.pid, host, leads)),
    ...plan.threads.flatMap(({ tid, aspects }) =>
      aspects.map(({ aspect, state }) => aspect.remark?.(state, host, tid)),
    ),
    ...plan.descriptions.map(({ objref, kind, state }) => kind.remark?.(state, fdOf(objref) as never, host)),
  ].filter((remark) => remark !== undefined);
}
