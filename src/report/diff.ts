/**
 * What changed between two saves: threads and their registers, mappings, descriptors, every other state, and memory byte by
 * byte. Both images are read and checked whole. What only says when and by what an image was made is no change.
 */
import { imagesBeside } from '../image/image-folder.ts';
import { sourceOf } from '../image/image-source.ts';
import type { ImageAccess } from '../image/protection.ts';
import { type ImageInput, readImageFile } from '../pages/image-input.ts';
import { type KeptInput, keptInput } from '../pages/kept-stream.ts';
import { PageCrew } from '../pages/page-crew.ts';
import type { StoredPage } from '../pages/stored-pages.ts';
import { openInput } from '../remote/open-input.ts';
import { QuicksaveError } from '../support/errors.ts';
import { type Inspection, inspectImage, type MappingInspection, type ProcessInspection } from './inspect.ts';
import { isObject, type Json, numberAt } from './json.ts';

const PAGE = 4096;
/** Ranges of one mapping that are listed; the others are only counted. */
const MAX_RANGES = 1000;
/** Bytes that are equal between two changes, up to which these are told as one. */
const JOINED_GAP = 16;

/** A value that is there in one image only is left out for the other. */
export interface Change {
  /** Names and numbers, joined by dots: `limits.RLIMIT_NOFILE.soft`. */
  readonly path: string;
  readonly a?: Json;
  readonly b?: Json;
}

export interface MemoryChange {
  /** Whose it is. Missing where the images have only one process. */
  readonly pid?: number;
  readonly start: string;
  readonly end: string;
  /** The file, or the name, of the mapping; '' for none. */
  readonly name: string;
  readonly changedPages: number;
  readonly changedBytes: number;
  /** Ascending; at most 1000. */
  readonly ranges: readonly { readonly start: string; readonly bytes: number }[];
}

/** The shape of `quicksave diff --json`. */
export interface Difference {
  readonly same: boolean;
  readonly a: { readonly imageId: string; readonly createdAt: string };
  readonly b: { readonly imageId: string; readonly createdAt: string };
  /** Kernel, processor, format. */
  readonly header: readonly Change[];
  /** The path begins with the pid. */
  readonly processes: readonly Change[];
  /** Of threads that both images have, register by register; a thread of one only is one change. */
  readonly threads: readonly Change[];
  readonly mappings: readonly Change[];
  readonly descriptors: readonly Change[];
  readonly memory: readonly MemoryChange[];
  /** Bytes of files without a name, by the descriptor or the mapping that has them. */
  readonly content: readonly MemoryChange[];
}

export interface ImagesOptions {
  /** The folder where parents are; undefined: that of the image. */
  readonly images?: string | undefined;
  readonly access?: ImageAccess | undefined;
}

/** Each is a file's name, an address, or `-` for standard input; what comes as a stream is kept in memory. Throws ImageError for a damaged one. */
export function diffImages(a: string, b: string, options: ImagesOptions = {}): Difference {
  if (a === '-' && b === '-') {
    throw new QuicksaveError('not-a-file', 'Only one of two images can come from standard input.', {
      remedy: 'Write the other into a file first.',
    });
  }
  return withImage(a, options, (first) => withImage(b, options, (second) => compare(first, second)));
}

interface OpenedImage {
  readonly inspection: Inspection;
  readonly input: ImageInput;
}

function withImage<T>(path: string, { images, access }: ImagesOptions, use: (image: OpenedImage) => T): T {
  const opened = openInput(path, { access });
  const crew = new PageCrew(opened.sizeBytes ?? 0, () => {
    // It is over before anybody would want to see how far it is.
  });
  let kept: KeptInput | undefined;
  let input: ImageInput | undefined;
  try {
    kept = keptInput(opened);
    input = readImageFile(kept, crew, imagesBeside(path, images, access), { isEncrypted: kept.isEncrypted });
    return use({ inspection: inspectImage(sourceOf(kept)), input });
  } finally {
    input?.close();
    kept?.close();
    opened.close();
    crew.dismiss();
  }
}

function compare(a: OpenedImage, b: OpenedImage): Difference {
  const common = processesOfBoth(a.inspection, b.inspection);
  const isTree = Math.max(a.inspection.processes.length, b.inspection.processes.length) > 1;
  const each = (
    compareOne: (before: ProcessInspection, after: ProcessInspection, path: string) => Change[],
  ): Change[] => common.flatMap(([before, after]) => compareOne(before, after, isTree ? String(before.pid) : ''));
  const parts = {
    header: changes(headerOf(a.inspection), headerOf(b.inspection)),
    processes: [
      ...changes(placesOf(a.inspection), placesOf(b.inspection)),
      ...common.flatMap(([before, after]) => changes(processOf(before), processOf(after), String(before.pid))),
    ],
    threads: each((before, after) => changes(byKey(before.threads, 'tid'), byKey(after.threads, 'tid'))),
    mappings: each((before, after, path) => changes(mappingsOf(before), mappingsOf(after), path)),
    descriptors: each((before, after, path) => changes(descriptorsOf(before), descriptorsOf(after), path)),
    memory: common.flatMap(([before, after]) => ofProcess(before, isTree, memoryChanges(a, b, before, after))),
    content: common.flatMap(([before, after]) => ofProcess(before, isTree, contentChanges(a, b, before, after))),
  };
  return {
    same: Object.values(parts).every((part) => part.length === 0),
    a: { imageId: a.inspection.header.imageId, createdAt: a.inspection.header.createdAt },
    b: { imageId: b.inspection.header.imageId, createdAt: b.inspection.header.createdAt },
    ...parts,
  };
}

