/**
 * What is in an image, as data. Only the image is read: it works on any host, without rights and without the files that the
 * image refers to. States are shown as they are in the image, so that kinds which this version does not know are shown too.
 */

import { DESCRIPTOR_SIZE } from '../arch/x86/segments.ts';
import { localDescriptorsOf } from '../arch/x86/thread-registers.ts';
import type { ByteSource } from '../image/byte-stream.ts';
import type { Head } from '../image/head.ts';
import type { OpenedInput } from '../image/image-source.ts';
import { type Cut, type LookedThrough, type LookThroughOptions, lookThrough } from '../image/look-through.ts';
import type { MissingPart } from '../image/process-model.ts';
import { type ProcessParts, partsOf } from '../image/processes.ts';
import { ImageReader } from '../image/reader.ts';
import type { Timeline } from '../image/timeline.ts';
import type { ExitedRecord, MappingState, TaskRecord } from '../image/tree.ts';
import { isLinuxCr } from '../linux-cr/layout.ts';
import type { AddressedImage } from '../pages/addressed-image.ts';
import { readLinuxCrInput } from '../pages/linux-cr-input.ts';
import { lookAhead } from '../pages/open-image.ts';
import { dynamicFunctions } from '../support/elf-symbols.ts';
import { type DescriptorInspection, describeTable, pathOf } from './inspect-descriptor.ts';
import { ofProcess, type SharingInspection, sharingIn } from './inspect-sharing.ts';
import { inspectThread, type ThreadInspection, type VdsoPlace } from './inspect-thread.ts';
import { type Json, numberAt, textAt, toJson } from './json.ts';
import { hex, mappingFlagName, permissionsOf } from './names.ts';
import { type PageCounts, PageTally } from './page-tally.ts';

/**
 * The shape of `quicksave inspect --json`. Registers, masks and addresses are texts "0x…"; sizes, counts and offsets are
 * numbers. In `state` and `aspects`, which are the image's own, whole numbers beyond 2^53 are decimal texts and byte
 * strings are `{ "bytes": length, "hex": … }`. Fields may be added; none changes its meaning.
 */
export interface Inspection {
  /** Only of an image that is not in the format of quicksave. */
  readonly format?: string;
  readonly header: HeaderInspection;
  /** Only of an incremental image whose parents are not here: arguments and stacks are not told. */
  readonly missesParent?: true;
  /** Only of an image whose end is missing: what comes before is all that is told of it. */
  readonly cut?: CutInspection;
  /** When the steps of the save were over. Missing where the image does not tell. */
  readonly timeline?: Timeline;
  /** The root first, every other behind its parent. */
  readonly processes: readonly ProcessInspection[];
  /** Those that have ended and were not waited for. */
  readonly exited: readonly ExitedInspection[];
  /** Files that mappings and the executable refer to, by object. */
  readonly files: readonly { readonly object: number; readonly path?: string; readonly state: Json }[];
  readonly sizes: SizesInspection;
}

export interface CutInspection {
  /** Of the error that any other command ends with: docs/errors.md. */
  readonly code: string;
  readonly message: string;
  /** Where it breaks off. */
  readonly atByte?: number;
}

export interface HeaderInspection {
  readonly formatVersion: number;
  readonly imageId: string;
  readonly parentId?: string;
  readonly tool: string;
  /** ISO 8601, UTC. */
  readonly createdAt: string;
  readonly kernel: { readonly release: string; readonly version: string; readonly machine: string };
  readonly pageSize: number;
  readonly cpu: {
    readonly vendor: string;
    readonly features: readonly string[];
    readonly xcr0: string;
    readonly xstateBytes: number;
    readonly xstateComponents: readonly { index: number; name: string; offset: number; sizeBytes: number }[];
  };
}

/** Where it stands in the tree. Images from before process trees do not say it. */
export interface PlaceInspection {
  readonly pid: number;
  /** Only where the image says it. */
  readonly parent?: number;
  readonly comm: string;
  readonly processGroup?: number;
  readonly session?: number;
}

export interface ExitedInspection extends PlaceInspection {
  /** In the form of waitpid(2). */
  readonly exitCode: number;
}

/** A thread with a descriptor table, or working directory, root and umask, that are not its leader's. */
export interface ThreadApartInspection extends SharingInspection {
  readonly tid: number;
  /** Of a table that no task before it has. */
  readonly descriptors?: readonly DescriptorInspection[];
}

