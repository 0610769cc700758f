/** Collect, the part of files: what mappings, the executable link and descriptors refer to, as objects of the image. */
import { statSync } from 'node:fs';
import type { DescriptionRecord, FilesRecord } from '../image/tree.ts';
import { OPEN } from '../kernel/abi/fcntl.ts';
import { duplicate, duplicateFrom, openFile, tryOpenPidfd } from '../kernel/calls/descriptors.ts';
import { KernelError } from '../kernel/errors.ts';
import type { OwnedFd } from '../kernel/owned-fd.ts';
import { readFdinfo } from '../procfs/fdinfo.ts';
import type { ConnectionKeeper } from '../resources/connection-keeper.ts';
import { mayFollowMappings } from '../resources/map-files.ts';
import { collectMappedFile, type MappedFile } from '../resources/mapped-file.ts';
import { refusesOutside } from '../resources/outside-policy.ts';
import { descriptorKinds } from '../resources/registry.ts';
import type {
  DescriptorKind,
  DescriptorView,
  FileReferences,
  OpenDescriptor,
  ShownFile,
} from '../resources/resource.ts';
import { isSegmentName } from '../resources/segment-names.ts';
import { collectSignals } from '../resources/signal-driven.ts';
import { asPid, type LocalFd, localFd, type Pid, remoteFd } from '../support/brand.ts';
import { type Problem, QuicksaveError } from '../support/errors.ts';
import { type ClassifiedDescriptor, statOf } from './preflight.ts';

export interface Description {
  readonly objref: number;
  readonly record: DescriptionRecord;
}

export interface ObjectContent {
  readonly objref: number;
  readonly own: OwnedFd;
  readonly sizeBytes: number;
}

/** Gives out object references. */
export class Objects {
  #next = 1;
  next(): number {
    return this.#next++;
  }
}

export class CollectedFiles implements FileReferences {
  readonly found: { objref: number; state: MappedFile }[] = [];
  /** Files without a name, behind mappings. */
  readonly nameless: NamelessFile[] = [];
  /** Objects that are descriptions of the tree, by their inodes: their numbers are given out before the descriptions are described. */
  readonly mappedDescriptions = new Map<bigint, number>();
  readonly #objects: Objects;
  readonly #known = new Map<string, { objref: number; shown: ShownFile | undefined }>();
  readonly #problems: Problem[];

  constructor(objects: Objects, problems: Problem[]) {
    this.#objects = objects;
    this.#problems = problems;
  }

  reference(link: string, path: string, writable = false, shown?: ShownFile): number {
    const key = `${writable ? 'w' : 'r'} ${path}`;
    const known = this.#known.get(key);
    if (known !== undefined && isSameShown(known.shown, shown)) return known.objref;
    const objref = this.#objects.next();
    this.#known.set(key, { objref, shown });
    try {
      this.found.push({ objref, state: collectMappedFile(link, path, writable, shown) });
    } catch (error) {
      if (!(error instanceof QuicksaveError)) throw error;
      const { code, message, remedy } = error;
      this.#problems.push({ code, path: ['mapped file', path], message, remedy });
    }
    return objref;
  }

