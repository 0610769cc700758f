/** One process of an image: its records, put together and checked against each other. */
import { ImageError } from '../support/errors.ts';
import { badRecord } from './image-errors.ts';
import type { PageRun } from './page-chunk.ts';
import { decodeRecord, type MetadataRecord } from './reader.ts';
import { RECORD, recordName } from './record-types.ts';
import { parseState } from './schema.ts';
import {
  FilesRecord,
  type MappingState,
  MemoryRecord,
  type TaskRecord,
  TaskStateRecord,
  type ThreadApart,
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

export interface ProcessModel {
  readonly task: TaskRecord;
  readonly aspects: Readonly<Record<string, unknown>>;
  readonly threads: readonly ThreadModel[];
  readonly files: FilesRecord;
  /** Threads with something that is not their leader's. */
  readonly apart: readonly ThreadApartModel[];
  readonly memory: MemoryRecord;
  readonly mappings: readonly MappingState[];
  /** MM_CONTEXT payload, if there is one. */
  readonly memoryContext?: Buffer;
}

/** A field is missing where it is the leader's. */
export interface ThreadApartModel {
  readonly tid: number;
  /** The object, and what is in it. */
  readonly files?: { readonly objref: number; readonly entries: FilesRecord['entries'] };
  readonly fileSystem?: number;
}

/** A process of which an image that was cut does not have all. */
export interface ProcessPart {
  readonly model: ProcessModel;
  readonly missing: readonly MissingPart[];
}

/** What was to come of it: not even in part there, but for `mappings` and `threads`. */
export type MissingPart = 'state' | 'descriptors' | 'mappings' | 'threads';

const PAGE = 4096;

interface OpenThread {
  state: ThreadStateRecord;
  thread?: Buffer;
  cpu?: Buffer;
  where: string;
}

/** Takes the records of one process in stream order. */
export class ProcessBuilder {
  readonly task: TaskRecord;
  #taskState: TaskStateRecord | undefined;
  #memory: MemoryRecord | undefined;
  #memoryContext: Buffer | undefined;
  readonly #threads = new Map<number, OpenThread>();
  readonly #mappings: MappingState[] = [];

  constructor(task: TaskRecord) {
    this.task = task;
  }

  /** Its memory takes pages from the parent image. */
  get inheritsPages(): boolean {
    return this.#memory?.parent !== undefined;
  }

  /** Memories that it takes pages from, by the numbers that runs call them by. */
  get relatives(): readonly number[] {
    return this.#memory?.relatives ?? [];
  }

  taskState(record: MetadataRecord, where: string): void {
    this.#taskState = once(this.#taskState, parseState(TaskStateRecord, decodeRecord(record), where), where);
  }

  memory(record: MetadataRecord, where: string): void {
    this.#memory = once(this.#memory, parseState(MemoryRecord, decodeRecord(record), where), where);
  }

  mappings(record: MetadataRecord, where: string): void {
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
    this.#memoryContext = once(this.#memoryContext, Buffer.from(record.payload), where);
  }

  threadState(record: MetadataRecord, where: string): void {
    const { objref: tid } = record;
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

  /** `tables`: by objref. `owner`: the first process with its memory, which may be itself. */
  finish(tables: ReadonlyMap<number, FilesRecord>, owner: ProcessBuilder): ProcessModel {
    const { task } = this;
    const memory = present(owner.#memory, RECORD.MM);
    if (memory.mappings !== owner.#mappings.length) {
      throw new ImageError(
        'bad-record',
        `The image has ${owner.#mappings.length} mappings, but its MM record says ${memory.mappings}.`,
      );
    }
    return {
      task,
      aspects: present(this.#taskState, RECORD.TASK_STATE).aspects,
      threads: task.threads.map((tid) => completeThread(tid, this.#threads.get(tid))),
      files: present(tables.get(task.files), RECORD.FILES),
      apart: (task.apart ?? []).map((thread) => threadApart(thread, tables)),
      memory,
      mappings: owner.#mappings,
      ...(owner.#memoryContext === undefined ? {} : { memoryContext: owner.#memoryContext }),
    };
  }

  /** Of an image that was cut. `tables`: those that are there. */
  finishCut(tables: ReadonlyMap<number, FilesRecord>, owner: ProcessBuilder): ProcessPart {
    const { task } = this;
    const files = tables.get(task.files);
    const memory = owner.#memory ?? noMemory;
    const threads = task.threads.flatMap((tid) => {
      const thread = this.#threads.get(tid);
      return thread?.thread === undefined || thread.cpu === undefined ? [] : [completeThread(tid, thread)];
    });
    const apart = (task.apart ?? []).filter(({ files: own }) => own === undefined || tables.has(own));
    const missing: MissingPart[] = [];
    if (this.#taskState === undefined) missing.push('state');
    if (files === undefined || apart.length < (task.apart ?? []).length) missing.push('descriptors');
    if (owner.#memory === undefined || memory.mappings > owner.#mappings.length) missing.push('mappings');
    if (threads.length < task.threads.length) missing.push('threads');
    const model = {
      task,
      aspects: this.#taskState?.aspects ?? {},
      threads,
      files: files ?? { entries: [] },
      apart: apart.map((thread) => threadApart(thread, tables)),
      memory,
      mappings: owner.#mappings,
      ...(owner.#memoryContext === undefined ? {} : { memoryContext: owner.#memoryContext }),
    };
    return { model, missing };
  }

  /** `runs` ascend. */
  refusePagesOutsideMappings(runs: readonly PageRun[]): void {
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

const noMemory: MemoryRecord = { mappings: 0, pages: 0, allocatedKeys: 0, executeOnlyKey: 0, relatives: [] };

const threadApart = (
  { tid, files, fileSystem }: ThreadApart,
  tables: ReadonlyMap<number, FilesRecord>,
): ThreadApartModel => ({
  tid,
  ...(files === undefined
    ? {}
    : { files: { objref: files, entries: present(tables.get(files), RECORD.FILES).entries } }),
  ...(fileSystem === undefined ? {} : { fileSystem }),
});

/** FILES: its numbers ascend, and what it names is there. */
export function parseTable(
  record: MetadataRecord,
  where: string,
  isDescription: (object: number) => boolean,
): FilesRecord {
  const files = parseState(FilesRecord, decodeRecord(record), where);
  let last = -1;
  for (const { fd, object } of files.entries) {
    if (fd <= last) throw badRecord(where, `descriptor ${fd} is not in ascending order`);
    if (!isDescription(object)) throw badRecord(where, `descriptor ${fd} names object ${object}, which is not there`);
    last = fd;
  }
  return files;
}

/** A record of which there is one. */
export function once<T>(now: T | undefined, next: T, where: string): T {
  if (now !== undefined) throw badRecord(where, 'it is there twice');
  return next;
}

export function present<T>(value: T | undefined, type: number): T {
  if (value === undefined) throw new ImageError('bad-record', `The image has no ${recordName(type)} record.`);
  return value;
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

function completeThread(tid: number, thread: OpenThread | undefined): ThreadModel {
  if (thread?.thread === undefined || thread.cpu === undefined) {
    throw new ImageError('bad-record', `The image does not have all records of thread ${tid}.`);
  }
  return { tid, state: thread.state, thread: thread.thread, cpu: thread.cpu, where: thread.where };
}
