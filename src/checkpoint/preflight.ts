/** Everything that stands in the way of saving a tree of processes, found from outside: the same list before and after freezing. */
import { type BigIntStats, statSync } from 'node:fs';
import { OPEN } from '../kernel/abi/fcntl.ts';
import { STAT } from '../kernel/abi/stat.ts';
import { compareDescriptions, isSameDescription, tryCompareDescriptions } from '../kernel/calls/descriptors.ts';
import type { OwnedFd } from '../kernel/owned-fd.ts';
import { type Descriptor, listDescriptors, readDescriptor } from '../procfs/descriptors.ts';
import { readFdinfo } from '../procfs/fdinfo.ts';
import type { Holder } from '../procfs/holders.ts';
import { isLossyText, unlessMissing } from '../procfs/proc-file.ts';
import { type Mapping, readSmaps, withExactPath } from '../procfs/smaps.ts';
import { type OutsidePolicy, refusesOutside } from '../resources/outside-policy.ts';
import { descriptorKinds, mappingKinds, processAspects, threadAspects } from '../resources/registry.ts';
import type {
  DescriptorHolder,
  DescriptorKind,
  DescriptorStat,
  DescriptorView,
  LoneDescriptor,
  MappingKind,
  ProcessView,
} from '../resources/resource.ts';
import { isTerminal, isTerminalMultiplexer } from '../resources/terminal-devices.ts';
import { unsavable } from '../resources/unsavable.ts';
import { refusedWords } from '../resources/vm-flags.ts';
import { asPid, asTid, type Pid, remoteFd, type Tid } from '../support/brand.ts';
import type { Problem } from '../support/errors.ts';
import { clockObstacles } from './clocks.ts';
import { type OutsiderSearch, sharingRemarks } from './outsiders.ts';
import { partObstacles } from './part-obstacles.ts';
import type { TreeParts } from './parts.ts';
import { processObstacles, viewProcess } from './process-view.ts';
import { isTracked, type Keeper, type Keepers, withoutTracking } from './tracking.ts';

/** One mapping and the kind that has it. */
export interface ClassifiedMapping {
  readonly mapping: Mapping;
  readonly kind: MappingKind<unknown>;
}

/** A descriptor of a process of the tree, as its table has it. */
export interface TableEntry extends DescriptorHolder {
  readonly closeOnExec: boolean;
}

/** One open file description and the kind that has it. */
export interface ClassifiedDescriptor {
  readonly view: DescriptorView;
  readonly kind: DescriptorKind<unknown>;
  /** Who in the tree has it; the first is that of the view. */
  readonly entries: readonly TableEntry[];
  /** Our duplicates that came out of queues ({@link SurveyOptions.inFlight}). */
  readonly inFlight: readonly number[];
  /** What of it other processes have too. */
  readonly sharing: readonly string[];
}

export interface ProcessSurvey extends MemorySurvey {
  readonly process: ProcessView;
}

/** Of processes that share their memory, the same. */
export interface MemorySurvey {
  /** All but ours, also those that need no kind. */
  readonly allMappings: readonly Mapping[];
  readonly mappings: readonly ClassifiedMapping[];
  /** Start addresses of mappings whose writes are tracked by us: see tracking.ts. */
  readonly tracked: ReadonlySet<number>;
  /** Who keeps that tracking. */
  readonly keeper: Keeper | undefined;
  /** VmFlags of our own mappings; none while we have none. */
  readonly ownFlags: readonly string[];
}

export interface TreeSurvey {
  readonly parts: TreeParts;
  /** In the order of the pids that were asked for. */
  readonly processes: readonly ProcessSurvey[];
  readonly descriptors: readonly ClassifiedDescriptor[];
  readonly problems: readonly Problem[];
}

/** What of ours is in a target, and not its own. */
export interface OursInTarget {
  /** Descriptor numbers. */
  readonly descriptors: ReadonlySet<number>;
  /** Start addresses. */
  readonly mappings: ReadonlySet<number>;
}

const NOTHING_OF_OURS: OursInTarget = { descriptors: new Set(), mappings: new Set() };

