/** Collect: the state of a frozen process as records, pages excepted. Everything is read; nothing is changed. */
import { createHash } from 'node:crypto';
import { callsOfI386, usualCallAbi } from '../arch/x86/call-abi.ts';
import {
  CODE_BEFORE_CALL,
  isRestartedCall,
  resolvedAnew,
  resolvedHere,
  TIME_SIZE,
  type TimeReader,
  withOriginalCall,
} from '../arch/x86/interrupted-call.ts';
import { type CpuState, DEBUG_REGISTER_COUNT } from '../arch/x86/records.ts';
import { registerFaults } from '../arch/x86/register-sanity.ts';
import { type RegisterFile, readRegister } from '../arch/x86/registers.ts';
import { threadAreaTable } from '../arch/x86/segments.ts';
import { returnFromCall } from '../arch/x86/vdso-redirect.ts';
import { type XstateLayout, xcr0Of } from '../arch/x86/xstate.ts';
import type { FilesRecord, MappingState, TaskRecord } from '../image/tree.ts';
import { OPEN } from '../kernel/abi/fcntl.ts';
import { PERSONALITY } from '../kernel/abi/personality.ts';
import { DEBUG_REGISTERS_OFFSET } from '../kernel/abi/ptrace.ts';
import { openFile } from '../kernel/calls/descriptors.ts';
import { getThreadAreas, getXstate, hasIoPermissions, peekUser } from '../kernel/calls/ptrace.ts';
import type { OwnedFd } from '../kernel/owned-fd.ts';
import { readPersonality } from '../procfs/personality.ts';
import type { Waiting } from '../procfs/waiting.ts';
import type { ConnectionKeeper } from '../resources/connection-keeper.ts';
import type { MappedFile } from '../resources/mapped-file.ts';
import { processAspects, threadAspects } from '../resources/registry.ts';
import type { CollectedProcess, ProcessView } from '../resources/resource.ts';
import { wordsToKeep } from '../resources/vm-flags.ts';
import { asTid, type LocalFd, type Pid, remoteAddress } from '../support/brand.ts';
import { endOfSectionHeaders } from '../support/elf-extent.ts';
import type { Problem } from '../support/errors.ts';
import type { Agent } from '../tracee/agent.ts';
import { CallBatch } from '../tracee/call-batch.ts';
import { askForLocalDescriptors, readLocalDescriptors } from '../tracee/local-descriptors.ts';
import { askForProtectionKeys, type ProtectionKeys } from '../tracee/protection-keys.ts';
import { readRemote } from '../tracee/remote-memory.ts';
import { SingleCalls } from '../tracee/single-calls.ts';
import type { StoppedTask } from '../tracee/stopped-task.ts';
import { isVdsoMapping, readVdsoData } from '../tracee/vdso-data.ts';
import { siteForThread, type VdsoSite } from '../tracee/vdso-site.ts';
import {
  CollectedFiles,
  collectDescriptors,
  collectNameless,
  type Description,
  type ObjectContent,
  Objects,
} from './collect-files.ts';
import type { FrozenProcess } from './freeze.ts';
import { guardPages } from './page-plan.ts';
import type { ClassifiedDescriptor, ClassifiedMapping, Survey } from './preflight.ts';

export interface CollectedThread {
  readonly tid: number;
  readonly signalMask: bigint;
  readonly aspects: Record<string, unknown>;
  readonly cpu: CpuState;
  /** Descriptors of its three slots in the GDT. */
  readonly threadAreas: Buffer;
}

/** What the page plan does not say. */
export type CollectedMapping = Omit<MappingState, 'hasPages' | 'guards'> & Partial<Pick<MappingState, 'guards'>>;

export interface CollectedTree {
  readonly task: TaskRecord;
  readonly aspects: Record<string, unknown>;
  readonly threads: readonly CollectedThread[];
  readonly mappedFiles: readonly { objref: number; state: MappedFile }[];
  readonly descriptions: readonly Description[];
  readonly files: FilesRecord;
  /** Objects whose bytes go into the image, open until {@link closeContents}. */
  readonly contents: readonly ObjectContent[];
  readonly mappings: readonly CollectedMapping[];
  readonly protectionKeys: ProtectionKeys;
  /** The LDT, as far as it is in use. */
  readonly localDescriptors: Buffer;
  readonly remarks: readonly string[];
}

