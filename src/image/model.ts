/**
 * An image as data: the records put together and checked against each other, so that whoever uses it can rely on every
 * reference. What the states of single kinds mean is not known here.
 */
import { ImageError, type Problem } from '../support/errors.ts';
import { decodeHead, type Head } from './head.ts';
import { badRecord } from './image-errors.ts';
import type { PageRun } from './page-chunk.ts';
import { type ChunkRecord, decodeRecord, type MetadataRecord } from './reader.ts';
import { RECORD, recordLabel, recordName } from './record-types.ts';
import { parseState } from './schema.ts';
import {
  DescriptionRecord,
  FileRecord,
  FilesRecord,
  type MappingState,
  MemoryRecord,
  TaskRecord,
  TaskStateRecord,
  ThreadStateRecord,
  VmaRecord,
} from './tree.ts';

export interface ThreadModel {
  readonly tid: number;
  readonly state: ThreadStateRecord;
  /** THREAD and CPU payloads, and how errors call them. */
  readonly thread: Buffer;
  readonly cpu: Buffer;
  readonly where: string;
}

export interface ImageModel {
  readonly head: Head;
  readonly task: TaskRecord;
  readonly aspects: Readonly<Record<string, unknown>>;
  readonly threads: readonly ThreadModel[];
  readonly mappedFiles: ReadonlyMap<number, unknown>;
  readonly descriptions: ReadonlyMap<number, DescriptionRecord>;
  readonly files: FilesRecord;
  readonly memory: MemoryRecord;
  readonly mappings: readonly MappingState[];
  /** MM_CONTEXT payload, if there is one. */
  readonly memoryContext?: Buffer;
  /** Only if it was no image of ours. */
  readonly origin?: ForeignOrigin;
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
export const parentMemory = ({ task, memory }: ImageModel, objref: number): number | undefined =>
  objref === task.memory ? memory.parent : undefined;

const PAGE = 4096;

interface OpenThread {
  state: ThreadStateRecord;
  thread?: Buffer;
  cpu?: Buffer;
  where: string;
}

/** Takes records in stream order. */
export class ModelBuilder {
  #head: Head | undefined;
  #task: TaskRecord | undefined;
  #taskState: TaskStateRecord | undefined;
  #files: FilesRecord | undefined;
  #memory: MemoryRecord | undefined;
  readonly #threads = new Map<number, OpenThread>();
  readonly #mappedFiles = new Map<number, unknown>();
  readonly #descriptions = new Map<number, DescriptionRecord>();
  readonly #mappings: MappingState[] = [];
  #memoryContext: Buffer | undefined;
  /** Where pages go, by object. */
  readonly #runs = new Map<number, PageRun[]>();

  add(record: MetadataRecord): void {
    const take = takers.get(record.type);
    const where = recordLabel(record.type, record.offset);
    if (take === undefined) throw badRecord(where, `a ${recordName(record.type)} record has no place in such an image`);
    take(this, record, where);
  }

  static readonly #once = <T>(now: T | undefined, next: T, where: string): T => {
    if (now !== undefined) throw badRecord(where, 'it is there twice');
    return next;
  };

  head(record: MetadataRecord, where: string): void {
    this.#head = ModelBuilder.#once(this.#head, decodeHead(record.payload), where);
  }

  task(record: MetadataRecord, where: string): void {
    const task = parseState(TaskRecord, decodeRecord(record), where);
    this.#task = ModelBuilder.#once(this.#task, task, where);
    if (record.objref !== task.pid) throw badRecord(where, 'its objref is not its pid');
    if (task.threads[0] !== task.pid) throw badRecord(where, 'its first thread is not the group leader');
    if (new Set(task.threads).size !== task.threads.length) throw badRecord(where, 'a thread is there twice');
    if (task.saver !== undefined && task.threads.includes(task.saver.pid)) {
      throw badRecord(where, 'its saver is one of its threads');
    }
  }