export interface SurveyOptions {
  readonly outsiders: OutsiderSearch;
  readonly oursIn?: (pid: Pid) => OursInTarget;
  /** Of those whose writes we track. Default: none. */
  readonly keepers?: Keepers | undefined;
  /** Those of one process, as smaps has them. Default: from there. */
  readonly readMappings?: ((pid: Pid) => readonly Mapping[]) | undefined;
  /** They run: who ends meanwhile is passed over. Default: false. */
  readonly running?: boolean;
  /** Default: other ends outside are refused. */
  readonly outside?: OutsidePolicy | undefined;
  /** Where duplicates of what waits in queues go, for the caller to close. Default: queues are not looked into. */
  readonly inFlight?: OwnedFd[];
}

/** All processes of a tree: what they share is seen as shared. */
export function surveyTree(
  pids: readonly Pid[],
  {
    outsiders,
    oursIn = () => NOTHING_OF_OURS,
    keepers,
    readMappings,
    running = false,
    outside = refusesOutside,
    inFlight,
  }: SurveyOptions,
): TreeSurvey {
  const problems: Problem[] = [];
  const look = <T>(what: () => T): T | undefined => (running ? unlessMissing(what) : what());
  const listed = pids.flatMap((pid) => look(() => viewProcess(pid)) ?? []);
  const parts = outsiders.parts.of(listed);
  const memories = new Map<Tid, MemorySurvey>();
  const processes = listed.flatMap(
    (process) =>
      look(() => {
        const ours = oursIn(process.pid).mappings;
        const memory = memoryOf(process, parts, memories, () =>
          surveyMemory(process, ours, { keepers, readMappings }, problems),
        );
        problems.push(...obstaclesOf(process));
        return { process, ...memory };
      }) ?? [],
  );
  problems.push(...(look(() => treeObstacles(processes, parts)) ?? []));
  const views = processes.map(({ process }) => process);
  problems.push(...partObstacles(views, parts), ...clockObstacles(views));
  const ours = descriptorsOfOurs(views, parts, oursIn);
  const isTheirs = ({ pid, descriptor }: Seen): boolean => ours.get(asTid(pid))?.has(descriptor.fd) !== true;
  // A table that several tasks share is looked at in the first of them.
  const tables = parts.owners('files').map(asPid);
  const inTables = tables.flatMap((task) => look(() => lookAtAll(task)) ?? []).filter(isTheirs);
  const seen = inFlight === undefined ? inTables : [...inTables, ...lookIntoQueues(inTables, inFlight)];
  const groups = groupByDescription(seen, running ? tryCompareDescriptions : compareDescriptions);
  const ofTree = { seen, groups, pids, tables, outsiders, outside, queuesSeen: inFlight !== undefined };
  const descriptors = classifyAll(ofTree, problems);
  return { processes, descriptors, parts, problems };
}

/** By the task whose table it is. */
function descriptorsOfOurs(
  views: readonly ProcessView[],
  parts: TreeParts,
  oursIn: (pid: Pid) => OursInTarget,
): Map<Tid, Set<number>> {
  const ours = new Map<Tid, Set<number>>();
  for (const { pid, speaker } of views) {
    const owner = parts.ownerOf('files', asTid(speaker));
    ours.set(owner, new Set([...(ours.get(owner) ?? []), ...oursIn(pid).descriptors]));
  }
  return ours;
}

function treeObstacles(processes: readonly ProcessSurvey[], parts: TreeParts): Problem[] {
  const tree = new Set<number>(processes.map(({ process: { pid } }) => pid));
  // What processes share is one mapping.
  const owners = processes.filter(
    ({ process: { speaker } }) => parts.ownerOf('memory', asTid(speaker)) === asTid(speaker),
  );
  const all = owners.flatMap(({ process: { pid }, mappings }) => mappings.map((one) => ({ pid, ...one })));
  return mappingKinds.flatMap((kind) => {
    const ofKind = kind.treeObstacles === undefined ? [] : all.filter((one) => one.kind === kind);
    return ofKind.length === 0 ? [] : (kind.treeObstacles?.(ofKind, tree) ?? []);
  });
}

const lookAtAll = (pid: Pid): Seen[] =>
  listDescriptors(pid).flatMap((one) => unlessMissing(() => lookAt(pid, one)) ?? []);

/** What processes share is looked at in the first of them. */
function memoryOf(
  { speaker }: ProcessView,
  parts: TreeParts,
  known: Map<Tid, MemorySurvey>,
  survey: () => MemorySurvey,
): MemorySurvey {
  const owner = parts.ownerOf('memory', asTid(speaker));
  const memory = known.get(owner) ?? survey();
  known.set(owner, memory);
  return memory;
}