const MEMORY_OBJECT = 1;
const FILES_OBJECT = 2;

export interface CollectOptions {
  readonly frozen: FrozenProcess;
  readonly survey: Survey;
  readonly agent: Agent;
  readonly site: VdsoSite;
  readonly pidfd: LocalFd;
  readonly layout: XstateLayout;
  /** Where threads waited that were in restart_syscall(2) before they were stopped. */
  readonly waits: ReadonlyMap<number, Waiting>;
  readonly connections: ConnectionKeeper;
  /** Us, if the process saves itself. */
  readonly saver: TaskRecord['saver'];
  /** Found on the way; the caller refuses if there are any. */
  readonly problems: Problem[];
}

export function collectTree(options: CollectOptions): CollectedTree {
  const { frozen, survey, agent, problems } = options;
  const objects = new Objects();
  const files = new CollectedFiles(objects, problems);
  const leader = frozen.tasks[0];
  if (leader === undefined) throw new Error('a frozen process has a leader');
  const batch = new CallBatch(agent);
  const source = {
    ...survey.process,
    batch,
    leader: leader.tid,
    flagsOfNewMappings: survey.ownFlags,
    files,
    mappings: survey.allMappings,
  };
  // The thread first: it may ask ptrace(2) while the leader stands still, and a process with much to ask runs the batch.
  const leaderAspects = startThread(survey.process, leader, batch);
  const read = processAspects.map((aspect) => ({ name: aspect.name, finish: aspect.collect(source) }));
  const hasLocalDescriptors = askForLocalDescriptors(batch);
  const keys = askForProtectionKeys(
    batch,
    survey.mappings.map(({ mapping }) => ({
      protectionKey: mapping.protectionKey,
      isExecuteOnly: mapping.execute && !mapping.read && !mapping.write,
    })),
  );
  batch.run();
  const protectionKeys = keys();
  const vdso = describeVdso(frozen.pid, survey, batch);
  const localDescriptors = hasLocalDescriptors() ? readLocalDescriptors(batch) : Buffer.alloc(0);
  // What is read last may ask ptrace(2), for which the leader must stand still.
  agent.pause();
  const aspects = Object.fromEntries(read.map(({ name, finish }) => [name, finish()]));
  const mappings = describeMappings(survey.mappings, source, protectionKeys);
  const described = {
    pid: frozen.pid,
    pidfd: options.pidfd,
    descriptors: survey.descriptors,
    connections: options.connections,
    problems,
  };
  const { descriptions, table, contents } = collectDescriptors(described, objects);
  collectNameless(files.nameless, described, { descriptions, contents });
  const remarks: string[] = [];
  const threads = frozen.tasks.map((task, index) => ({
    tid: task.tid,
    signalMask: task.signalMask,
    aspects: index === 0 ? leaderAspects() : collectOther(task, options),
    ...collectRegisters(task, localDescriptors, options, remarks),
  }));
  return {
    task: { ...describeTask(options), vdso },
    aspects,
    threads,
    mappedFiles: files.found,
    descriptions,
    files: table,
    contents,
    mappings,
    protectionKeys,
    localDescriptors,
    remarks: [
      ...threads.flatMap((thread) => lossesOf(thread)),
      ...survey.descriptors.flatMap(({ sharing }) => sharing),
      ...survey.descriptors.flatMap((one, index) => remarkOn(one, descriptions[index]?.record.state)),
      ...remarks,
    ],
  };
}

const lossesOf = ({ tid, aspects }: CollectedThread): string[] =>
  threadAspects.flatMap((aspect) => aspect.loss?.(aspects[aspect.name], asTid(tid)) ?? []);

const LAYOUT_BITS = PERSONALITY.ADDR_COMPAT_LAYOUT | PERSONALITY.ADDR_LIMIT_3GB;

