/** The numbers, in the image, of what tasks may share: memory, handlers of signals, descriptor tables, and working directory, root and umask. */
import type { TaskRecord } from '../image/tree.ts';
import type { Pid, Tid } from '../support/brand.ts';
import type { Objects } from './collect-files.ts';
import type { TreeParts } from './parts.ts';

export interface OwnObjects {
  readonly references: Pick<TaskRecord, 'memory' | 'handlers' | 'files' | 'fileSystem' | 'apart'>;
  /** A process before has the memory. */
  readonly hasMemoryOfAnother: boolean;
  /** Descriptor tables that no task of a process before has, and the first task that has each. */
  readonly tables: readonly { readonly objref: number; readonly owner: Pid }[];
}

export class SharedObjects {
  readonly #parts: TreeParts;
  readonly #objects: Objects;
  readonly #memories = new Map<Tid, number>();
  readonly #handlers = new Map<Tid, number>();
  readonly #tables = new Map<Tid, number>();
  readonly #fileSystems = new Map<Tid, number>();

  /** Of leaders: how many have the working directory, or the handlers, that this one had first. */
  readonly #leadersWith = new Map<Tid, number>();
  readonly #handlersWith = new Map<Tid, number>();

  /** `leaders`: of each process, or its first living thread. */
  constructor(parts: TreeParts, objects: Objects, leaders: readonly Tid[]) {
    this.#parts = parts;
    this.#objects = objects;
    for (const leader of leaders) {
      countOne(this.#leadersWith, parts.ownerOf('fileSystem', leader));
      countOne(this.#handlersWith, parts.handlersOwnerOf(leader));
    }
  }

  /** Processes are to be asked for in the order of the image. */
  of(tasks: readonly { readonly tid: Tid }[]): OwnObjects {
    const leader = tasks[0]?.tid as Tid;
    const tables: { objref: number; owner: Pid }[] = [];
    const memoryOwner = this.#parts.ownerOf('memory', leader);
    const hasMemoryOfAnother = this.#memories.has(memoryOwner);
    const memory = this.#numberIn(this.#memories, memoryOwner);
    const files = this.#tableOf(leader, tables);
    const isShared = (this.#leadersWith.get(this.#parts.ownerOf('fileSystem', leader)) ?? 0) > 1;
    const fileSystem = isShared ? { fileSystem: this.#fileSystemOf(leader) } : {};
    const apart = tasks.flatMap(({ tid }) => {
      const own = {
        ...(this.#isLeaders('files', tid, leader) ? {} : { files: this.#tableOf(tid, tables) }),
        ...(this.#isLeaders('fileSystem', tid, leader) ? {} : { fileSystem: this.#fileSystemOf(tid) }),
      };
      return Object.keys(own).length === 0 ? [] : [{ tid, ...own }];
    });
    const references = { memory, ...this.#handlersOf(leader), files, ...fileSystem };
    return { references: { ...references, ...(apart.length === 0 ? {} : { apart }) }, hasMemoryOfAnother, tables };
  }

  #isLeaders(part: 'files' | 'fileSystem', tid: Tid, leader: Tid): boolean {
    return this.#parts.ownerOf(part, tid) === this.#parts.ownerOf(part, leader);
  }

  #tableOf(tid: Tid, tables: { objref: number; owner: Pid }[]): number {
    const owner = this.#parts.ownerOf('files', tid);
    const known = this.#tables.get(owner);
    if (known !== undefined) return known;
    const objref = this.#objects.next();
    this.#tables.set(owner, objref);
    tables.push({ objref, owner: owner as number as Pid });
    return objref;
  }

  #fileSystemOf(tid: Tid): number {
    return this.#numberIn(this.#fileSystems, this.#parts.ownerOf('fileSystem', tid));
  }

  #handlersOf(leader: Tid): Pick<TaskRecord, 'handlers'> {
    const owner = this.#parts.handlersOwnerOf(leader);
    if ((this.#handlersWith.get(owner) ?? 0) < 2) return {};
    return { handlers: this.#numberIn(this.#handlers, owner) };
  }

  #numberIn(known: Map<Tid, number>, owner: Tid): number {
    const objref = known.get(owner) ?? this.#objects.next();
    known.set(owner, objref);
    return objref;
  }
}

function countOne(counts: Map<Tid, number>, owner: Tid): void {
  counts.set(owner, (counts.get(owner) ?? 0) + 1);
}