const obstaclesOf = (process: ProcessView): Problem[] => [
  ...processObstacles(process),
  ...processAspects.flatMap((aspect) => aspect.obstacles?.(process) ?? []),
  ...process.tids.flatMap((tid) => threadAspects.flatMap((one) => one.obstacles?.({ ...process, tid }) ?? [])),
];

function surveyMemory(
  { pid, speaker }: ProcessView,
  ours: ReadonlySet<number>,
  { keepers, readMappings = readSmaps }: Pick<SurveyOptions, 'keepers' | 'readMappings'>,
  problems: Problem[],
): MemorySurvey {
  const keeper = keepers?.of(speaker);
  const read = readMappings(speaker);
  const tracked = new Set(keeper === undefined ? [] : read.filter(isTracked).map(({ start }) => start));
  const all = read.map((mapping) => (tracked.has(mapping.start) ? withoutTracking(mapping) : mapping));
  const isOurs = ({ start }: Mapping): boolean => ours.has(start);
  const ownFlags = all.filter(isOurs).flatMap((mapping) => mapping.vmFlags);
  const allMappings = all.filter((mapping) => !isOurs(mapping));
  const mappings = allMappings
    .filter((mapping) => mapping.special !== VSYSCALL)
    .flatMap((mapping) => classifyMapping(pid, withExactPath(speaker, mapping), problems));
  return { allMappings, mappings, tracked, keeper, ownFlags };
}

/** In every process at the same address above user space, and no mapping that could be unmapped or made. */
const VSYSCALL = '[vsyscall]';

function classifyMapping(pid: Pid, mapping: Mapping, problems: Problem[]): ClassifiedMapping[] {
  const path = [`pid ${pid}`, `mapping 0x${mapping.start.toString(16)}`];
  problems.push(...lossyPath(mapping.path, path));
  const kind = mappingKinds.find((candidate) => candidate.recognise(mapping));
  if (kind === undefined) {
    const name = mapping.special ?? (mapping.path || 'anonymous');
    problems.push({
      code: 'unknown-mapping',
      path,
      message: `It has ${mapping.shared ? 'shared' : 'private'} memory of a kind that cannot be saved yet (${name}).`,
      remedy: 'Save it when the program has unmapped this memory.',
    });
    return [];
  }
  const words = kind.pages === 'none' && mapping.path === '' ? [] : mapping.vmFlags;
  for (const word of refusedWords(words, kind.ownWords)) {
    problems.push({ code: 'mapping-flag', path, message: `It has ${word}, which cannot be saved yet.` });
  }
  for (const found of kind.obstacles?.(mapping) ?? []) problems.push({ ...found, path: [...path, ...found.path] });
  return [{ mapping, kind }];
}

const carriedBy = descriptorKinds.flatMap(({ carried }) => carried ?? []);

/**
 * What is in flight to the sockets of the tree (SCM_RIGHTS, unix(7)), and to those that are in flight themselves: seen in our own table, where
 * duplicates of it are.
 */
function lookIntoQueues(inTables: readonly Seen[], into: OwnedFd[]): Seen[] {
  const found: Seen[] = [];
  const known = new Set<string>();
  for (let carriers = inTables; carriers.length > 0; ) {
    const all = [...inTables, ...found].map(asLone);
    carriers = carriers
      .filter(({ descriptor: { target } }) => !known.has(target))
      .flatMap((carrier) => {
        known.add(carrier.descriptor.target);
        const own = carriedBy.flatMap((carried) => carried(asLone(carrier), all));
        into.push(...own);
        return own.flatMap((one) => lookAtOwn(one, carrier));
      });
    found.push(...carriers);
  }
  return found;
}

const asLone = (one: Seen): LoneDescriptor => ({ ...one, fd: one.descriptor.fd });

function lookAtOwn(own: OwnedFd, carrier: Seen): Seen[] {
  const pid = asPid(process.pid);
  const seen = lookAt(pid, readDescriptor(pid, remoteFd(own.number)));
  const inFlightTo = carrier.inFlightTo ?? { pid: carrier.pid, fd: carrier.descriptor.fd };
  return seen === undefined ? [] : [{ ...seen, inFlightTo }];
}

interface SeenDescriptors {
  readonly seen: readonly Seen[];
  readonly groups: readonly NonEmpty<Seen>[];
  readonly pids: readonly Pid[];
  readonly tables: readonly Pid[];
  readonly outsiders: OutsiderSearch;
  readonly outside: OutsidePolicy;
  readonly queuesSeen: boolean;
}