function describeTask({ frozen, survey, saver }: CollectOptions): Omit<TaskRecord, 'vdso'> {
  return {
    pid: frozen.pid,
    comm: survey.process.stat.comm.slice(0, 64),
    threads: frozen.tasks.map((task) => task.tid),
    memory: MEMORY_OBJECT,
    files: FILES_OBJECT,
    addressBits: survey.process.is32Bit ? 32 : 64,
    layoutBits: readPersonality(frozen.pid) & LAYOUT_BITS,
    ...(saver === undefined ? {} : { saver }),
  };
}

/** The code and the data that another kernel would not have. */
function describeVdso(pid: Pid, survey: Survey, batch: CallBatch): TaskRecord['vdso'] {
  const vdso = survey.mappings.find(({ mapping }) => mapping.special === '[vdso]')?.mapping;
  const image = elfPart(vdso === undefined ? Buffer.alloc(0) : readRemote(pid, vdso.start, vdso.end - vdso.start));
  const data = survey.mappings
    .filter(({ mapping }) => mapping !== vdso && isVdsoMapping(mapping.special))
    .map(({ mapping }) => mapping);
  return {
    sha256: createHash('sha256').update(image).digest('hex'),
    image,
    data: readVdsoData(batch, data),
  };
}

/** The vDSO without what lies behind its section headers, where our own foothold is. */
function elfPart(image: Buffer): Buffer {
  return image.subarray(0, endOfSectionHeaders(image) ?? image.length);
}

function startThread(
  { pid, is32Bit }: ProcessView,
  task: StoppedTask,
  batch: CallBatch,
): () => Record<string, unknown> {
  const read = threadAspects.map((aspect) => ({
    name: aspect.name,
    finish: aspect.collect({ pid, tid: task.tid, is32Bit, batch }),
  }));
  return () => Object.fromEntries(read.map(({ name, finish }) => [name, finish()]));
}

function collectOther(task: StoppedTask, { survey, agent, site }: CollectOptions): Record<string, unknown> {
  const home = { registers: resolvedHere(task.registers, task.callAbi), signalMask: task.signalMask };
  const ownSite = siteForThread(task.tid, site, home);
  task.leaveHome(ownSite);
  const batch = new CallBatch(new SingleCalls(agent, task, ownSite));
  const finish = startThread(survey.process, task, batch);
  batch.run();
  task.returnHome();
  return finish();
}

function collectRegisters(
  task: StoppedTask,
  localDescriptors: Buffer,
  options: CollectOptions,
  remarks: string[],
): Pick<CollectedThread, 'cpu' | 'threadAreas'> {
  const { tid } = task;
  const { layout, problems } = options;
  const path = [`thread ${tid}`];
  const xstate = getXstate(tid);
  const threadAreas = threadAreaTable(getThreadAreas(tid));
  if (hasIoPermissions(tid)) {
    problems.push({ code: 'io-permissions', path, message: 'It may use I/O ports (ioperm), which cannot be saved.' });
  }
  const registers = registersForImage(task, options, remarks);
  for (const fault of registerFaults(registers, { threadAreas, localDescriptors })) {
    problems.push({ code: 'odd-register', path, message: `Its register ${fault}: it could not be set again.` });
  }
  const debugRegisters = Array.from({ length: DEBUG_REGISTER_COUNT }, (_, index) =>
    index === 4 || index === 5 ? 0n : peekUser(tid, DEBUG_REGISTERS_OFFSET + index * 8),
  );
  const cpu = {
    registers,
    debugRegisters,
    xstate,
    layout: { ...layout, xcr0: xcr0Of(xstate), sizeBytes: xstate.length },
  };
  return { cpu, threadAreas };
}

const SYSCALL_LENGTH = 2;

/** The task's own, but with the call that it was in before an earlier stop: a new process has no restart block. */
function registersForImage(task: StoppedTask, options: CollectOptions, remarks: string[]): RegisterFile {
  const { tid, registers, callAbi } = task;
  let known: RegisterFile | undefined = registers;
  if (isRestartedCall(registers, callAbi)) {
    const timeAt = timeReader(options);
    known = withOriginalCall(registers, codeBeforeCall(task, options), waitsIn(task, options), callAbi, timeAt);
    if (known === undefined) remarks.push(`a sleep or wait of thread ${tid} answers EINTR after a restart`);
  }
  // The image tells the way of calling by the code segment alone.
  return callAbi === usualCallAbi(registers) ? (known ?? registers) : resolvedAnew(known ?? registers, callAbi);
}

