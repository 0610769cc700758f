/**
 * Plan: everything that stands in the way of bringing an image back on this host, found before any process is made. Only
 * questions are asked; the result can be printed.
 */

import { type Hierarchy, planHierarchy } from '../image/hierarchy.ts';
import { type MemoryBirth, planMemoryBirths } from '../image/memory-births.ts';
import { type ImageModel, memoryOwners } from '../image/model.ts';
import type { ProcessModel } from '../image/process-model.ts';
import { parseState } from '../image/schema.ts';
import { planSharedBirths, type SharedBirth } from '../image/shared-births.ts';
import type { ExitedRecord } from '../image/tree.ts';
import { MAP } from '../kernel/abi/mman.ts';
import { RLIMIT } from '../kernel/abi/resource.ts';
import { getLimit } from '../kernel/calls/task-attributes.ts';
import type { ClockPair } from '../procfs/time-offsets.ts';
import { aioWish, mostUnread, unreadAnswers } from '../resources/aio-room.ts';
import { planClocks } from '../resources/clock-choice.ts';
import { type MappedFile, mappedFileSchema, planMappedFile } from '../resources/mapped-file.ts';
import { outsideStatus, ownNamespaceRemark } from '../resources/own-namespace.ts';
import { noPidChoice } from '../resources/pid-choice.ts';
import { descriptorKinds } from '../resources/registry.ts';
import type { DescriptorKind } from '../resources/resource.ts';
import { type Signals, signalsSchema } from '../resources/signal-driven.ts';
import { asPid, asTid, type Pid, remoteFd, type Tid } from '../support/brand.ts';
import { ImageError, type Problem, RefusedError } from '../support/errors.ts';
import { type CgroupPlan, planCgroups } from './cgroups.ts';
import { refuseOddEnd } from './exited.ts';
import type { RestartHost } from './host.ts';
import { FILE_SYSTEM, type PlannedThread, type ProcessPlan, parse, planProcess } from './process-plan.ts';
import { takenPids } from './taken-pids.ts';

export interface PlannedDescription {
  readonly objref: number;
  readonly kind: DescriptorKind<unknown>;
  readonly state: unknown;
  /** Undefined if it signals nobody. */
  readonly signals: Signals | undefined;
  /**
   * The first task that has a descriptor of it, in which it is finished: a leader, or a thread with a table of its own. Undefined for what
   * only mappings show.
   */
  readonly holder: { readonly task: Tid; readonly fd: number } | undefined;
  /** No process has it under a number, but it waits in a queue to be received. */
  readonly inFlight: boolean;
}

export interface RestartPlan {
  /** Of the root. */
  readonly pid: Pid;
  /** The root first, every other behind its parent. */
  readonly processes: readonly ProcessPlan[];
  readonly exited: readonly ExitedRecord[];
  readonly hierarchy: Hierarchy;
  /** What processes are born with, by pid. */
  readonly births: ReadonlyMap<number, SharedBirth>;
  /** Those that are born with the memory of their makers, by pid. */
  readonly memoryBirths: ReadonlyMap<number, MemoryBirth>;
  readonly mappedFiles: ReadonlyMap<number, MappedFile>;
  readonly descriptions: readonly PlannedDescription[];
  /** Where its clocks shall go on. Undefined: those of the host. */
  readonly clocks: ClockPair | undefined;
  readonly cgroups: CgroupPlan;
  readonly remarks: readonly string[];
}

/** Throws RefusedError with every reason, or ImageError for an image that no save makes. */
export function planRestart(model: ImageModel, host: RestartHost): RestartPlan {
  const tasks = model.processes.map(({ task }) => task);
  const { hierarchy, births: memoryBirths } = planMemoryBirths(tasks, planHierarchy(tasks, model.exited));
  const births = planSharedBirths(tasks, hierarchy.steps);
  const problems: Problem[] = [...hostProblems(model, host, hierarchy), ...(model.origin?.problems ?? [])];
  for (const one of model.exited) refuseOddEnd(one);
  const mappedFiles = planFiles(model, host, problems);
  const descriptions = planDescriptions(model, host, problems);
  const leaders = new Set(descriptions.flatMap(({ kind, state }) => kind.leaderOf?.(state) ?? []));
  const segments = new Map(
    descriptions.flatMap(({ objref, kind, state }) => {
      const segment = kind.segment?.(state);
      return segment === undefined ? [] : [[objref, segment] as const];
    }),
  );
  const request = { model, host, problems, leaders, segments };
  const processes = model.processes.map((process) => planProcess(process, request));
  refuseOddFileSystems(processes, model);
  refuseOddSharers(processes);
  const owners = memoryOwners(processes, ({ memory }) => memory);
  problems.push(...tooFewHugePages(owners, descriptions, host));
  problems.push(...noAio(owners, host));
  const { pid } = model.root.task;
  const clocks = planClocks(host.clock, model.root.task.clocks, host.status);
  problems.push(...clocks.problems);
  const cgroups = planCgroups(processes, host.cgroups);
  problems.push(...cgroups.problems);
  const distinct = withoutRepetition(problems);
  if (distinct.length > 0) {
    const reasons = distinct.length === 1 ? 'one thing stands' : `${distinct.length} things stand`;
    throw new RefusedError(`The image of process ${pid} cannot be restarted here: ${reasons} in the way.`, distinct);
  }
  const remarks = [
    ...(outsideStatus() === undefined ? [] : [ownNamespaceRemark]),
    ...(model.origin?.remarks ?? []),
    ...clocks.remarks,
    ...cgroups.remarks,
    ...processes.flatMap((process) => process.remarks),
    ...descriptions.flatMap(({ kind, state, holder }) => kind.remark?.(state, remoteFd(holder?.fd ?? -1), host) ?? []),
  ];
  return {
    pid: asPid(pid),
    processes,
    exited: model.exited,
    hierarchy,
    births,
    memoryBirths,
    mappedFiles,
    descriptions,
    clocks: clocks.continued,
    cgroups,
    remarks: [...new Set(remarks)],
  };
}