const ofProcess = (
  { pid }: ProcessInspection,
  isTree: boolean,
  found: readonly MemoryChange[],
): readonly MemoryChange[] => (isTree ? found.map((change) => ({ pid, ...change })) : found);

type BothProcesses = readonly [ProcessInspection, ProcessInspection];

function processesOfBoth(a: Inspection, b: Inspection): BothProcesses[] {
  const after = new Map(b.processes.map((process) => [process.pid, process]));
  return a.processes.flatMap((before): BothProcesses[] => {
    const other = after.get(before.pid);
    return other === undefined ? [] : [[before, other]];
  });
}

/** Which processes there are, and which have ended. */
const placesOf = ({ processes, exited }: Inspection): Json =>
  plainOf({
    ...Object.fromEntries(processes.map(({ pid, comm }) => [String(pid), { comm }])),
    ...Object.fromEntries(exited.map(({ pid, ...place }) => [String(pid), { exited: place }])),
  });

/** As data without types: what JSON.stringify makes of it. */
const plainOf = (value: unknown): Json => JSON.parse(JSON.stringify(value)) as Json;

function headerOf({ header }: Inspection): Json {
  const { imageId: _id, parentId: _parent, createdAt: _when, tool: _tool, ...others } = header;
  return plainOf(others);
}

function processOf({
  comm: _c,
  threads: _t,
  mappings: _m,
  descriptors: _d,
  apart: _a,
  ...others
}: ProcessInspection): Json {
  return plainOf(others);
}

function byKey<T>(entries: readonly T[], key: keyof T): Json {
  return plainOf(Object.fromEntries(entries.map(({ ...entry }) => [String(entry[key]), entry])));
}

/** Numbers of objects mean nothing outside of their image. */
function withoutObjects(state: Json): Json {
  if (!isObject(state)) return state;
  return Object.fromEntries(
    Object.entries(state).filter(
      ([key, value]) => !((key === 'file' || key === 'object') && typeof value === 'number'),
    ),
  );
}

const mappingsOf = ({ mappings }: ProcessInspection): Json =>
  plainOf(
    Object.fromEntries(
      mappings.map(({ start, pages: _, state, ...others }) => [start, { ...others, state: withoutObjects(state) }]),
    ),
  );

/** Those of threads with a table of their own behind those of the process, as `thread 4712`. */
function descriptorsOf({ descriptors, apart = [] }: ProcessInspection): Json {
  const first = new Map<number, string>();
  const ofProcess = tableOf(descriptors, first);
  const threads = apart.map(({ tid, descriptors: own = [], ...others }) => {
    const name = `thread ${tid}`;
    return [name, { ...others, ...tableOf(own, first, `${name} `) }];
  });
  return plainOf({ ...ofProcess, ...Object.fromEntries(threads) });
}

/** Sharing of one open file description, by the first number that has it. */
function tableOf(
  descriptors: ProcessInspection['descriptors'],
  first: Map<number, string>,
  table = '',
): Record<string, unknown> {
  for (const { object, fd } of descriptors) if (!first.has(object)) first.set(object, `${table}${fd}`);
  return Object.fromEntries(
    descriptors.map(({ fd, object, state, ...others }) => [
      String(fd),
      { ...others, sharedWith: first.get(object), state: withoutObjects(state) },
    ]),
  );
}

/** Every place where two values differ. */
export function changes(a: Json | undefined, b: Json | undefined, path = ''): Change[] {
  if (isObject(a) && isObject(b)) {
    const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
    return [...keys].flatMap((key) => changes(a[key], b[key], path === '' ? key : `${path}.${key}`));
  }
  if (Array.isArray(a) && Array.isArray(b)) {
    return Array.from({ length: Math.max(a.length, b.length) }, (_, index) =>
      changes(a[index], b[index], `${path}.${index}`),
    ).flat();
  }
  if (JSON.stringify(a) === JSON.stringify(b)) return [];
  return [{ path, ...(a === undefined ? {} : { a }), ...(b === undefined ? {} : { b }) }];
}

/** Both images' pages of one object, side by side; a page that one does not have is zero, or that of its file. */
function* pairs(
  a: Iterable<StoredPage>,
  b: Iterable<StoredPage>,
): Generator<{ address: number; a?: StoredPage; b?: StoredPage }> {
  const [left, right] = [a[Symbol.iterator](), b[Symbol.iterator]()];
  let [one, other] = [left.next(), right.next()];
  while (one.done !== true || other.done !== true) {
    const first = one.done === true ? Number.POSITIVE_INFINITY : one.value.address;
    const second = other.done === true ? Number.POSITIVE_INFINITY : other.value.address;
    const address = Math.min(first, second);
    yield {
      address,
      ...(first === address && one.done !== true ? { a: one.value } : {}),
      ...(second === address && other.done !== true ? { b: other.value } : {}),
    };
    if (first === address) one = left.next();
    if (second === address) other = right.next();
  }
}