function classifyAll(
  { seen, groups, pids, tables, outsiders, outside, queuesSeen }: SeenDescriptors,
  problems: Problem[],
): ClassifiedDescriptor[] {
  const targetsOf = (found: readonly Seen[]): Set<string> => new Set(found.map((one) => one.descriptor.target));
  const named = targetsOf(seen.filter((one) => isJoint(one) || isNameless(one)));
  const outsidersOf = outsiders.of(pids, named, targetsOf(seen.filter(isFile)));
  const tree = new Set<number>([...pids, ...tables]);
  const siblings: DescriptorView[] = [];
  const described = groups.map((members) => {
    const [first] = members;
    const entries = members.filter(({ inFlightTo }) => inFlightTo === undefined).map(asEntry);
    const view: DescriptorView = {
      ...first,
      fd: first.descriptor.fd,
      numbers: entries.filter(({ pid }) => pid === first.pid).map(({ fd }) => fd),
      holders: entries,
      outsiders: named.has(first.descriptor.target) ? holdersOf(first, outsidersOf) : [],
      tree,
      siblings,
      outside,
      queuesSeen,
    };
    siblings.push(view);
    problems.push(...locksOfOthers(members));
    const sharing = isFile(first) ? sharingRemarks(view, outsidersOf(first.descriptor.target)) : [];
    const inFlight = members.flatMap((one) => (one.inFlightTo === undefined ? [] : one.descriptor.fd));
    return { view, sharing, entries, inFlight };
  });
  return described.flatMap((group) => classifyDescriptor(group, problems));
}

const asEntry = ({ pid, descriptor: { fd }, info }: Seen): TableEntry => ({
  pid,
  fd,
  closeOnExec: (info.flags & O_CLOEXEC) !== 0,
});

/** Record locks are a process's own (fcntl(2)): fdinfo shows them for the process that has them only. */
function locksOfOthers([first, ...others]: NonEmpty<Seen>): Problem[] {
  return others
    .filter(({ pid, info }) => pid !== first.pid && info.locks.some(({ kind }) => kind === 'POSIX'))
    .map(({ pid, descriptor }) => ({
      code: 'lock',
      path: [`pid ${pid}`, `fd ${descriptor.fd}`, descriptor.target],
      message: `It has a record lock on a file that it shares with process ${first.pid}, which cannot be saved yet.`,
      remedy: 'Save it when the lock has been given up.',
    }));
}

/** What has another end: pipes, sockets and terminals. */
const isJoint = ({ descriptor, stat }: Seen): boolean =>
  descriptor.kind === 'pipe' ||
  descriptor.kind === 'socket' ||
  (stat.mode & STAT.S_IFMT) === STAT.S_IFIFO ||
  isTerminal(stat);

/** All objects of one kind have the same text in their links: eventfd, epoll, masters of pseudo-terminals and others. */
const isNameless = ({ descriptor, stat }: Seen): boolean =>
  descriptor.kind === 'anon_inode' || isTerminalMultiplexer(stat);

/** A pipe's or socket's link tells which it is; nameless objects are compared with kcmp(2). */
function holdersOf(one: Seen, outsidersOf: (target: string) => readonly Holder[]): readonly Holder[] {
  const holders = outsidersOf(one.descriptor.target);
  if (!isNameless(one)) return holders;
  return holders.filter((other) => isSameDescription(one.pid, one.descriptor.fd, other.pid, other.fd));
}

/** What has a position, or content, of its own: a device that forgets everything has not. */
const isFile = ({ descriptor, stat }: Seen): boolean => {
  const type = stat.mode & STAT.S_IFMT;
  return descriptor.kind === 'path' && (type === STAT.S_IFREG || type === STAT.S_IFDIR);
};

const { O_CLOEXEC } = OPEN;

interface Seen {
  readonly pid: Pid;
  readonly descriptor: Descriptor;
  readonly info: ReturnType<typeof readFdinfo>;
  readonly stat: DescriptorStat;
  /** It waits in the queue of this socket of the tree: what is seen is our duplicate. */
  readonly inFlightTo?: DescriptorHolder;
}

/** Undefined when the descriptor has been closed meanwhile, which only a running process can do. */
function lookAt(pid: Pid, descriptor: Descriptor): Seen | undefined {
  const now = statSync(`/proc/${pid}/fd/${descriptor.fd}`, { bigint: true, throwIfNoEntry: false });
  if (now === undefined) return undefined;
  return { pid, descriptor, info: readFdinfo(pid, descriptor.fd), stat: statFrom(now) };
}

