/** Collect: the state of a frozen process as records, pages excepted. Everything is read; nothing is changed. */
import { createHash } from 'node:crypto';
import type { XstateLayout } from '../arch/x86/xstate.ts';
import { planHierarchy } from '../image/hierarchy.ts';
import { planMemoryBirths } from '../image/memory-births.ts';
import { planSharedBirths } from '../image/shared-births.ts';
import type { ExitedRecord, FilesRecord, MappingState, TaskRecord } from '../image/tree.ts';
import { OPEN } from '../kernel/abi/fcntl.ts';
import { PERSONALITY } from '../kernel/abi/personality.ts';
import { openFile } from '../kernel/calls/descriptors.ts';
import type { OwnedFd } from '../kernel/owned-fd.ts';
import { readPersonality } from '../procfs/personality.ts';
import { readStat } from '../procfs/stat.ts';
import type { Waiting } from '../procfs/waiting.ts';
import type { ConnectionKeeper } from '../resources/connection-keeper.ts';
import type { MappedFile } from '../resources/mapped-file.ts';
import { processAspects, threadAspects } from '../resources/registry.ts';
import type { CollectedProcess, ProcessView } from '../resources/resource.ts';
import { wordsToKeep } from '../resources/vm-flags.ts';
import { asTid, type LocalFd, type Pid } from '../support/brand.ts';
import { endOfSectionHeaders } from '../support/elf-extent.ts';
import { ImageError, type Problem } from '../support/errors.ts';
import type { Agent } from '../tracee/agent.ts';
import { CallBatch } from '../tracee/call-batch.ts';
import { askForLocalDescriptors, readLocalDescriptors } from '../tracee/local-descriptors.ts';
import { askForProtectionKeys, noProtectionKeys, type ProtectionKeys } from '../tracee/protection-keys.ts';
import { readRemote } from '../tracee/remote-memory.ts';
import type { StoppedTask } from '../tracee/stopped-task.ts';
import { isVdsoMapping, readVdsoData } from '../tracee/vdso-data.ts';
import type { VdsoSite } from '../tracee/vdso-site.ts';
import { type Asking, inLeader, inTask } from './asking.ts';
import { readClocks } from './clocks.ts';
import {
  CollectedFiles,
  collectDescriptors,
  collectNameless,
  type Description,
  isUnknown,
  type ObjectContent,
  Objects,
  TaskPidfds,
} from './collect-files.ts';
import { type CollectedRegisters, collectRegisters } from './collect-registers.ts';
import type { FrozenProcess } from './freeze.ts';
import { guardPages } from './page-plan.ts';
import type { TreeParts } from './parts.ts';
import type { ClassifiedDescriptor, ClassifiedMapping, ProcessSurvey } from './preflight.ts';
import { stoppedWithoutLeader } from './process-view.ts';
import { type OwnObjects, SharedObjects } from './shared-objects.ts';
import { Stops } from './stops.ts';

export interface CollectedThread extends CollectedRegisters {
  readonly tid: number;
  readonly signalMask: bigint;
  readonly waitedNs: bigint;
  readonly aspects: Record<string, unknown>;
}

/** What the page plan does not say. */
export type CollectedMapping = Omit<MappingState, 'hasPages' | 'guards'> & Partial<Pick<MappingState, 'guards'>>;

/** One process: what is not shared with others. */
export interface CollectedTask {
  readonly task: TaskRecord;
  readonly aspects: Record<string, unknown>;
  readonly threads: readonly CollectedThread[];
  /** A process before has the same memory: what is known of it is said there. */
  readonly hasMemoryOfAnother: boolean;
  /** Descriptor tables that no task before it has. */
  readonly tables: readonly { readonly objref: number; readonly record: FilesRecord }[];
  readonly mappings: readonly CollectedMapping[];
  readonly protectionKeys: ProtectionKeys;
  /** The LDT, as far as it is in use. */
  readonly localDescriptors: Buffer;
}

export interface CollectedTree {
  /** In the order of the frozen processes. */
  readonly processes: readonly CollectedTask[];
  readonly exited: readonly ExitedRecord[];
  readonly mappedFiles: readonly { objref: number; state: MappedFile }[];
  readonly descriptions: readonly Description[];
  /** Objects whose bytes go into the image. */
  readonly contents: readonly ObjectContent[];
  readonly remarks: readonly string[];
}