const zeroPage = new Uint8Array(PAGE);

/** Collects changed bytes as ranges, page after page. */
class Ranges {
  readonly #found: { start: number; end: number }[] = [];
  #pages = 0;
  #bytes = 0;

  get isEmpty(): boolean {
    return this.#pages === 0;
  }

  add(address: number, a: Uint8Array, b: Uint8Array): void {
    if (Buffer.compare(a, b) === 0) return;
    this.#pages++;
    for (let index = 0; index < PAGE; index++) {
      if (a[index] === b[index]) continue;
      this.#bytes++;
      this.#note(address + index, address + index + 1);
    }
  }

  /** Of a page of which only one image has the bytes, and the other its file's: they are not known here. */
  addWhole(address: number): void {
    this.#pages++;
    this.#bytes += PAGE;
    this.#note(address, address + PAGE);
  }

  #note(start: number, end: number): void {
    const last = this.#found.at(-1);
    if (last !== undefined && start - last.end <= JOINED_GAP) last.end = end;
    else this.#found.push({ start, end });
  }

  describe(start: string, end: string, name: string): MemoryChange {
    return {
      start,
      end,
      name,
      changedPages: this.#pages,
      changedBytes: this.#bytes,
      ranges: this.#found
        .slice(0, MAX_RANGES)
        .map((range) => ({ start: `0x${range.start.toString(16)}`, bytes: range.end - range.start })),
    };
  }
}

function pagesOf({ input }: OpenedImage, pid: number): Iterable<StoredPage> {
  const process = input.model.processes.find(({ task }) => task.pid === pid);
  return process === undefined ? [] : input.pages(process.task.memory);
}

/** Pages of mappings that both images have, and that are of one kind. */
function memoryChanges(
  a: OpenedImage,
  b: OpenedImage,
  before: ProcessInspection,
  after: ProcessInspection,
): MemoryChange[] {
  const mappings = new Map(after.mappings.map((mapping) => [mapping.start, mapping]));
  const common = before.mappings.filter((mapping) => mappings.get(mapping.start)?.kind === mapping.kind);
  const found = new Map<MappingInspection, Ranges>();
  let index = 0;
  for (const pair of pairs(pagesOf(a, before.pid), pagesOf(b, after.pid))) {
    while (Number(common[index]?.end ?? Number.POSITIVE_INFINITY) <= pair.address) index++;
    const mapping = common[index];
    if (mapping === undefined || Number(mapping.start) > pair.address) continue;
    const ranges = found.get(mapping) ?? new Ranges();
    found.set(mapping, ranges);
    comparePage(ranges, pair, mapping.kind === 'anonymous');
  }
  return [...found]
    .filter(([, ranges]) => !ranges.isEmpty)
    .map(([{ start, end, file, name }, ranges]) => ranges.describe(start, end, file ?? name ?? ''));
}

function comparePage(
  ranges: Ranges,
  pair: { address: number; a?: StoredPage; b?: StoredPage },
  absentIsZero: boolean,
): void {
  const { address, a, b } = pair;
  if ((a === undefined || b === undefined) && !absentIsZero) {
    ranges.addWhole(address);
    return;
  }
  ranges.add(address, a?.bytes ?? zeroPage, b?.bytes ?? zeroPage);
}

interface Content {
  readonly object: number;
  readonly sizeBytes: number;
}

/** By who has it: the lowest descriptor, or the first mapping. */
function contentsOf({ input }: OpenedImage, { descriptors, mappings }: ProcessInspection): Map<string, Content> {
  const found = new Map<string, Content>();
  const named = new Set<number>();
  const add = (object: number | undefined, name: string): void => {
    const sizeBytes = object === undefined ? 0 : (input.model.descriptions.get(object)?.contentBytes ?? 0);
    if (object === undefined || sizeBytes === 0 || named.has(object)) return;
    named.add(object);
    found.set(name, { object, sizeBytes });
  };
  for (const { fd, object } of descriptors) add(object, `descriptor ${fd}`);
  for (const { start, state } of mappings) add(numberAt(state, 'object'), `mapping ${start}`);
  return found;
}

function contentChanges(
  a: OpenedImage,
  b: OpenedImage,
  before: ProcessInspection,
  after: ProcessInspection,
): MemoryChange[] {
  const others = contentsOf(b, after);
  return [...contentsOf(a, before)].flatMap(([name, content]) => {
    const other = others.get(name);
    if (other === undefined) return [];
    const ranges = new Ranges();
    for (const pair of pairs(a.input.pages(content.object), b.input.pages(other.object)))
      comparePage(ranges, pair, true);
    const size = Math.max(content.sizeBytes, other.sizeBytes);
    return ranges.isEmpty ? [] : [ranges.describe('0x0', `0x${size.toString(16)}`, name)];
  });
}