export const statOf = (path: string): DescriptorStat => statFrom(statSync(path, { bigint: true }));

function statFrom(now: BigIntStats): DescriptorStat {
  return {
    mode: Number(now.mode),
    uid: Number(now.uid),
    gid: Number(now.gid),
    device: Number(now.dev),
    inode: now.ino,
    rawDevice: Number(now.rdev),
    sizeBytes: now.size,
    modifiedNs: now.mtimeNs,
    links: now.nlink,
  };
}

/** A path that is not UTF-8 would come back as another one. */
function lossyPath(text: string, path: readonly string[]): Problem[] {
  if (!isLossyText(text)) return [];
  return [
    {
      code: 'path-no-text',
      path,
      message: `Its path ${text} is not UTF-8, which cannot be saved yet.`,
      remedy: 'Save it when the program has closed it, or rename the file before the program opens it.',
    },
  ];
}

type NonEmpty<T> = [T, ...T[]];

/** Undefined, for a description that is gone, is any place: the look is of processes that run. */
type Compare = typeof tryCompareDescriptions;

/**
 * Descriptors that share one open file description, in groups, in the order of their first members. kcmp(2) tells, asked only
 * where all else is equal; it orders them, so that a description that a thousand processes have is found among many others soon.
 */
function groupByDescription(seen: readonly Seen[], compare: Compare): NonEmpty<Seen>[] {
  const alike = new Map<string, NonEmpty<Seen>[]>();
  const groups: NonEmpty<Seen>[] = [];
  for (const one of seen) {
    const key = `${one.descriptor.target} ${one.stat.inode} ${one.info.position} ${one.info.flags & ~O_CLOEXEC}`;
    const ordered = alike.get(key) ?? [];
    alike.set(key, ordered);
    const { index, isThere } = placeAmong(ordered, one, compare);
    if (isThere) {
      ordered[index]?.push(one);
      continue;
    }
    const group: NonEmpty<Seen> = [one];
    ordered.splice(index, 0, group);
    groups.push(group);
  }
  return groups;
}

/** Binary search: the group that has this description, or the place where it belongs. */
function placeAmong(
  ordered: readonly NonEmpty<Seen>[],
  one: Seen,
  compare: Compare,
): { index: number; isThere: boolean } {
  let [from, to] = [0, ordered.length];
  while (from < to) {
    const index = (from + to) >> 1;
    const [other] = ordered[index] ?? [one];
    const order = compare(other.pid, other.descriptor.fd, one.pid, one.descriptor.fd);
    if (order === 0) return { index, isThere: true };
    if (order === KCMP_LESS) from = index + 1;
    else to = index;
  }
  return { index: from, isThere: false };
}

/** The first comes before the second in the kernel's order (kcmp(2)). */
const KCMP_LESS = 1;

function classifyDescriptor(group: Omit<ClassifiedDescriptor, 'kind'>, problems: Problem[]): ClassifiedDescriptor[] {
  const { view, entries, inFlight } = group;
  const kind = descriptorKinds.find((candidate) => candidate.recognise(view));
  const found = lossyPath(view.descriptor.target, [`pid ${view.pid}`, `fd ${view.fd}`]);
  found.push(...(kind === undefined ? [unsavable(view)] : (kind.obstacles?.(view) ?? [])));
  problems.push(...found.map((problem) => placed(problem, view)));
  if (kind === undefined) return [];
  if (!kind.eachNumberApart) return [{ ...group, kind }];
  const ofNumbers = entries.map((entry) => {
    const { pid, fd } = entry;
    const numbers = [fd];
    return { ...group, kind, entries: [entry], inFlight: [], view: { ...view, pid, fd, numbers, holders: [entry] } };
  });
  if (inFlight.length === 0) return ofNumbers;
  return [...ofNumbers, { ...group, kind, entries: [], view: { ...view, numbers: [], holders: [] } }];
}

/** What is in flight has no number that anybody knows. */
function placed(problem: Problem, { inFlightTo, pid, fd }: DescriptorView): Problem {
  if (inFlightTo === undefined) return problem;
  const rest = problem.path.filter((part) => part !== `pid ${pid}` && part !== `fd ${fd}`);
  return { ...problem, path: [`pid ${inFlightTo.pid}`, `in flight to fd ${inFlightTo.fd}`, ...rest] };
}