  taskState(record: MetadataRecord, where: string): void {
    this.#expectTask(record, where, (task) => task.pid);
    this.#taskState = ModelBuilder.#once(
      this.#taskState,
      parseState(TaskStateRecord, decodeRecord(record), where),
      where,
    );
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
    if (this.#mappedFiles.has(objref) || this.#descriptions.has(objref)) {
      throw badRecord(where, `object ${objref} is there twice`);
    }
  }

  files(record: MetadataRecord, where: string): void {
    this.#expectTask(record, where, (task) => task.files);
    const files = parseState(FilesRecord, decodeRecord(record), where);
    let last = -1;
    for (const { fd, object } of files.entries) {
      if (fd <= last) throw badRecord(where, `descriptor ${fd} is not in ascending order`);
      if (!this.#descriptions.has(object))
        throw badRecord(where, `descriptor ${fd} names object ${object}, which is not there`);
      last = fd;
    }
    this.#files = ModelBuilder.#once(this.#files, files, where);
  }

  memory(record: MetadataRecord, where: string): void {
    this.#expectTask(record, where, (task) => task.memory);
    this.#memory = ModelBuilder.#once(this.#memory, parseState(MemoryRecord, decodeRecord(record), where), where);
  }

  mappings(record: MetadataRecord, where: string): void {
    this.#expectTask(record, where, (task) => task.memory);
    for (const mapping of parseState(VmaRecord, decodeRecord(record), where).mappings) {
      const name = `mapping 0x${mapping.start.toString(16)}`;
      if (mapping.end <= mapping.start) throw badRecord(where, `${name} ends before it begins`);
      if (mapping.start < (this.#mappings.at(-1)?.end ?? 0))
        throw badRecord(where, `${name} overlaps the one before it`);
      if (mapping.offset % PAGE !== 0) throw badRecord(where, `${name} has an offset that is not a page's`);
      refuseStrayGuards(mapping, where);
      this.#mappings.push(mapping);
    }
  }

  memoryContext(record: MetadataRecord, where: string): void {
    this.#expectTask(record, where, (task) => task.memory);
    this.#memoryContext = ModelBuilder.#once(this.#memoryContext, Buffer.from(record.payload), where);
  }

  threadState(record: MetadataRecord, where: string): void {
    const { objref: tid } = record;
    if (!this.#task?.threads.includes(tid)) throw badRecord(where, `thread ${tid} belongs to no process`);
    if (this.#threads.has(tid)) throw badRecord(where, 'it is there twice');
    this.#threads.set(tid, {
      state: parseState(ThreadStateRecord, decodeRecord(record), where),
      where: `thread ${tid}`,
    });
  }

  registers(record: MetadataRecord, where: string, part: 'thread' | 'cpu'): void {
    const thread = this.#threads.get(record.objref);
    if (thread === undefined) throw badRecord(where, `thread ${record.objref} is not known yet`);
    if (thread[part] !== undefined) throw badRecord(where, 'it is there twice');
    thread[part] = Buffer.from(record.payload);
    if (part === 'cpu') thread.where = where;
  }

  #expectTask(record: MetadataRecord, where: string, objrefOf: (task: TaskRecord) => number): void {
    if (this.#task === undefined) throw badRecord(where, 'it comes before the TASK record');
    if (record.objref !== objrefOf(this.#task)) throw badRecord(where, 'its objref is not the one that TASK names');
  }

  /** Notes where a chunk's pages go. They are checked at the end, by {@link finishPages}. */
  addChunk(chunk: ChunkRecord): void {
    const { objref } = chunk;
    const takesPages = objref === this.#task?.memory || (this.#descriptions.get(objref)?.contentBytes ?? 0) > 0;
    if (!takesPages) throw badRecord(recordLabel(chunk.type, chunk.offset), `object ${objref} has no pages`);
    const runs = this.#runs.get(objref) ?? [];
    const mayInherit = objref === this.#task?.memory && this.#inherits;
    for (const run of chunk.runs) {
      if (run.kind === 'parent' && !mayInherit) {
        throw badRecord(recordLabel(chunk.type, chunk.offset), 'it has pages of a parent, and there is none');
      }
      runs.push(run);
    }
    this.#runs.set(objref, runs);
  }

  get #inherits(): boolean {
    return this.#head?.state.parentId !== undefined && this.#memory?.parent !== undefined;
  }

  /** Everything but the pages is complete. */
  finish(): ImageModel {
    const head = present(this.#head, RECORD.HEAD);
    const task = present(this.#task, RECORD.TASK);
    const memory = present(this.#memory, RECORD.MM);
    if (memory.mappings !== this.#mappings.length) {
      throw new ImageError(
        'bad-record',
        `The image has ${this.#mappings.length} mappings, but its MM record says ${memory.mappings}.`,
      );
    }
    return {
      head,
      task,
      aspects: present(this.#taskState, RECORD.TASK_STATE).aspects,
      threads: task.threads.map((tid) => completeThread(tid, this.#threads.get(tid))),
      mappedFiles: this.#mappedFiles,
      descriptions: this.#descriptions,
      files: present(this.#files, RECORD.FILES),
      memory,
      mappings: this.#mappings,
      ...(this.#memoryContext === undefined ? {} : { memoryContext: this.#memoryContext }),
    };
  }

  /** Every page lies where its object takes pages, and none is there twice. */
  finishPages(): void {
    for (const [objref, found] of this.#runs) {
      const runs = [...found].sort((a, b) => a.start - b.start);
      refuseRepeatedPages(runs);
      if (objref === this.#task?.memory) this.#refusePagesOutsideMappings(runs);
      else refusePagesBehind(runs, this.#descriptions.get(objref)?.contentBytes ?? 0, objref);
    }
  }

  #refusePagesOutsideMappings(runs: readonly PageRun[]): void {
    let index = 0;
    for (const run of runs) {
      const end = run.start + run.pages * PAGE;
      for (let at = run.start; at < end; ) {
        while ((this.#mappings[index]?.end ?? Number.POSITIVE_INFINITY) <= at) index++;
        const mapping = this.#mappings[index];
        if (mapping === undefined || mapping.start > at || !mapping.hasPages) {
          throw new ImageError(
            'bad-record',
            `The image has a page at 0x${at.toString(16)}, where no mapping takes it.`,
          );
        }
        at = mapping.end;
      }
    }
  }
}

function refuseStrayGuards({ start, end, guards }: MappingState, where: string): void {
  let last = start;
  for (const guard of guards) {
    const stop = guard.start + guard.pages * PAGE;
    if (guard.start < last || stop > end) {
      throw badRecord(
        where,
        `mapping 0x${start.toString(16)} has a guard page at 0x${guard.start.toString(16)}, where none can be`,
      );
    }
    last = stop;
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
  [RECORD.TASK_STATE, (builder, record, where) => builder.taskState(record, where)],
  [RECORD.FNAME, (builder, record, where) => builder.mappedFile(record, where)],
  [RECORD.FD_DATA, (builder, record, where) => builder.description(record, where)],
  [RECORD.FILES, (builder, record, where) => builder.files(record, where)],
  [RECORD.MM, (builder, record, where) => builder.memory(record, where)],
  [RECORD.VMA, (builder, record, where) => builder.mappings(record, where)],
  [RECORD.MM_CONTEXT, (builder, record, where) => builder.memoryContext(record, where)],
  [RECORD.THREAD_STATE, (builder, record, where) => builder.threadState(record, where)],
  [RECORD.THREAD, (builder, record, where) => builder.registers(record, where, 'thread')],
  [RECORD.CPU, (builder, record, where) => builder.registers(record, where, 'cpu')],
]);

function present<T>(value: T | undefined, type: number): T {
  if (value === undefined) throw new ImageError('bad-record', `The image has no ${recordName(type)} record.`);
  return value;
}

function completeThread(tid: number, thread: OpenThread | undefined): ThreadModel {
  if (thread?.thread === undefined || thread.cpu === undefined) {
    throw new ImageError('bad-record', `The image does not have all records of thread ${tid}.`);
  }
  return { tid, state: thread.state, thread: thread.thread, cpu: thread.cpu, where: thread.where };
}
