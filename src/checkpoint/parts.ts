/**
 * What clone(2) lets tasks share: memory (CLONE_VM), descriptor table (CLONE_FILES), working directory, root and umask (CLONE_FS). Found with
 * kcmp(2), which orders what tasks have: who has the same is found by halving. Processes that we may not look into share nothing.
 */
import { KCMP } from '../kernel/abi/fs.ts';
import { tryOrderTasks } from '../kernel/calls/descriptors.ts';
import { unlessMissing } from '../procfs/proc-file.ts';
import { readTaskStat } from '../procfs/stat.ts';
import type { ProcessView } from '../resources/resource.ts';
import { asTid, type Pid, type Tid } from '../support/brand.ts';

export type Part = 'memory' | 'files' | 'fileSystem';

export const PARTS: readonly Part[] = ['memory', 'files', 'fileSystem'];

export const CALLED: Readonly<Record<Part, { readonly what: string; readonly flag: string }>> = {
  // Signal handlers are only ever shared along with the memory (clone(2), CLONE_SIGHAND).
  memory: { what: 'memory', flag: 'CLONE_VM' },
  files: { what: 'descriptor table', flag: 'CLONE_FILES' },
  fileSystem: { what: 'working directory, root and umask', flag: 'CLONE_FS' },
};

const TYPES: Readonly<Record<Part, number>> = {
  memory: KCMP.KCMP_VM,
  files: KCMP.KCMP_FILES,
  fileSystem: KCMP.KCMP_FS,
};

type Tasks = Pick<ProcessView, 'pid' | 'tids'>;

/** Of all tasks of a tree. */
export class TreeParts {
  readonly #orders: Readonly<Record<Part, PartOrder>>;

  constructor(processes: readonly Tasks[]) {
    this.#orders = {
      memory: new PartOrder(TYPES.memory),
      files: new PartOrder(TYPES.files),
      fileSystem: new PartOrder(TYPES.fileSystem),
    };
    for (const part of PARTS) {
      for (const { pid } of processes) this.#orders[part].place(asTid(pid));
      // Threads of a process have one memory (clone(2), CLONE_THREAD).
      if (part !== 'memory') for (const one of processes) this.#placeThreads(part, one);
    }
  }

  #placeThreads(part: Part, { pid, tids }: Tasks): void {
    const leader = asTid(pid);
    for (const tid of tids) {
      if (tid === leader) continue;
      const order = tryOrderTasks(leader, tid, TYPES[part]);
      if (order !== undefined && order !== 'same' && !isEnding(pid, tid)) this.#orders[part].place(tid);
      else this.#orders[part].follow(tid, leader);
    }
  }

  /** The first task of the tree that has the same: a leader, if one has it. */
  ownerOf(part: Part, tid: Tid): Tid {
    return this.#orders[part].ownerOf(tid);
  }

  /** Every task that is the first to have what it has, leaders first. */
  owners(part: Part): Tid[] {
    return this.#orders[part].owners;
  }

  /** The owner within the tree of what a task outside of it has too. */
  sharedWith(part: Part, outsider: Tid): Tid | undefined {
    return this.#orders[part].find(outsider).same;
  }
}

/** Tasks in the kernel's order of what each has. */
class PartOrder {
  readonly #type: number;
  readonly #ordered: Tid[] = [];
  readonly #owner = new Map<Tid, Tid>();

  constructor(type: number) {
    this.#type = type;
  }

  get owners(): Tid[] {
    return [...this.#owner].filter(([tid, owner]) => tid === owner).map(([tid]) => tid);
  }

  place(tid: Tid): void {
    const { index, same } = this.find(tid);
    if (index !== undefined) this.#ordered.splice(index, 0, tid);
    this.#owner.set(tid, same ?? tid);
  }

  follow(tid: Tid, leader: Tid): void {
    this.#owner.set(tid, this.ownerOf(leader));
  }

  ownerOf(tid: Tid): Tid {
    return this.#owner.get(tid) ?? tid;
  }

  /** `index`: where it would stand; undefined if it may not be looked into, or has ended. */
  find(tid: Tid): { index?: number; same?: Tid } {
    let [from, to] = [0, this.#ordered.length];
    while (from < to) {
      const index = (from + to) >> 1;
      const known = this.#ordered[index];
      const order = known === undefined ? undefined : tryOrderTasks(known, tid, this.#type);
      if (order === undefined || known === undefined) return {};
      if (order === 'same') return { same: known };
      if (order === 'before') from = index + 1;
      else to = index;
    }
    return { index: from };
  }
}

/** include/linux/sched.h */
const PF_EXITING = 0x4;

/** A thread on its way out has given its tables and namespaces back already. Only one of a running process can be. */
export function isEnding(pid: Pid, tid: Tid): boolean {
  const stat = unlessMissing(() => readTaskStat(pid, tid));
  return stat === undefined || (stat.flags & PF_EXITING) !== 0;
}
