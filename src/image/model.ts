/**
 * An image as data: the records put together and checked against each other, so that whoever uses it can rely on every
 * reference. What the states of single kinds mean is not known here.
 */
import { ImageError, type Problem } from '../support/errors.ts';
import { decodeHead, type Head } from './head.ts';
import { badRecord } from './image-errors.ts';
import type { PageRun } from './page-chunk.ts';
import { type MissingPart, once, ProcessBuilder, type ProcessModel, parseTable, present } from './process-model.ts';
import { type ChunkRecord, decodeRecord, type MetadataRecord } from './reader.ts';
import { RECORD, recordLabel, recordName } from './record-types.ts';
import { parseState } from './schema.ts';
import { DescriptionRecord, ExitedRecord, FileRecord, type FilesRecord, TaskRecord } from './tree.ts';

export interface ImageModel {
  readonly head: Head;
  /** The root of the tree, which is the first of {@link processes}. */
  readonly root: ProcessModel;
  /** Every process comes behind its parent. */
  readonly processes: readonly ProcessModel[];
  /** Those that have ended and were not waited for. */
  readonly exited: readonly ExitedRecord[];
  readonly mappedFiles: ReadonlyMap<number, unknown>;
  readonly descriptions: ReadonlyMap<number, DescriptionRecord>;
  /** Only if it was no image of ours. */
  readonly origin?: ForeignOrigin;
}

/**
 * What there is of an image whose end is missing: something to look at, never to restart. Every reference is checked as far as it leads
 * to what is there; a process that is not there whole has nothing in place of what is {@link missing}.
 */
export interface CutModel extends Omit<ImageModel, 'root'> {
  readonly missing: ReadonlyMap<number, readonly MissingPart[]>;
}

/** Another format that the model was made from, and what that could not say. */
export interface ForeignOrigin {
  readonly format: string;
  readonly sizeBytes: number;
  readonly records: number;
  /** What stands in the way of a restart, beside what the states say. */
  readonly problems: readonly Problem[];
  /** Sentences for the summary of a restart. */
  readonly remarks: readonly string[];
}

/** The memory, in the parent image, from which a memory of this image takes pages. */
export const parentMemory = ({ processes }: ImageModel, objref: number): number | undefined =>
  processes.find(({ task }) => task.memory === objref)?.memory.parent;

/** The memories of this image that a memory of it takes pages from, by the numbers that runs call them by. */
export const relativesOf = ({ processes }: ImageModel, objref: number): readonly number[] =>
  processes.find(({ task }) => task.memory === objref)?.memory.relatives ?? [];

/** Of each memory the first process that has it. */
export function memoryOwners<Process>(
  processes: readonly Process[],
  memoryOf: (process: Process) => number,
): Process[] {
  const known = new Set<number>();
  return processes.filter((process) => {
    const memory = memoryOf(process);
    const isNew = !known.has(memory);
    known.add(memory);
    return isNew;
  });
}

const PAGE = 4096;

/** Takes records in stream order. */
export class ModelBuilder {
  #head: Head | undefined;
  /** In stream order, and by each number that a record of theirs has. */
  readonly #processes: ProcessBuilder[] = [];
  readonly #byTask = new Map<number, ProcessBuilder>();
  readonly #byMemory = new Map<number, ProcessBuilder>();
  /** Descriptor tables that TASK records name: undefined until they come. */
  readonly #tables = new Map<number, FilesRecord | undefined>();
  /** Working directories, roots and umasks that TASK records name. */
  readonly #fileSystems = new Set<number>();
  /** What processes do on signals, as far as TASK records name it, and the memory that goes with it. */
  readonly #handlers = new Map<number, number>();
  /** Of tables and directories, those that threads have and their leaders have not. */
  readonly #ofThreads = new Set<number>();
  readonly #exited = new Map<number, ExitedRecord>();
  readonly #mappedFiles = new Map<number, unknown>();
  readonly #descriptions = new Map<number, DescriptionRecord>();
  /** Where pages go, by object. */
  readonly #runs = new Map<number, PageRun[]>();

  add(record: MetadataRecord): void {
    const take = takers.get(record.type);
    const where = recordLabel(record.type, record.offset);
    if (take === undefined) throw badRecord(where, `a ${recordName(record.type)} record has no place in such an image`);
    take(this, record, where);
  }

  head(record: MetadataRecord, where: string): void {
    this.#head = once(this.#head, decodeHead(record.payload), where);
  }