/** Bytes that the vDSO's entry for calls of i386 pushes before the call: what returns to the caller stands above them. */
const PUSHED_IN_VDSO = 12;
/** `call gs:[0x10]`, through which libc calls that entry. */
const CALL_TO_VDSO_LENGTH = 7;

/** What stands before the call; in 32-bit code also what stands before the call of the vDSO's entry, if it is in there. */
function codeBeforeCall({ registers, callAbi }: StoppedTask, { frozen: { pid }, survey }: CollectOptions): Buffer {
  const rip = Number(readRegister(registers, 'rip'));
  const before = (end: number): Buffer =>
    isMapped(survey, end - CODE_BEFORE_CALL, CODE_BEFORE_CALL)
      ? readRemote(pid, remoteAddress(end - CODE_BEFORE_CALL), CODE_BEFORE_CALL)
      : Buffer.alloc(0);
  const code = before(rip - SYSCALL_LENGTH);
  if (callAbi !== callsOfI386 || !isMapped(survey, rip, returnFromCall.length)) return code;
  // Known by its form: after a restart on another kernel the old entry stands in memory of the program.
  if (!readRemote(pid, remoteAddress(rip), returnFromCall.length).equals(returnFromCall)) return code;
  const pushed = Number(readRegister(registers, 'rsp')) + PUSHED_IN_VDSO;
  if (!isMapped(survey, pushed, 4)) return code;
  const returnsTo = readRemote(pid, remoteAddress(pushed), 4).readUInt32LE(0);
  return Buffer.concat([code, SEPARATOR, before(returnsTo - CALL_TO_VDSO_LENGTH)]);
}

/** No number can reach across it. */
const SEPARATOR = Buffer.alloc(4);

const isMapped = (survey: Survey, address: number, sizeBytes: number): boolean =>
  survey.mappings.some(({ mapping }) => mapping.start <= address && address + sizeBytes <= mapping.end && mapping.read);

const timeReader =
  ({ frozen: { pid }, survey }: CollectOptions): TimeReader =>
  (address) =>
    isMapped(survey, address, TIME_SIZE) ? readRemote(pid, remoteAddress(address), TIME_SIZE) : undefined;

/** In which function of the kernel it waited before it was stopped, if that was the same wait. */
function waitsIn({ tid, registers }: StoppedTask, { waits }: CollectOptions): string {
  const waited = waits.get(tid);
  const isSameWait =
    waited?.instructionPointer === readRegister(registers, 'rip') &&
    waited.stackPointer === readRegister(registers, 'rsp');
  return isSameWait ? waited.function : '';
}

function describeMappings(
  mappings: readonly ClassifiedMapping[],
  source: CollectedProcess,
  keys: ProtectionKeys,
): CollectedMapping[] {
  let pagemap: OwnedFd | undefined;
  const openPagemap = (): LocalFd => {
    pagemap ??= openFile(`/proc/${source.pid}/pagemap`, OPEN.O_RDONLY);
    return pagemap.number;
  };
  try {
    return mappings.map((one) => {
      const guards = guardPages(openPagemap, one.mapping);
      return { ...describeMapping(one, source, keys), ...(guards.length > 0 ? { guards } : {}) };
    });
  } finally {
    pagemap?.close();
  }
}

function describeMapping(
  { mapping, kind }: ClassifiedMapping,
  source: CollectedProcess,
  { executeOnly }: ProtectionKeys,
): CollectedMapping {
  return {
    start: mapping.start,
    end: mapping.end,
    protection: (mapping.read ? 1 : 0) | (mapping.write ? 2 : 0) | (mapping.execute ? 4 : 0),
    offset: Number(mapping.offset),
    // The key for memory that can only be executed comes with its protection.
    protectionKey: mapping.protectionKey === executeOnly ? 0 : (mapping.protectionKey ?? 0),
    flags: wordsToKeep(mapping.vmFlags),
    kind: kind.kind,
    state: kind.collect(mapping, source),
  };
}

function remarkOn({ view, kind }: ClassifiedDescriptor, state: unknown): string[] {
  const remark = kind.remark?.(state, view.fd, undefined);
  return remark === undefined ? [] : [remark];
}