/** Tasks that share working directory, root and umask have the same. */
function refuseOddFileSystems(processes: readonly ProcessPlan[], { processes: models }: ImageModel): void {
  const known = new Map<number, string>();
  const note = (object: number | undefined, aspects: ProcessPlan['aspects'] | PlannedThread['aspects']): void => {
    if (object === undefined) return;
    const state = JSON.stringify(aspects.find(({ aspect }) => aspect.name === FILE_SYSTEM)?.state);
    if ((known.get(object) ?? state) !== state) {
      throw new ImageError(
        'bad-record',
        `The image has two states of the working directory ${object}, which tasks share.`,
      );
    }
    known.set(object, state);
  };
  processes.forEach(({ aspects, threads }, index) => {
    note(models[index]?.task.fileSystem, aspects);
    const own = new Map(models[index]?.apart.map(({ tid, fileSystem }) => [tid, fileSystem]));
    if (own.size > 0) for (const thread of threads) note(own.get(thread.tid), thread.aspects);
  });
}

/** What belongs to memory, or to handlers, that processes share is the same in all of them. */
function refuseOddSharers(processes: readonly ProcessPlan[]): void {
  if (memoryOwners(processes, ({ memory }) => memory).length === processes.length) return;
  const known = new Map<string, string>();
  for (const { pid, memory, handlers, aspects } of processes) {
    for (const { aspect, state } of aspects) {
      const object = aspect.belongsTo === 'memory' ? memory : aspect.belongsTo === 'handlers' ? handlers : undefined;
      if (object === undefined) continue;
      const key = `${object} ${aspect.name}`;
      const text = stateText(state);
      if ((known.get(key) ?? text) !== text) {
        throw new ImageError(
          'bad-record',
          `TASK_STATE record of process ${pid}: its ${aspect.name} is not that of the process that it shares it with.`,
        );
      }
      known.set(key, text);
    }
  }
}

const stateText = (state: unknown): string =>
  JSON.stringify(state, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value));

/** Many processes of a tree meet the same obstacle of the host. */
function withoutRepetition(problems: readonly Problem[]): Problem[] {
  const seen = new Map(problems.map((problem) => [JSON.stringify(problem), problem]));
  return [...seen.values()];
}

/** Every number that a task of the restarted tree has. */
export const numbersOf = ({ processes, exited }: ImageModel): number[] => [
  ...processes.flatMap(({ task: { pid, threads, saver } }) => [
    ...new Set([pid, ...threads]),
    ...(saver === undefined ? [] : [saver.pid]),
  ]),
  ...exited.map(({ pid }) => pid),
];

