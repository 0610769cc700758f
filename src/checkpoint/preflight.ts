/** Everything that stands in the way of saving a process, found from outside: the same list before and after freezing. */
import { type BigIntStats, statSync } from 'node:fs';
import { OPEN } from '../kernel/abi/fcntl.ts';
import { STAT } from '../kernel/abi/stat.ts';
import { compareDescriptions, isSameDescription } from '../kernel/calls/descriptors.ts';
import { type Descriptor, listDescriptors } from '../procfs/descriptors.ts';
import { readFdinfo } from '../procfs/fdinfo.ts';
import type { Holder } from '../procfs/holders.ts';
import { isLossyText, unlessMissing } from '../procfs/proc-file.ts';
import { type Mapping, readSmaps, withExactPath } from '../procfs/smaps.ts';
import { descriptorKinds, mappingKinds, processAspects } from '../resources/registry.ts';
import type {
  DescriptorKind,
  DescriptorStat,
  DescriptorView,
  MappingKind,
  ProcessView,
} from '../resources/resource.ts';
import { isTerminal, isTerminalMultiplexer } from '../resources/terminal-devices.ts';
import { unsavable } from '../resources/unsavable.ts';
import { refusedWords } from '../resources/vm-flags.ts';
import type { Pid } from '../support/brand.ts';
import type { Problem } from '../support/errors.ts';
import { type OutsiderSearch, sharingRemarks } from './outsiders.ts';
import { processObstacles, viewProcess } from './process-view.ts';

/** One mapping and the kind that has it. */
export interface ClassifiedMapping {
  readonly mapping: Mapping;
  readonly kind: MappingKind<unknown>;
}

/** One open file description and the kind that has it. */
export interface ClassifiedDescriptor {
  readonly view: DescriptorView;
  readonly kind: DescriptorKind<unknown>;
  readonly closeOnExec: readonly boolean[];
  /** What of it other processes have too. */
  readonly sharing: readonly string[];
}

export interface Survey {
  readonly process: ProcessView;
  /** All but ours, also those that need no kind. */
  readonly allMappings: readonly Mapping[];
  readonly mappings: readonly ClassifiedMapping[];
  readonly descriptors: readonly ClassifiedDescriptor[];
  readonly problems: readonly Problem[];
  /** VmFlags of our own mappings; none while we have none. */
  readonly ownFlags: readonly string[];
}

export interface SurveyOptions {
  /** Descriptors of ours in the target, which are not its own. */
  readonly ignoreDescriptors: ReadonlySet<number>;
  /** Mappings of ours in the target: start addresses. */
  readonly ignoreMappings: ReadonlySet<number>;
  readonly outsiders: OutsiderSearch;
  /** It is our parent: that it has us as a child is no obstacle. */
  readonly savesItself: boolean;
}

export function surveyProcess(pid: Pid, options: SurveyOptions): Survey {
  const process = viewProcess(pid);
  const problems = [
    ...processObstacles(process, options.savesItself),
    ...processAspects.flatMap((aspect) => aspect.obstacles?.(process) ?? []),
  ];
  const all = readSmaps(pid);
  const isOurs = ({ start }: Mapping): boolean => options.ignoreMappings.has(start);
  const ownFlags = all.filter(isOurs).flatMap((mapping) => mapping.vmFlags);
  const allMappings = all.filter((mapping) => !isOurs(mapping));
  const mappings = allMappings
    .filter((mapping) => mapping.special !== VSYSCALL)
    .flatMap((mapping) => classifyMapping(pid, withExactPath(pid, mapping), problems));
  const descriptors = surveyDescriptors(pid, options, problems);
  return { process, allMappings, mappings, descriptors, problems, ownFlags };
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
  for (const word of refusedWords(kind.pages === 'none' && mapping.path === '' ? [] : mapping.vmFlags)) {
    problems.push({ code: 'mapping-flag', path, message: `It has ${word}, which cannot be saved yet.` });
  }
  for (const found of kind.obstacles?.(mapping) ?? []) problems.push({ ...found, path: [...path, ...found.path] });
  return [{ mapping, kind }];
}

function surveyDescriptors(pid: Pid, options: SurveyOptions, problems: Problem[]): ClassifiedDescriptor[] {
  const open = listDescriptors(pid).filter(({ fd }) => !options.ignoreDescriptors.has(fd));
  const seen = open.flatMap((descriptor) => unlessMissing(() => lookAt(pid, descriptor)) ?? []);
  const targetsOf = (found: readonly Seen[]): Set<string> => new Set(found.map((one) => one.descriptor.target));
  const named = targetsOf(seen.filter((one) => isJoint(one) || isNameless(one)));
  const outsidersOf = options.outsiders.of(named, targetsOf(seen.filter(isFile)));
  const siblings: DescriptorView[] = [];
  const groups = groupByDescription(pid, seen).map((members) => {
    const [first] = members;
    const view: DescriptorView = {
      pid,
      ...first,
      fd: first.descriptor.fd,
      numbers: members.map((member) => member.descriptor.fd),
      outsiders: named.has(first.descriptor.target) ? holdersOf(pid, first, outsidersOf) : [],
      siblings,
    };
    siblings.push(view);
    const sharing = isFile(first) ? sharingRemarks(view, outsidersOf(first.descriptor.target)) : [];
    return { view, sharing, closeOnExec: members.map((member) => (member.info.flags & O_CLOEXEC) !== 0) };
  });
  return groups.flatMap((group) => classifyDescriptor(group, problems));
}