export interface ProcessInspection extends PlaceInspection, SharingInspection {
  /** Only of an image that was cut: what there is not of it. Of `mappings` and `threads` the others are there. */
  readonly missing?: readonly MissingPart[];
  /** Only if a signal has stopped it. */
  readonly stopped?: true;
  /** Its arguments, where its pages could be looked up: not from a pipe. */
  readonly command?: readonly string[];
  readonly vdsoSha256: string;
  /** Size of the vDSO in the image, for another kernel. Missing in images of older versions. */
  readonly vdsoBytes?: number;
  /** Only of a 32-bit program. */
  readonly addressBits?: 32;
  /** Exit status of a first thread that has ended before the others, which are {@link threads}. */
  readonly leaderStatus?: number;
  /** Of one that saved itself: the command that it ran for that. */
  readonly saver?: { readonly pid: number; readonly leads: string };
  /** Entries of its LDT, if it has one. */
  readonly localDescriptors?: number;
  /** Credentials, limits, signal actions and so on, by the name of the aspect. */
  readonly aspects: { readonly [name: string]: Json };
  readonly threads: readonly ThreadInspection[];
  readonly mappings: readonly MappingInspection[];
  readonly descriptors: readonly DescriptorInspection[];
  /** Missing: there are none. */
  readonly apart?: readonly ThreadApartInspection[];
}

export interface MappingInspection {
  readonly start: string;
  readonly end: string;
  readonly sizeBytes: number;
  /** `rw-` */
  readonly permissions: string;
  readonly offset: number;
  readonly kind: string;
  /** Path of the file behind it. */
  readonly file?: string;
  /** A name that the kernel or the program gave it. */
  readonly name?: string;
  readonly flags: readonly string[];
  /** Pages in the image. */
  readonly pages: PageCounts;
  readonly state: Json;
}

export interface SizesInspection {
  readonly imageBytes: number;
  /** Page data as it is stored; the rest of the image is metadata and padding. */
  readonly storedPageBytes: number;
  readonly otherBytes: number;
  readonly records: number;
  readonly pages: PageCounts;
  readonly memory: readonly ({ readonly kind: string; readonly mappings: number } & PageCounts)[];
  /** Pages of descriptors' own content, by object. */
  readonly content: readonly ({ readonly object: number } & PageCounts)[];
}

/**
 * Reads a whole image. Of a source that can skip, the page data is passed over unread: `verify` is what checks it. Throws
 * ImageError for what is no image, or a damaged one.
 */
export function inspectImage(source: ByteSource, options: LookThroughOptions = {}): Inspection {
  const reader = new ImageReader(source, source.skip === undefined ? oneBuffer() : { pageData: 'skip' });
  const tally = new PageTally();
  const { model, ...whole } = lookThrough(reader, (chunk) => tally.add(chunk), options);
  return describe(model, tally, whole);
}

/** Of an image in whatever format: ours, or a stream of 2008. */
export function inspectInput(opened: OpenedInput, options: LookThroughOptions = {}): Inspection {
  const { start, source } = lookAhead(opened);
  if (!isLinuxCr(start)) return inspectImage(source, options);
  const input = readLinuxCrInput(opened, source);
  try {
    const tally = new PageTally();
    for (const chunk of input.chunks) tally.add(chunk);
    return describe(input.model, tally, input.checkPages());
  } finally {
    input.close();
  }
}

/** Page data of a stream is read and dropped, always into the same memory. */
function oneBuffer(): { bufferFor: (chunk: { storedBytes: number }) => Uint8Array } {
  let buffer = new Uint8Array(0);
  return {
    bufferFor: ({ storedBytes }) => {
      if (buffer.length < storedBytes) buffer = new Uint8Array(storedBytes);
      return buffer;
    },
  };
}

/** Of an image whose pages can be looked up. */
export function inspectAddressed(image: AddressedImage): Inspection {
  const tally = new PageTally();
  for (const chunk of image.chunks) tally.add(chunk);
  return describe(image.model, tally, image, (process) => {
    const fields = toJson(process.aspects['memoryMapFields']);
    const start = numberAt(fields, 'argStart') ?? 0;
    const length = (numberAt(fields, 'argEnd') ?? 0) - start;
    if (length <= 0) return undefined;
    const bytes = image.pages(process.memoryObject).bytes(start, Math.min(length, MAX_ARGUMENTS));
    const words = bytes.toString().split('\0');
    return words.at(-1) === '' ? words.slice(0, -1) : words;
  });
}

/** More is not shown. */
const MAX_ARGUMENTS = 128 * 1024;