function hostProblems(model: ImageModel, host: RestartHost, { helpers }: Hierarchy): Problem[] {
  const problems = [...takenPids([...numbersOf(model), ...helpers]), ...tooManyDescriptors(model)];
  if (!host.mayChoosePids) problems.push(noPidChoice);
  if (model.head.state.kernel.machine !== 'x86_64') {
    problems.push({
      code: 'other-machine',
      path: ['host'],
      message: `The image is of a ${model.head.state.kernel.machine} machine.`,
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

/** A mapping reserves what it has room for, unless it was made with MAP_NORESERVE, which takes a page when it is filled. */
function tooFewHugePages(
  processes: readonly ProcessPlan[],
  descriptions: readonly PlannedDescription[],
  host: RestartHost,
): Problem[] {
  const needed = new Map<number, number>();
  for (const { kind, state } of descriptions) {
    const object = kind.hugePages?.(state);
    if (object !== undefined) needed.set(object.pageBytes, (needed.get(object.pageBytes) ?? 0) + object.pages);
  }
  for (const { state, made } of processes.flatMap(({ mappings }) => mappings)) {
    const size = made?.hugePageBytes;
    if (size === undefined || made === undefined || (made.flags & MAP.MAP_NORESERVE) !== 0) continue;
    needed.set(size, (needed.get(size) ?? 0) + (state.end - state.start) / size);
  }
  return [...needed].flatMap(([size, pages]) => {
    const available = host.availableHugePages(size);
    if (pages <= available) return [];
    const text = `${size / 1024} KiB`;
    return {
      code: 'no-huge-pages',
      path: ['host'],
      message: `It needs ${pages} huge pages of ${text}, and ${available} are left here.`,
      remedy: `Have the kernel keep more: /sys/kernel/mm/hugepages/hugepages-${size / 1024}kB/nr_hugepages`,
    };
  });
}

function noAio(processes: readonly ProcessPlan[], host: RestartHost): Problem[] {
  const rings = processes.flatMap(({ pid, mappings }) =>
    mappings.flatMap(({ made, state }) => (made?.aio === undefined ? [] : [{ pid, state, ring: made.aio }])),
  );
  if (rings.length === 0) return [];
  const { free, cpus } = host.roomForAio();
  const needed = rings.reduce((sum, { ring }) => sum + ring.wanted, 0);
  const room: Problem = {
    code: 'no-aio',
    path: ['host'],
    message: `It needs asynchronous I/O (io_setup) for ${needed} requests, and ${free} are left here.`,
    remedy: 'Raise the limit: sysctl fs.aio-max-nr',
  };
  const others = rings.filter(
    ({ ring, state: { start, end } }) =>
      aioWish(ring.wanted, end - start, cpus) === undefined || unreadAnswers(ring) > mostUnread(ring.slots, cpus),
  );
  return [
    ...(needed > free ? [room] : []),
    ...others.map(
      ({ pid, state }): Problem => ({
        code: 'no-aio',
        path: [`pid ${pid}`, `mapping 0x${state.start.toString(16)}`],
        message: `Its ring of asynchronous I/O (io_setup) would have other room here, where there may be ${cpus} processors.`,
        remedy: 'Restart it on a host with as many processors as that on which it was saved.',
      }),
    ),
  ];
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

function planFiles(model: ImageModel, host: RestartHost, problems: Problem[]): Map<number, MappedFile> {
  const files = new Map<number, MappedFile>();
  for (const [objref, saved] of model.mappedFiles) {
    const state = parseState(mappedFileSchema, saved, `FNAME record of object ${objref}`);
    files.set(objref, state);
    problems.push(...planMappedFile(state, host));
  }
  return files;
}

function planDescriptions(model: ImageModel, host: RestartHost, problems: Problem[]): PlannedDescription[] {
  const holders = new Map<number, { task: Tid; fd: number }>();
  const tables = new Map<number, ReadonlySet<number>>();
  for (const { tid, entries } of model.processes.flatMap(tablesOf)) {
    tables.set(tid, new Set(entries.map(({ fd }) => fd)));
    for (const { object, fd } of entries) {
      if (!holders.has(object)) holders.set(object, { task: asTid(tid), fd });
    }
  }
  const pids = new Set(model.processes.map(({ task }) => task.pid));
  const described = [...model.descriptions].map(([objref, record]) => {
    const where = `FD_DATA record of object ${objref}`;
    const kind = descriptorKinds.find((candidate) => candidate.kind === record.kind);
    if (kind === undefined) throw new ImageError('bad-record', `${where}: its kind ${record.kind} is not known.`);
    const state = parse(kind.schema, record.state, where);
    if ((kind.contentBytes?.(state) ?? 0) !== record.contentBytes) {
      throw new ImageError('bad-record', `${where}: its content does not fit its state.`);
    }
    const holder = holders.get(objref);
    const table = tables.get(holder?.task ?? model.root.task.pid);
    const missing = kind.descriptorsOf?.(state).find((number) => !table?.has(number));
    if (missing !== undefined) {
      throw new ImageError('bad-record', `${where}: it names descriptor ${missing}, which is not there.`);
    }
    const path = [`pid ${holder?.task ?? model.root.task.pid}`, `fd ${holder?.fd ?? '?'}`];
    problems.push(...(kind.plan?.(state, host, path) ?? []));
    const signals =
      record.signals === undefined ? undefined : parse(signalsSchema, record.signals, `${where}: signals`);
    const leader = kind.leaderOf?.(state);
    if (leader !== undefined && !pids.has(leader)) {
      throw new ImageError('bad-record', `${where}: it names process ${leader}, which is not there.`);
    }
    const carried = kind.objectsOf?.(state) ?? [];
    const lost = carried.find((object) => !model.descriptions.has(object));
    if (lost !== undefined) {
      throw new ImageError('bad-record', `${where}: object ${lost} waits in it, which is not there.`);
    }
    return { objref, kind, state, signals, holder, carried };
  });
  const inFlight = new Set(described.flatMap(({ carried }) => carried));
  return described.map(({ carried, ...one }) => ({
    ...one,
    inFlight: one.holder === undefined && inFlight.has(one.objref),
  }));
}

/** Of the leader, and of threads that have one of their own. */
const tablesOf = ({
  task,
  files,
  apart,
}: ProcessModel): { tid: number; entries: ProcessModel['files']['entries'] }[] => [
  { tid: task.pid, entries: files.entries },
  ...apart.flatMap((one) => (one.files === undefined ? [] : [{ tid: one.tid, entries: one.files.entries }])),
];
