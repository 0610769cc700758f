/** The numbers, in the image, of what tasks may share: memory, descriptor tables, and working directory, root and umask. */
import type { TaskRecord } from '../image/tree.ts';
import type { Pid, Tid } from '../support/brand.ts';
import type { Objects } from './collect-files.ts';
import type { TreeParts } from './parts.ts';

export interface OwnObjects {
  readonly references: Pick<TaskRecord, 'memory' | 'files' | 'fileSystem' | 'apart'>;
  /** Descriptor tables that no task of a process before has, and the first task that has each. */
  readonly tables: readonly { readonly objref: number; readonly owner: Pid }[];
}

export class SharedObjects {
  readonly #parts: TreeParts;
  readonly #objects: Objects;
  readonly #tables = new Map<Tid, number>();
  readonly #fileSystems = new Map<Tid, number>();

  /** Of leaders: how many have the working directory that this one had first. */
  readonly #leadersWith = new Map<Tid, number>();

  /** `leaders`: of each process, or its first living thread. */
  constructor(parts: TreeParts, objects: Objects, leaders: readonly Tid[]) {
    this.#parts = parts;
    this.#objects = objects;
    for (const leader of leaders) {
      const owner = parts.ownerOf('fileSystem', leader);
      this.#leadersWith.set(owner, (this.#leadersWith.get(owner) ?? 0) + 1);
    }
  }

  /** Processes are to be asked for in the order of the image. */
  of(tasks: readonly { readonly tid: Tid }[]): OwnObjects {
    const leader = tasks[0]?.tid as Tid;
    const tables: { objref: number; owner: Pid }[] = [];
    const memory = this.#objects.next();
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
    return { references: { memory, files, ...fileSystem, ...(apart.length === 0 ? {} : { apart }) }, tables };
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
    const owner = this.#parts.ownerOf('fileSystem', tid);
    const objref = this.#fileSystems.get(owner) ?? this.#objects.next();
    this.#fileSystems.set(owner, objref);
    return objref;
  }
}