  task(record: MetadataRecord, where: string): void {
    const task = parseState(TaskRecord, decodeRecord(record), where);
    if (record.objref !== task.pid) throw badRecord(where, 'its objref is not its pid');
    if (task.leaderStatus === undefined && task.threads[0] !== task.pid) {
      throw badRecord(where, 'its first thread is not the group leader');
    }
    if (task.leaderStatus !== undefined && task.stopped !== undefined) {
      throw badRecord(where, 'it is stopped, and its leader has ended');
    }
    const numbers = task.leaderStatus === undefined ? task.threads : [task.pid, ...task.threads];
    if (new Set(numbers).size !== numbers.length) throw badRecord(where, 'a thread is there twice');
    if (task.saver !== undefined && numbers.includes(task.saver.pid)) {
      throw badRecord(where, 'its saver is one of its threads');
    }
    this.#refusePlace(task, where);
    const builder = new ProcessBuilder(task);
    for (const number of [...numbers, ...(task.saver === undefined ? [] : [task.saver.pid])]) {
      this.#takeNumber(number, builder, where);
    }
    refuseOddThreadsApart(task, where);
    this.#refuseOddSharer(task, where);
    this.#takeObjects(task, where);
    if (!this.#byMemory.has(task.memory)) this.#byMemory.set(task.memory, builder);
    if (task.handlers !== undefined) this.#handlers.set(task.handlers, task.memory);
    this.#processes.push(builder);
  }

  /** Who shares memory with a process before runs the same program; what processes do on signals is shared along with the memory only. */
  #refuseOddSharer({ memory, handlers, addressBits, vdso }: TaskRecord, where: string): void {
    const owner = this.#byMemory.get(memory)?.task;
    if (owner !== undefined && (owner.addressBits !== addressBits || owner.vdso.sha256 !== vdso.sha256)) {
      throw badRecord(where, `it runs another program than process ${owner.pid}, whose memory it has`);
    }
    const known = handlers === undefined ? undefined : this.#handlers.get(handlers);
    if (known !== undefined && known !== memory) throw badRecord(where, 'it shares handlers without the memory');
  }