/** A frozen process with everything that is needed to ask it. */
export interface AskedProcess {
  readonly frozen: FrozenProcess;
  readonly survey: ProcessSurvey;
  readonly agent: Agent;
  readonly site: VdsoSite;
  /** The agent is that of a process before, which has the same memory. */
  readonly isGuest: boolean;
  readonly pidfd: LocalFd;
}

export interface CollectOptions {
  /** The root first. */
  readonly processes: readonly AskedProcess[];
  readonly exited: readonly Pid[];
  readonly descriptors: readonly ClassifiedDescriptor[];
  readonly parts: TreeParts;
  readonly layout: XstateLayout;
  /** Where threads waited that were in restart_syscall(2) before they were stopped. */
  readonly waits: ReadonlyMap<number, Waiting>;
  readonly connections: ConnectionKeeper;
  /** Us, if the root saves itself. */
  readonly saver: TaskRecord['saver'];
  /** Found on the way; the caller refuses if there are any. */
  readonly problems: Problem[];
}

/** What the collecting of one process needs beside the process. */
interface Context extends Pick<CollectOptions, 'layout' | 'waits' | 'problems'> {
  /** Processes in a group stop, and whether their parents have heard of it. */
  readonly stops: Stops;
  readonly root: Pid;
  /** What belongs to memory, or to handlers, that processes may share: by its objref and the name of the aspect. */
  readonly ofOwners: Map<string, { readonly state: unknown }>;
  /** By the objref of the memory. */
  readonly vdsos: Map<number, TaskRecord['vdso']>;
  readonly objects: Objects;
  readonly files: CollectedFiles;
  readonly remarks: string[];
}

export function collectTree(options: CollectOptions): CollectedTree {
  const { problems, descriptors, processes, saver } = options;
  const objects = new Objects();
  const files = new CollectedFiles(objects, problems);
  const remarks: string[] = [];
  const stops = new Stops(processes.map(({ frozen }) => frozen));
  for (const { frozen, survey } of processes) {
    if (frozen.isStopped && survey.process.leaderStatus !== undefined) problems.push(stoppedWithoutLeader(frozen.pid));
  }
  const [first] = processes;
  const root = must(first).frozen.pid;
  const clocks = readClocks(must(first).survey.process.speaker);
  const known = { ofOwners: new Map(), vdsos: new Map() };
  const context: Context = { ...options, objects, files, remarks, stops, root, ...known };
  const sharing = new SharedObjects(
    options.parts,
    objects,
    processes.map(({ survey }) => asTid(survey.process.speaker)),
  );
  const collected = processes.map((one) => {
    const own = sharing.of(one.frozen.tasks);
    return { pid: one.frozen.pid, own, ...collectProcess(one, own, context) };
  });
  const described = {
    root,
    descriptors,
    connections: options.connections,
    problems,
  };
  const { descriptions, tables, contents } = withPidfds(processes, (pidfds) =>
    collectDescriptors(described, pidfds, objects, files.mappedDescriptions),
  );
  const places = collected.map(({ pid }, index) => ({ pid, ...placeInTree(pid, index === 0) }));
  const tasks = collected.map(({ task }, index) => ({ ...task, ...must(places[index]) }));
  const exited = options.exited.map(describeExited);
  problems.push(...hierarchyProblems(tasks, exited));
  // What mappings show has its numbers already: it comes behind, as it came to light behind.
  collectNameless(files.nameless, described, { descriptions, contents });
  return {
    processes: collected.map(({ pid, own, task, ...rest }, index) => ({
      ...rest,
      task: {
        ...task,
        ...must(places[index]),
        ...stops.of(pid),
        ...(index === 0 ? { clocks, ...(saver === undefined ? {} : { saver }) } : {}),
      },
      hasMemoryOfAnother: own.hasMemoryOfAnother,
      tables: own.tables.map(({ objref, owner }) => ({ objref, record: tables.get(owner) ?? { entries: [] } })),
    })),
    exited,
    mappedFiles: files.found,
    descriptions,
    contents,
    remarks: [
      ...collected.flatMap(({ pid, aspects }) => processLosses(pid, aspects)),
      ...collected.flatMap(({ threads }) => threads.flatMap((thread) => lossesOf(thread))),
      ...descriptors.flatMap(({ sharing }) => sharing),
      ...descriptors.flatMap((one, index) => remarkOn(one, descriptions[index])),
      ...remarks,
    ],
  };
}

