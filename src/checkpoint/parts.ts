/**
 * What clone(2) lets tasks share: memory (CLONE_VM), descriptor table (CLONE_FILES), working directory, root and umask (CLONE_FS), and, of processes that
 * share their memory, what they do on signals (CLONE_SIGHAND). Found with
 * kcmp(2), which orders what tasks have: who has the same is found by halving. Processes that we may not look into share nothing. A leader that has ended has nothing
 * any more: where leaders are spoken of here, it is the first living thread then.
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

type Tasks = Pick<ProcessView, 'pid' | 'speaker' | 'tids'>;

/**
 * Looks that follow on each other. Sharing begins with a birth only (clone(2)), so processes that shared nothing with each other share nothing later, unless
 * there are new ones: a comparison of all takes 7 ms for 300 processes, while they stand still.
 */
export class PartSearch {
  /** What the last look has found. */
  last: TreeParts | undefined;
  /** Leaders of the last look, if none of them shared anything with another. */
  #alone: ReadonlySet<string> = new Set();

  of(processes: readonly (Tasks & Pick<ProcessView, 'stat'>)[]): TreeParts {
    const leaders = processes.map(({ speaker, stat }) => `${speaker} ${stat.startTimeTicks}`);
    const parts = new TreeParts(
      processes,
      leaders.every((leader) => this.#alone.has(leader)),
    );
    this.#alone = new Set(parts.leadersAreAlone ? leaders : []);
    this.last = parts;
    return parts;
  }
}

/** Of all tasks of a tree. */
export class TreeParts {
  readonly #orders: Readonly<Record<Part, PartOrder>>;
  /** Of leaders that share their memory. */
  readonly #handlers = new PartOrder(KCMP.KCMP_SIGHAND);
  /** It is certain that no two processes share anything. */
  readonly leadersAreAlone: boolean;

  /** `areAlone`: it is known that the leaders share nothing with each other. */
  constructor(processes: readonly Tasks[], areAlone = false) {
    this.#orders = {
      memory: new PartOrder(TYPES.memory),
      files: new PartOrder(TYPES.files),
      fileSystem: new PartOrder(TYPES.fileSystem),
    };
    const leaders = processes.map(({ speaker }) => asTid(speaker));
    for (const part of PARTS) this.#orders[part].placeAll(leaders, areAlone);
    const sharing = leaders.filter((leader) => this.ownerOf('memory', leader) !== leader);
    const owners = new Set(sharing.map((leader) => this.ownerOf('memory', leader)));
    for (const leader of [...owners, ...sharing]) this.#handlers.place(leader);
    this.leadersAreAlone = PARTS.every(
      (part) => this.#orders[part].isCertain && leaders.every((leader) => this.ownerOf(part, leader) === leader),
    );
    for (const part of PARTS) {
      for (const one of processes) this.#placeThreads(part, one);
    }
  }

  #placeThreads(part: Part, { pid, speaker, tids }: Tasks): void {
    const leader = asTid(speaker);
    for (const tid of tids) {
      if (tid === leader) continue;
      // Threads of a process have one memory (clone(2), CLONE_THREAD).
      const order = part === 'memory' ? 'same' : tryOrderTasks(leader, tid, TYPES[part]);
      if (order !== undefined && order !== 'same' && !isEnding(pid, tid)) this.#orders[part].place(tid);
      else this.#orders[part].follow(tid, leader);
    }
  }

  /** The first task of the tree that has the same: a leader, if one has it. */
  ownerOf(part: Part, tid: Tid): Tid {
    return this.#orders[part].ownerOf(tid);
  }

  /** The first leader of the tree that does the same on signals, because it shares that. */
  handlersOwnerOf(leader: Tid): Tid {
    return this.#handlers.ownerOf(leader);
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
  #unordered: readonly Tid[] = [];
  /** False if one could not be compared with others: it may not be looked into, or one of them was ending. */
  isCertain = true;

  constructor(type: number) {
    this.#type = type;
  }

  get owners(): Tid[] {
    return [...this.#owner].filter(([tid, owner]) => tid === owner).map(([tid]) => tid);
  }

  /** `areAlone`: they are compared only when somebody else is. */
  placeAll(tids: readonly Tid[], areAlone: boolean): void {
    if (areAlone) {
      this.#unordered = tids;
      for (const tid of tids) this.#owner.set(tid, tid);
    } else for (const tid of tids) this.place(tid);
  }

  place(tid: Tid): void {
    const { index, same } = this.find(tid);
    if (index !== undefined) this.#ordered.splice(index, 0, tid);
    else if (same === undefined) this.isCertain = false;
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
    const unordered = this.#unordered;
    this.#unordered = [];
    for (const one of unordered) this.place(one);
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