  object(link: string, path: string, writable: boolean): number {
    // Its mapping is refused for that already; what else there is, is looked at all the same.
    if (!mayFollowMappings()) return this.#objects.next();
    const { dev, ino } = statSync(link, { bigint: true });
    // The inode number of a System V segment, which is its id, may be that of another file too.
    const key = `nameless ${writable ? 'w' : 'r'} ${dev} ${ino} ${isSegmentName(path)}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known.objref;
    const objref = this.#objects.next();
    this.#known.set(key, { objref, shown: undefined });
    this.nameless.push({ objref, link, path, writable });
    return objref;
  }

  described(inode: bigint): number {
    const known = this.mappedDescriptions.get(inode) ?? this.#objects.next();
    this.mappedDescriptions.set(inode, known);
    return known;
  }
}

/** A file without a name that mappings show: an object of the image, whether a descriptor has it or not. */
interface NamelessFile {
  readonly objref: number;
  readonly link: string;
  readonly path: string;
  readonly writable: boolean;
}

/** A mount over a file gives its path to another one: then the paths are equal, and one of the two is refused. */
const isSameShown = (a: ShownFile | undefined, b: ShownFile | undefined): boolean =>
  a === undefined ||
  b === undefined ||
  (a.inode === b.inode && a.device.major === b.device.major && a.device.minor === b.device.minor);

/** What the collecting of descriptions needs. */
export interface DescriptionSource {
  /** The root of the tree. */
  readonly root: Pid;
  readonly descriptors: readonly ClassifiedDescriptor[];
  readonly connections: ConnectionKeeper;
  /** Found on the way. */
  readonly problems: Problem[];
}

/** Handles of tasks: those of processes are somebody else's, those of threads are opened when they are asked for. */
export class TaskPidfds {
  readonly #known: Map<Pid, LocalFd>;
  readonly #opened: OwnedFd[] = [];

  constructor(known: Iterable<readonly [Pid, LocalFd]>) {
    this.#known = new Map(known);
  }

  of(task: Pid): LocalFd {
    const known = this.#known.get(task);
    if (known !== undefined) return known;
    const opened = tryOpenPidfd(task);
    if (opened === undefined)
      throw new QuicksaveError('target-ended', `Thread ${task} ended while it was being saved.`);
    this.#opened.push(opened);
    this.#known.set(task, opened.number);
    return opened.number;
  }

  close(): void {
    for (const one of this.#opened) one.close();
  }
}

export interface CollectedDescriptors {
  readonly descriptions: Description[];
  readonly contents: ObjectContent[];
  /** By the task whose table it is. */
  readonly tables: ReadonlyMap<Pid, FilesRecord>;
}

/** What mappings of it have called it. */
const numberOf = ({ view, kind }: ClassifiedDescriptor, mapped: ReadonlyMap<bigint, number>): number | undefined =>
  kind.isMapped === true ? mapped.get(view.stat.inode) : undefined;

/** `pidfds`: of tasks that have a table. `mapped`: {@link CollectedFiles.mappedDescriptions}. */
export function collectDescriptors(
  { descriptors: found, connections, problems }: DescriptionSource,
  pidfds: TaskPidfds,
  objects: Objects,
  mapped: ReadonlyMap<bigint, number>,
): CollectedDescriptors {
  const contents: ObjectContent[] = [];
  const tables = new Map<Pid, FilesRecord>();
  const numbered = found.map((one) => ({ ...one, objref: numberOf(one, mapped) ?? objects.next() }));
  const refused = new Set(problems.map(({ path: [pid, fd] }) => `${pid} ${fd}`));
  const carried = new Map(numbered.flatMap(({ inFlight, objref }) => inFlight.map((own) => [own, objref] as const)));
  const objectInFlight = (own: LocalFd): number => carried.get(own) ?? nothingInFlight();
  const descriptions = numbered.map(({ view, kind, entries, objref }) => {
    for (const { pid, fd, closeOnExec } of entries) {
      const table = tables.get(pid) ?? { entries: [] };
      tables.set(pid, table);
      table.entries.push({ fd, object: objref, closeOnExec });
    }
    const own =
      view.inFlightTo === undefined
        ? duplicateFrom(pidfds.of(view.pid), view.fd, view.pid)
        : duplicate(localFd(view.fd));
    const signals = collectSignals(view, own.number, problems);
    const open = { ...view, own: own.number, connections, objectInFlight };
    const isRefused = refused.has(placeOf(view));
    const described = isRefused
      ? own.close()
      : orProblem(problems, view, () => describe(objref, kind, open, own, contents));
    if (described === undefined) return { objref, record: UNKNOWN };
    const { record } = described;
    return { objref, record: signals === undefined ? record : { ...record, signals } };
  });
  for (const [inode, objref] of mapped) {
    if (!numbered.some((one) => one.objref === objref)) problems.push(closedButMapped(inode));
  }
  for (const { entries } of tables.values()) entries.sort((a, b) => a.fd - b.fd);
  return { descriptions, contents, tables };
}

/** As problems name it. */
const placeOf = ({ pid, fd, inFlightTo }: DescriptorView): string =>
  inFlightTo === undefined ? `pid ${pid} fd ${fd}` : `pid ${inFlightTo.pid} in flight to fd ${inFlightTo.fd}`;

/** In the place of what is refused, for a reason that is among the problems: what else it is, is no question then. */
const UNKNOWN: DescriptionRecord = { kind: 'unknown', state: undefined, contentBytes: 0 };

export const isUnknown = ({ record }: Description): boolean => record === UNKNOWN;

/** What one descriptor is refused for is told together with what others are. */
function orProblem<T>(problems: Problem[], { pid, fd, descriptor }: DescriptorView, read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof QuicksaveError) || error instanceof KernelError) throw error;
    const { code, message, remedy } = error;
    problems.push({ code, path: [`pid ${pid}`, `fd ${fd}`, descriptor.target], message, remedy });
    return undefined;
  }
}

const closedButMapped = (inode: bigint): Problem => ({
  code: 'shared-memory',
  path: ['mapped file', `inode ${inode}`],
  message: 'It has memory of an io_uring mapped that no process has open any more.',
  remedy: 'Save it when the program has unmapped this memory.',
});

/** Of what has no queue, or whose queue was not looked into. */
export function nothingInFlight(): never {
  throw new Error('what is in flight has been seen before');
}

/** Takes `own`: it is closed, or stays open for the content. */
function describe(
  objref: number,
  kind: DescriptorKind<unknown>,
  open: OpenDescriptor,
  own: OwnedFd,
  contents: ObjectContent[],
): Description {
  let contentBytes = 0;
  try {
    const state = kind.collect(open);
    contentBytes = kind.contentBytes?.(state) ?? 0;
    return { objref, record: { kind: kind.kind, state, contentBytes } };
  } finally {
    if (contentBytes > 0) contents.push({ objref, own, sizeBytes: contentBytes });
    else own.close();
  }
}

/** What mappings show and descriptors need not have: descriptions of the same kinds, under numbers that are none. */
export function collectNameless(
  found: readonly NamelessFile[],
  { root, descriptors, connections, problems }: DescriptionSource,
  into: { readonly descriptions: Description[]; readonly contents: ObjectContent[] },
): void {
  const siblings = descriptors.map(({ view }) => view);
  const tree = siblings[0]?.tree ?? new Set([root]);
  found.forEach(({ objref, link, path, writable }, index) => {
    const flags = writable ? OPEN.O_RDWR : OPEN.O_RDONLY;
    const own = openFile(link, flags);
    const fd = remoteFd(-1 - index);
    const view: DescriptorView = {
      pid: root,
      fd,
      descriptor: { fd, target: `${path} (deleted)`, kind: 'path', name: path, deleted: true },
      info: { ...readFdinfo(asPid(process.pid), remoteFd(own.number)), flags, locks: [] },
      stat: statOf(`/proc/self/fd/${own.number}`),
      numbers: [],
      holders: [],
      tree,
      siblings,
      outsiders: [],
      outside: refusesOutside,
      queuesSeen: true,
    };
    siblings.push(view);
    const kind = descriptorKinds.find((candidate) => candidate.recognise(view));
    for (const obstacle of kind?.obstacles?.(view) ?? []) {
      problems.push({ ...obstacle, path: [`pid ${root}`, 'mapped file', path] });
    }
    if (kind !== undefined) {
      const open = { ...view, own: own.number, connections, objectInFlight: nothingInFlight };
      into.descriptions.push(describe(objref, kind, open, own, into.contents));
      return;
    }
    own.close();
    problems.push({
      code: 'shared-memory',
      path: [`pid ${root}`, 'mapped file', path],
      message: 'It is memory that cannot be made again yet.',
      remedy: 'Save it when the program has unmapped this memory.',
    });
  });
}