function withPidfds<T>(processes: readonly AskedProcess[], use: (pidfds: TaskPidfds) => T): T {
  const pidfds = new TaskPidfds(processes.map(({ survey, pidfd }) => [survey.process.speaker, pidfd]));
  try {
    return use(pidfds);
  } finally {
    pidfds.close();
  }
}

type Place = Pick<TaskRecord, 'parent' | 'processGroup' | 'session' | 'exitSignal'>;

/** Nothing of it can change while all stand still. */
function placeInTree(pid: Pid, isRoot: boolean): Place {
  const { ppid, processGroup, session, exitSignal } = readStat(pid);
  return { ...(isRoot ? {} : { parent: ppid }), processGroup, session, exitSignal };
}

/** What no order of making it leads to is better said now than at a restart. */
function hierarchyProblems(tasks: readonly TaskRecord[], exited: readonly ExitedRecord[]): Problem[] {
  try {
    planSharedBirths(tasks, planMemoryBirths(tasks, planHierarchy(tasks, exited)).hierarchy.steps);
    return [];
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    const { code, message } = error;
    return [
      { code, path: ['process tree'], message, remedy: 'Save the process above that one, or end that one first.' },
    ];
  }
}

function describeExited(pid: Pid): ExitedRecord {
  const { ppid: parent, comm, processGroup, session, exitSignal, exitCode } = readStat(pid);
  return { pid, comm: comm.slice(0, 64), parent, processGroup, session, exitSignal, exitCode };
}

/** What is known of a process without the rest of the tree. */
type Alone = Omit<CollectedTask, 'tables' | 'task' | 'hasMemoryOfAnother'> & {
  readonly task: Omit<TaskRecord, 'exitSignal'>;
};

function collectProcess(asked: AskedProcess, own: OwnObjects, context: Context): Alone {
  const { frozen, survey } = asked;
  const leader = must(frozen.tasks[0]);
  const { speaker } = survey.process;
  const { leaderAspects, vdso, localDescriptors, ...found } = inLeader(leader, asked, (asking) =>
    askLeader(asking, leader, asked, own, context),
  );
  const threads = frozen.tasks.map((task, index) => ({
    tid: task.tid,
    signalMask: task.signalMask,
    waitedNs: task.waitedNs,
    aspects: index === 0 ? leaderAspects : collectOther(task, asked),
    ...collectRegisters(task, { pid: speaker, survey, localDescriptors }, context),
  }));
  return { task: { ...describeTask(asked), ...own.references, vdso }, threads, localDescriptors, ...found };
}

/** What the process is asked from inside, in its leader. */
function askLeader(
  { runner, standStill }: Asking,
  leader: StoppedTask,
  { frozen, survey }: AskedProcess,
  own: OwnObjects,
  context: Context,
): Pick<Alone, 'aspects' | 'mappings' | 'protectionKeys' | 'localDescriptors'> & {
  readonly leaderAspects: Record<string, unknown>;
  readonly vdso: TaskRecord['vdso'];
} {
  const { files } = context;
  const { speaker } = survey.process;
  const batch = new CallBatch(runner);
  const source = {
    ...survey.process,
    batch,
    leader: leader.tid,
    isRoot: frozen.pid === context.root,
    flagsOfNewMappings: survey.ownFlags,
    files,
    mappings: survey.allMappings,
  };
  // The thread first: it may ask ptrace(2) while the leader stands still, and a process with much to ask runs the batch.
  const leaderAspects = startThread(survey.process, leader, batch);
  const read = processAspects.map((aspect) => {
    const owner = aspect.belongsTo === undefined ? undefined : own.references[aspect.belongsTo];
    const known = context.ofOwners.get(`${owner} ${aspect.name}`);
    const finish = known === undefined ? aspect.collect(source) : (): unknown => known.state;
    return { aspect, owner, finish };
  });
  const hearOfStops = context.stops.ask(frozen.pid, batch);
  const hasLocalDescriptors = askForLocalDescriptors(batch);
  const keys = own.hasMemoryOfAnother ? () => noProtectionKeys : askForKeys(batch, survey);
  batch.run();
  hearOfStops();
  const protectionKeys = keys();
  const vdso = context.vdsos.get(own.references.memory) ?? describeVdso(speaker, survey, batch);
  context.vdsos.set(own.references.memory, vdso);
  const localDescriptors = hasLocalDescriptors() ? readLocalDescriptors(batch) : Buffer.alloc(0);
  // What is read last may ask ptrace(2), for which the leader must stand still.
  standStill();
  const aspects = Object.fromEntries(
    read.map(({ aspect: { name }, owner, finish }) => {
      const state = finish();
      if (owner !== undefined) context.ofOwners.set(`${owner} ${name}`, { state });
      return [name, state];
    }),
  );
  const mappings = own.hasMemoryOfAnother ? [] : describeMappings(survey.mappings, source, protectionKeys);
  return { aspects, leaderAspects: leaderAspects(), mappings, protectionKeys, localDescriptors, vdso };
}

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a frozen tree is complete');
  return value;
}