/** What has another end: pipes and terminals. */
const isJoint = ({ descriptor, stat }: Seen): boolean =>
  descriptor.kind === 'pipe' || (stat.mode & STAT.S_IFMT) === STAT.S_IFIFO || isTerminal(stat);

/** All objects of one kind have the same text in their links: eventfd, epoll, masters of pseudo-terminals and others. */
const isNameless = ({ descriptor, stat }: Seen): boolean =>
  descriptor.kind === 'anon_inode' || isTerminalMultiplexer(stat);

/** A pipe's link tells which pipe it is; nameless objects are compared with kcmp(2). */
function holdersOf(pid: Pid, one: Seen, outsidersOf: (target: string) => readonly Holder[]): readonly Holder[] {
  const holders = outsidersOf(one.descriptor.target);
  if (!isNameless(one)) return holders;
  return holders.filter((other) => isSameDescription(pid, one.descriptor.fd, other.pid, other.fd));
}

/** What has a position, or content, of its own: a device that forgets everything has not. */
const isFile = ({ descriptor, stat }: Seen): boolean => {
  const type = stat.mode & STAT.S_IFMT;
  return descriptor.kind === 'path' && (type === STAT.S_IFREG || type === STAT.S_IFDIR);
};

const { O_CLOEXEC } = OPEN;

interface Seen {
  readonly descriptor: Descriptor;
  readonly info: ReturnType<typeof readFdinfo>;
  readonly stat: DescriptorStat;
}

/** Undefined when the descriptor has been closed meanwhile, which only a running process can do. */
function lookAt(pid: Pid, descriptor: Descriptor): Seen | undefined {
  const now = statSync(`/proc/${pid}/fd/${descriptor.fd}`, { bigint: true, throwIfNoEntry: false });
  if (now === undefined) return undefined;
  return { descriptor, info: readFdinfo(pid, descriptor.fd), stat: statFrom(now) };
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

/**
 * Descriptors that share one open file description, in groups, in the order of their first members. kcmp(2) tells, asked only
 * where all else is equal; it orders them, so that one is found among many others soon.
 */
function groupByDescription(pid: Pid, seen: readonly Seen[]): NonEmpty<Seen>[] {
  const alike = new Map<string, NonEmpty<Seen>[]>();
  const groups: NonEmpty<Seen>[] = [];
  for (const one of seen) {
    const key = `${one.descriptor.target} ${one.stat.inode} ${one.info.position} ${one.info.flags & ~O_CLOEXEC}`;
    const ordered = alike.get(key) ?? [];
    alike.set(key, ordered);
    const { index, isThere } = placeAmong(pid, ordered, one);
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
function placeAmong(pid: Pid, ordered: readonly NonEmpty<Seen>[], one: Seen): { index: number; isThere: boolean } {
  let [from, to] = [0, ordered.length];
  while (from < to) {
    const index = (from + to) >> 1;
    const [other] = ordered[index] ?? [one];
    const order = compareDescriptions(pid, other.descriptor.fd, pid, one.descriptor.fd);
    if (order === 0) return { index, isThere: true };
    if (order === KCMP_LESS) from = index + 1;
    else to = index;
  }
  return { index: from, isThere: false };
}

/** The first comes before the second in the kernel's order (kcmp(2)). */
const KCMP_LESS = 1;

function classifyDescriptor(group: Omit<ClassifiedDescriptor, 'kind'>, problems: Problem[]): ClassifiedDescriptor[] {
  const { view, closeOnExec } = group;
  const kind = descriptorKinds.find((candidate) => candidate.recognise(view));
  problems.push(...lossyPath(view.descriptor.target, [`pid ${view.pid}`, `fd ${view.fd}`]));
  if (kind === undefined) {
    problems.push(unsavable(view));
    return [];
  }
  problems.push(...(kind.obstacles?.(view) ?? []));
  if (!kind.eachNumberApart) return [{ ...group, kind }];
  return view.numbers.map((fd, index) => ({
    ...group,
    view: { ...view, fd, numbers: [fd] },
    kind,
    closeOnExec: [closeOnExec[index] ?? false],
  }));
}