  /** What tasks of the process have: the leader may have what leaders before it have, and threads what others of the process have. */
  #takeObjects(task: TaskRecord, where: string): void {
    const { memory, handlers, files, fileSystem, apart = [] } = task;
    const isShared = (objref: number, known: { has: (objref: number) => boolean }): boolean =>
      known.has(objref) && !this.#ofThreads.has(objref);
    const ofThreads = {
      tables: new Set(apart.flatMap((thread) => thread.files ?? [])),
      fileSystems: new Set(apart.flatMap((thread) => thread.fileSystem ?? [])),
    };
    const tables = [...(isShared(files, this.#tables) ? [] : [files]), ...ofThreads.tables];
    const isNew = fileSystem !== undefined && !isShared(fileSystem, this.#fileSystems);
    const fileSystems = [...(isNew ? [fileSystem] : []), ...ofThreads.fileSystems];
    const own = [
      ...(this.#byMemory.has(memory) ? [] : [memory]),
      ...(handlers === undefined || this.#handlers.has(handlers) ? [] : [handlers]),
    ];
    const all = [...own, ...tables, ...fileSystems];
    if (new Set(all).size !== all.length || all.some((objref) => this.#isObject(objref)) || files === memory) {
      throw badRecord(where, 'its memory or its descriptor table is something else as well');
    }
    for (const objref of tables) this.#tables.set(objref, undefined);
    for (const objref of fileSystems) this.#fileSystems.add(objref);
    for (const objref of [...ofThreads.tables, ...ofThreads.fileSystems]) this.#ofThreads.add(objref);
  }

  exited(record: MetadataRecord, where: string): void {
    const task = parseState(ExitedRecord, decodeRecord(record), where);
    if (record.objref !== task.pid) throw badRecord(where, 'its objref is not its pid');
    this.#refusePlace(task, where);
    this.#takeNumber(task.pid, undefined, where);
    this.#exited.set(task.pid, task);
  }

  /** The root comes first, every other process behind its parent. */
  #refusePlace({ parent }: Pick<TaskRecord, 'parent'>, where: string): void {
    const isFirst = this.#processes.length === 0;
    if (isFirst !== (parent === undefined)) {
      throw badRecord(where, isFirst ? 'the first process has a parent' : 'it is there twice');
    }
    if (parent === undefined) return;
    if (this.#byTask.get(parent)?.task.pid !== parent) throw badRecord(where, `its parent ${parent} is not there`);
  }

  #takeNumber(number: number, builder: ProcessBuilder | undefined, where: string): void {
    if (this.#byTask.has(number) || this.#exited.has(number)) throw badRecord(where, `task ${number} is there twice`);
    if (builder !== undefined) this.#byTask.set(number, builder);
  }

  #isObject(objref: number): boolean {
    const known = [
      this.#byMemory,
      this.#handlers,
      this.#tables,
      this.#fileSystems,
      this.#mappedFiles,
      this.#descriptions,
    ];
    return known.some((objects) => objects.has(objref));
  }

  mappedFile(record: MetadataRecord, where: string): void {
    this.#newObject(record.objref, where);
    this.#mappedFiles.set(record.objref, parseState(FileRecord, decodeRecord(record), where).state);
  }

  description(record: MetadataRecord, where: string): void {
    this.#newObject(record.objref, where);
    this.#descriptions.set(record.objref, parseState(DescriptionRecord, decodeRecord(record), where));
  }

  #newObject(objref: number, where: string): void {
    if (this.#isObject(objref)) throw badRecord(where, `object ${objref} is there twice`);
  }

  ofProcess(record: MetadataRecord, where: string): ProcessBuilder {
    return this.#find(this.#byTask, record, where);
  }

  ofMemory(record: MetadataRecord, where: string): ProcessBuilder {
    return this.#find(this.#byMemory, record, where);
  }

  memory(record: MetadataRecord, where: string): void {
    const process = this.ofMemory(record, where);
    process.memory(record, where);
    const before = this.#processes.slice(0, this.#processes.indexOf(process));
    const stranger = process.relatives.find((objref) => !before.some(({ task }) => task.memory === objref));
    if (stranger === undefined) return;
    throw badRecord(where, `its relative ${stranger} is no memory of a process before this one`);
  }

  files(record: MetadataRecord, where: string): void {
    const { objref } = record;
    if (this.#processes.length === 0) throw badRecord(where, 'it comes before the TASK record');
    if (!this.#tables.has(objref)) throw badRecord(where, 'its objref is not one that TASK names');
    const table = parseTable(record, where, (object) => this.#descriptions.has(object));
    this.#tables.set(objref, once(this.#tables.get(objref), table, where));
  }

  #find(among: ReadonlyMap<number, ProcessBuilder>, { objref, type }: MetadataRecord, where: string): ProcessBuilder {
    if (this.#processes.length === 0) throw badRecord(where, 'it comes before the TASK record');
    const found = among.get(objref);
    // The number of a thread is no other record's.
    if (found === undefined || (type === RECORD.TASK_STATE && found.task.pid !== objref)) {
      const isOfThread = type === RECORD.THREAD_STATE || type === RECORD.THREAD || type === RECORD.CPU;
      throw badRecord(
        where,
        isOfThread ? `thread ${objref} belongs to no process` : 'its objref is not one that TASK names',
      );
    }
    if (type === RECORD.THREAD_STATE && !found.task.threads.includes(objref)) {
      throw badRecord(where, `thread ${objref} belongs to no process`);
    }
    return found;
  }

  /** Notes where a chunk's pages go. They are checked at the end, by {@link finishPages}. */
  addChunk(chunk: ChunkRecord): void {
    const { objref } = chunk;
    const takesPages = this.#byMemory.has(objref) || (this.#descriptions.get(objref)?.contentBytes ?? 0) > 0;
    if (!takesPages) throw badRecord(recordLabel(chunk.type, chunk.offset), `object ${objref} has no pages`);
    const runs = this.#runs.get(objref) ?? [];
    const process = this.#byMemory.get(objref);
    const mayInherit = this.#head?.state.parentId !== undefined && process?.inheritsPages === true;
    const relatives = process?.relatives.length ?? 0;
    for (const run of chunk.runs) {
      if (run.kind === 'parent' && !mayInherit) {
        throw badRecord(recordLabel(chunk.type, chunk.offset), 'it has pages of a parent, and there is none');
      }
      if (run.relative !== undefined && run.relative >= relatives) {
        throw badRecord(recordLabel(chunk.type, chunk.offset), 'it has pages of a relative that MM does not name');
      }
      runs.push(run);
    }
    this.#runs.set(objref, runs);
  }

  /** Everything but the pages is complete. */
  finish(): ImageModel {
    const head = present(this.#head, RECORD.HEAD);
    const tables = new Map([...this.#tables].map(([objref, table]) => [objref, present(table, RECORD.FILES)] as const));
    const processes = this.#processes.map((builder) => builder.finish(tables, this.#ownerOf(builder)));
    return {
      head,
      root: present(processes[0], RECORD.TASK),
      processes,
      exited: [...this.#exited.values()],
      mappedFiles: this.#mappedFiles,
      descriptions: this.#descriptions,
    };
  }

  /** The first process with its memory. */
  #ownerOf(builder: ProcessBuilder): ProcessBuilder {
    return this.#byMemory.get(builder.task.memory) ?? builder;
  }

  get hasHead(): boolean {
    return this.#head !== undefined;
  }

  /** Instead of {@link finish}, of an image that was cut behind its HEAD. */
  finishCut(): CutModel {
    const head = present(this.#head, RECORD.HEAD);
    const tables = new Map(
      [...this.#tables].flatMap(([objref, table]) => (table === undefined ? [] : [[objref, table]])),
    );
    const parts = this.#processes.map((builder) => builder.finishCut(tables, this.#ownerOf(builder)));
    return {
      head,
      processes: parts.map(({ model }) => model),
      missing: new Map(parts.map(({ model, missing }) => [model.task.pid, missing])),
      exited: [...this.#exited.values()],
      mappedFiles: this.#mappedFiles,
      descriptions: this.#descriptions,
    };
  }

  /** Every page lies where its object takes pages, none is there twice, and each of a relative is there. */
  finishPages(): void {
    const ascending = new Map(
      [...this.#runs].map(([objref, runs]) => [objref, runs.sort((a, b) => a.start - b.start)]),
    );
    for (const [objref, runs] of ascending) {
      refuseRepeatedPages(runs);
      this.#byMemory.get(objref)?.relatives.forEach((relative, index) => {
        refuseMissingPages(
          runs.filter((run) => run.relative === index),
          ascending.get(relative) ?? [],
          relative,
        );
      });
      const memory = this.#byMemory.get(objref);
      if (memory !== undefined) memory.refusePagesOutsideMappings(runs);
      else refusePagesBehind(runs, this.#descriptions.get(objref)?.contentBytes ?? 0, objref);
    }
  }
}

/** Of threads of the process, but the first, each once, and with something of its own. */
function refuseOddThreadsApart({ threads, apart = [], files, fileSystem }: TaskRecord, where: string): void {
  const others = new Set(threads.slice(1));
  for (const thread of apart) {
    if (!others.delete(thread.tid)) throw badRecord(where, `thread ${thread.tid} cannot have something of its own`);
    if (thread.files === undefined && thread.fileSystem === undefined) {
      throw badRecord(where, `thread ${thread.tid} has nothing of its own`);
    }
    if (thread.files === files || (fileSystem !== undefined && thread.fileSystem === fileSystem)) {
      throw badRecord(where, `thread ${thread.tid} has of its own what is its leader's`);
    }
  }
}

function refuseRepeatedPages(runs: readonly PageRun[]): void {
  let covered = 0;
  for (const run of runs) {
    if (run.start < covered)
      throw new ImageError('bad-record', `The image has the page at 0x${run.start.toString(16)} twice.`);
    covered = run.start + run.pages * PAGE;
  }
}

/** Both ascend and do not overlap. */
function refuseMissingPages(wanted: readonly PageRun[], there: readonly PageRun[], relative: number): void {
  let index = 0;
  for (const { start, pages } of wanted) {
    const end = start + pages * PAGE;
    for (let at = start; at < end; index++) {
      const run = there[index];
      if (run === undefined || run.start > at) {
        throw new ImageError(
          'bad-record',
          `The image takes the page at 0x${at.toString(16)} from its memory ${relative}, which has none there.`,
        );
      }
      const stop = run.start + run.pages * PAGE;
      at = Math.max(at, Math.min(stop, end));
      // The next one that is wanted may begin in this one.
      if (stop > end) break;
    }
  }
}

function refusePagesBehind(runs: readonly PageRun[], contentBytes: number, objref: number): void {
  const last = runs.at(-1);
  const end = last === undefined ? 0 : last.start + last.pages * PAGE;
  if (end > Math.ceil(contentBytes / PAGE) * PAGE) {
    throw new ImageError('bad-record', `The image has pages behind the end of object ${objref}.`);
  }
}

type Taker = (builder: ModelBuilder, record: MetadataRecord, where: string) => void;

const takers: ReadonlyMap<number, Taker> = new Map<number, Taker>([
  [RECORD.HEAD, (builder, record, where) => builder.head(record, where)],
  [RECORD.TASK, (builder, record, where) => builder.task(record, where)],
  [RECORD.EXITED, (builder, record, where) => builder.exited(record, where)],
  [RECORD.TASK_STATE, (builder, record, where) => builder.ofProcess(record, where).taskState(record, where)],
  [RECORD.FNAME, (builder, record, where) => builder.mappedFile(record, where)],
  [RECORD.FD_DATA, (builder, record, where) => builder.description(record, where)],
  [RECORD.FILES, (builder, record, where) => builder.files(record, where)],
  [RECORD.MM, (builder, record, where) => builder.memory(record, where)],
  [RECORD.VMA, (builder, record, where) => builder.ofMemory(record, where).mappings(record, where)],
  [RECORD.MM_CONTEXT, (builder, record, where) => builder.ofMemory(record, where).memoryContext(record, where)],
  [RECORD.THREAD_STATE, (builder, record, where) => builder.ofProcess(record, where).threadState(record, where)],
  [RECORD.THREAD, (builder, record, where) => builder.ofProcess(record, where).registers(record, where, 'thread')],
  [RECORD.CPU, (builder, record, where) => builder.ofProcess(record, where).registers(record, where, 'cpu')],
]);