function describe(
  model: ShownModel,
  tally: PageTally,
  whole: Omit<LookedThrough, 'model' | 'timeline'> & { readonly timeline?: Timeline | undefined },
  commandOf: (process: ProcessParts) => string[] | undefined = () => undefined,
): Inspection {
  const sharing = sharingIn(model);
  const { cut } = whole;
  const processes = model.processes.map(partsOf).map((process) => ({
    ...describeProcess(process, { model, tally, sharing }, commandOf(process)),
    ...missingOf(process, cut),
  }));
  return {
    ...(model.origin === undefined ? {} : { format: model.origin.format }),
    header: describeHeader(model.head),
    ...(cut === undefined ? {} : { cut: describeCut(cut) }),
    ...(whole.timeline === undefined ? {} : { timeline: whole.timeline }),
    processes,
    exited: model.exited.map((one) => ({ ...placeOf(one), exitCode: one.exitCode })),
    files: [...model.mappedFiles].map(([object, saved]) => {
      const state = toJson(saved);
      return { object, ...pathOf(state), state };
    }),
    sizes: {
      imageBytes: whole.imageBytes,
      records: whole.records,
      storedPageBytes: tally.storedBytes,
      otherBytes: whole.imageBytes - tally.storedBytes,
      pages: tally.total(),
      memory: byKind(processes.flatMap(({ mappings }) => mappings)),
      content: [...model.descriptions.keys()].flatMap((object) =>
        tally.has(object) ? [{ object, ...tally.of(object) }] : [],
      ),
    },
  };
}

/** Also of an image that was cut. */
type ShownModel = LookedThrough['model'];

export function describeCut({ error: { code, message, offset } }: Cut): CutInspection {
  return { code, message, ...(offset === undefined ? {} : { atByte: offset }) };
}

function missingOf({ task }: ProcessParts, cut: Cut | undefined): Pick<ProcessInspection, 'missing'> {
  const missing = cut?.missing.get(task.pid) ?? [];
  return missing.length === 0 ? {} : { missing };
}

interface Whole {
  readonly model: ShownModel;
  readonly tally: PageTally;
  readonly sharing: ReadonlyMap<number, SharingInspection>;
}

function describeProcess(
  process: ProcessParts,
  { model, tally, sharing }: Whole,
  command: string[] | undefined,
): ProcessInspection {
  const { task, aspects, threads, descriptors, apart } = process;
  const vdsoPlace = placeInVdso(process);
  const shared = ofProcess(sharing.get(task.pid) ?? {}, task.pid);
  // Those of memory that it shares are said of the process before.
  const mappings = shared.memoryOf === undefined ? process.mappings : [];
  const pages = tally.perRange(process.memoryObject, mappings);
  return {
    ...placeOf(task),
    ...shared,
    ...(task.stopped === undefined ? {} : { stopped: true }),
    ...(command === undefined ? {} : { command }),
    vdsoSha256: task.vdso.sha256,
    ...(task.vdso.image === undefined ? {} : { vdsoBytes: task.vdso.image.length }),
    ...(task.addressBits === 32 ? { addressBits: 32 } : {}),
    ...(task.leaderStatus === undefined ? {} : { leaderStatus: task.leaderStatus }),
    ...(task.saver === undefined ? {} : { saver: task.saver }),
    ...localDescriptorsIn(process),
    aspects: Object.fromEntries(Object.entries(aspects).map(([name, state]) => [name, toJson(state)])),
    threads: threads.map((thread) => inspectThread(thread, vdsoPlace)),
    mappings: mappings.map((mapping, index) =>
      describeMapping(mapping, pages[index] ?? { dataPages: 0, zeroPages: 0 }, model),
    ),
    descriptors: describeTable(descriptors, model),
    ...(apart.length === 0 ? {} : { apart: apart.map((thread) => describeApart(thread, model, sharing)) }),
  };
}

function describeApart(
  { tid, files }: ProcessParts['apart'][number],
  model: ShownModel,
  sharing: Whole['sharing'],
): ThreadApartInspection {
  const own = sharing.get(tid) ?? {};
  const isFirst = files !== undefined && own.descriptorTableOf === tid;
  return { tid, ...own, ...(isFirst ? { descriptors: describeTable(files.entries, model) } : {}) };
}

function placeOf({ pid, comm, parent, processGroup, session }: TaskRecord | ExitedRecord): PlaceInspection {
  return {
    pid,
    comm,
    ...(parent === undefined ? {} : { parent }),
    ...(processGroup === undefined ? {} : { processGroup }),
    ...(session === undefined ? {} : { session }),
  };
}