const processLosses = (pid: Pid, aspects: Readonly<Record<string, unknown>>): string[] =>
  processAspects.flatMap((aspect) => aspect.loss?.(aspects[aspect.name], pid) ?? []);

const lossesOf = ({ tid, aspects }: CollectedThread): string[] =>
  threadAspects.flatMap((aspect) => aspect.loss?.(aspects[aspect.name], asTid(tid)) ?? []);

const LAYOUT_BITS = PERSONALITY.ADDR_COMPAT_LAYOUT | PERSONALITY.ADDR_LIMIT_3GB;

function describeTask({
  frozen,
  survey,
}: AskedProcess): Omit<
  TaskRecord,
  'vdso' | 'memory' | 'handlers' | 'files' | 'fileSystem' | 'apart' | 'exitSignal' | 'stopped'
> {
  const { leaderStatus } = survey.process;
  return {
    pid: frozen.pid,
    comm: survey.process.stat.comm.slice(0, 64),
    threads: frozen.tasks.map((task) => task.tid),
    ...(leaderStatus === undefined ? {} : { leaderStatus }),
    addressBits: survey.process.is32Bit ? 32 : 64,
    layoutBits: readPersonality(survey.process.speaker) & LAYOUT_BITS,
  };
}

const askForKeys = (batch: CallBatch, { mappings }: ProcessSurvey): (() => ProtectionKeys) =>
  askForProtectionKeys(
    batch,
    mappings.map(({ mapping }) => ({
      protectionKey: mapping.protectionKey,
      isExecuteOnly: mapping.execute && !mapping.read && !mapping.write,
    })),
  );

/** The code and the data that another kernel would not have. */
function describeVdso(pid: Pid, survey: ProcessSurvey, batch: CallBatch): TaskRecord['vdso'] {
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
  { pid, speaker, is32Bit }: ProcessView,
  task: StoppedTask,
  batch: CallBatch,
): () => Record<string, unknown> {
  const read = threadAspects.map((aspect) => ({
    name: aspect.name,
    finish: aspect.collect({ pid, speaker, tid: task.tid, is32Bit, batch }),
  }));
  return () => Object.fromEntries(read.map(({ name, finish }) => [name, finish()]));
}

function collectOther(task: StoppedTask, asked: AskedProcess): Record<string, unknown> {
  const finish = inTask(task, asked, (runner) => {
    const batch = new CallBatch(runner);
    const finished = startThread(asked.survey.process, task, batch);
    batch.run();
    return finished;
  });
  return finish();
}

function describeMappings(
  mappings: readonly ClassifiedMapping[],
  source: CollectedProcess,
  keys: ProtectionKeys,
): CollectedMapping[] {
  let pagemap: OwnedFd | undefined;
  const openPagemap = (): LocalFd => {
    pagemap ??= openFile(`/proc/${source.speaker}/pagemap`, OPEN.O_RDONLY);
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
    flags: wordsToKeep(mapping.vmFlags, kind.ownWords),
    kind: kind.kind,
    state: kind.collect(mapping, source),
  };
}

function remarkOn({ view, kind }: ClassifiedDescriptor, described: Description | undefined): string[] {
  if (described === undefined || isUnknown(described)) return [];
  const { fd, inFlightTo } = view;
  const remark = kind.remark?.(described.record.state, inFlightTo?.fd ?? fd, undefined);
  if (remark === undefined) return [];
  return inFlightTo === undefined ? [remark] : [`of what is in flight: ${remark}`];
}