function placeInVdso({ task, mappings }: ProcessParts): VdsoPlace {
  const image = Buffer.from(task.vdso.image ?? []);
  const vdso = mappings.find(({ kind, state }) => kind === 'kernel' && textAt(toJson(state), 'name') === '[vdso]');
  const functions = dynamicFunctions(image) ?? [];
  return (address) => {
    if (vdso === undefined || address < vdso.start || address >= vdso.end) return undefined;
    const offset = address - vdso.start;
    const within = functions.filter((one) => one.offset <= offset && offset < one.offset + one.sizeBytes);
    const { name, offset: start } = within.find((one) => one.name.startsWith('__')) ??
      within[0] ?? { name: '', offset: 0 };
    return `${name}+${hex(offset - start)}`;
  };
}

function localDescriptorsIn({ memoryContext }: ProcessParts): Pick<ProcessInspection, 'localDescriptors'> {
  const sizeBytes = localDescriptorsOf(memoryContext).length;
  return sizeBytes === 0 ? {} : { localDescriptors: sizeBytes / DESCRIPTOR_SIZE };
}

function describeHeader({ formatVersion, state }: Head): HeaderInspection {
  const { cpu } = state;
  return {
    formatVersion,
    imageId: state.imageId,
    ...(state.parentId === undefined ? {} : { parentId: state.parentId }),
    tool: state.tool,
    createdAt: timeText(state.createdAt),
    kernel: { ...state.kernel },
    pageSize: state.pageSize,
    cpu: {
      vendor: cpu.vendor,
      features: [...cpu.features],
      xcr0: hex(cpu.xcr0),
      xstateBytes: cpu.xstateSize,
      xstateComponents: cpu.components.map(({ index, name, offset, size }) => ({
        index,
        name,
        offset,
        sizeBytes: size,
      })),
    },
  };
}

/** The largest time of ECMAScript; what is later is no time of an image. */
const MAX_TIME_MS = 8.64e15;
const timeText = (ms: number): string => (ms <= MAX_TIME_MS ? new Date(ms).toISOString() : `${ms} ms`);

function describeMapping(mapping: MappingState, pages: PageCounts, model: ShownModel): MappingInspection {
  const state = toJson(mapping.state);
  const name = textAt(state, 'name');
  return {
    start: hex(mapping.start),
    end: hex(mapping.end),
    sizeBytes: mapping.end - mapping.start,
    permissions: permissionsOf(mapping.protection),
    offset: mapping.offset,
    kind: mapping.kind,
    ...fileOf(state, model),
    ...(name === undefined || name === '' ? {} : { name }),
    flags: mapping.flags.map(mappingFlagName),
    pages,
    state,
  };
}

/** A mapping's state names its file by object. */
function fileOf(state: Json, model: ShownModel): { file?: string } {
  const [named, nameless] = [numberAt(state, 'file'), numberAt(state, 'object')];
  if (named !== undefined) return asFile(pathOf(toJson(model.mappedFiles.get(named))).path);
  if (nameless === undefined) return {};
  const { kind, state: saved } = model.descriptions.get(nameless) ?? {};
  const object = toJson(saved);
  const { path } = pathOf(object);
  const id = numberAt(object, 'id');
  return asFile(path ?? textAt(object, 'name') ?? (id === undefined ? kind : `${kind} ${id}`));
}

const asFile = (file: string | undefined): { file?: string } => (file === undefined ? {} : { file });

function byKind(mappings: readonly MappingInspection[]): SizesInspection['memory'] {
  const kinds = new Map<string, { -readonly [Key in keyof PageCounts]: PageCounts[Key] } & { mappings: number }>();
  for (const { kind, pages } of mappings) {
    const sum = kinds.get(kind) ?? { mappings: 0, dataPages: 0, zeroPages: 0 };
    sum.mappings++;
    sum.dataPages += pages.dataPages;
    sum.zeroPages += pages.zeroPages;
    if (pages.parentPages !== undefined) sum.parentPages = (sum.parentPages ?? 0) + pages.parentPages;
    if (pages.relativePages !== undefined) sum.relativePages = (sum.relativePages ?? 0) + pages.relativePages;
    kinds.set(kind, sum);
  }
  return [...kinds].map(([kind, sum]) => ({ kind, ...sum })).sort((a, b) => b.dataPages - a.dataPages);
}
