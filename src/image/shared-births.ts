/**
 * Which processes are born with the descriptor table, or working directory, root and umask, of their makers (CLONE_FILES, CLONE_FS of clone(2)): such an object can
 * only be got at birth, from one that has it. So whoever stands, by who makes whom, between processes that share one has it too until all are
 * born, and leaves it then (unshare(2)). It may stand between those of one object only.
 */
import { ImageError } from '../support/errors.ts';
import type { Step } from './hierarchy.ts';
import type { TaskRecord } from './tree.ts';

type Sharer = Pick<TaskRecord, 'pid' | 'files' | 'fileSystem' | 'addressBits' | 'layoutBits'>;
export type SharedPart = 'files' | 'fileSystem';

export interface SharedBirth {
  /** What it gets from its maker. */
  readonly gets: ReadonlySet<SharedPart>;
  /** What it has from its birth, or gives to those that it makes, and leaves when all are born. */
  readonly leaves: ReadonlySet<SharedPart>;
}

interface OpenBirth {
  readonly gets: Set<SharedPart>;
  readonly leaves: Set<SharedPart>;
}

/** By pid; who is not there shares nothing. Throws ImageError where no order of making them leads there. */
export function planSharedBirths(tasks: readonly Sharer[], steps: readonly Step[]): ReadonlyMap<number, SharedBirth> {
  const births = new Map<number, OpenBirth>();
  const makers = new Makers(tasks, steps);
  for (const part of ['files', 'fileSystem'] as const) {
    const among = new Map<number, number>();
    for (const [object, pids] of sharersOf(part, tasks)) {
      const between = makers.between(pids);
      for (const [pid, maker] of between) {
        const other = among.get(pid);
        if (other !== undefined && other !== object) throw oddSharing(pids);
        among.set(pid, object);
        const birth = births.get(pid) ?? { gets: new Set(), leaves: new Set() };
        births.set(pid, birth);
        if (maker !== undefined) birth.gets.add(part);
        if (!pids.has(pid)) birth.leaves.add(part);
        // A table is lost by execve(2), and only that makes a program of another kind.
        if (part === 'files' && maker !== undefined && !makers.areAlike(pid, maker)) throw oddSharing(pids);
      }
    }
  }
  return births;
}

/** Objects that several processes have, and who has them. */
function sharersOf(part: SharedPart, tasks: readonly Sharer[]): [number, Set<number>][] {
  const found = new Map<number, Set<number>>();
  for (const task of tasks) {
    const object = task[part];
    if (object === undefined) continue;
    const pids = found.get(object) ?? new Set();
    found.set(object, pids.add(task.pid));
  }
  return [...found].filter(([, pids]) => pids.size > 1);
}

class Makers {
  readonly #tasks: ReadonlyMap<number, Sharer>;
  readonly #maker = new Map<number, number>();
  readonly #depth = new Map<number, number>();

  constructor(tasks: readonly Sharer[], steps: readonly Step[]) {
    this.#tasks = new Map(tasks.map((task) => [task.pid, task]));
    for (const step of steps) {
      if (step.what !== 'make' || !this.#tasks.has(step.pid)) continue;
      // What a helper has is nobody's.
      if (!this.#tasks.has(step.maker)) continue;
      this.#maker.set(step.pid, step.maker);
      this.#depth.set(step.pid, this.#depthOf(step.maker) + 1);
    }
  }

  #depthOf(pid: number): number {
    return this.#depth.get(pid) ?? 0;
  }

  areAlike(a: number, b: number): boolean {
    const [one, other] = [this.#tasks.get(a), this.#tasks.get(b)];
    return one?.addressBits === other?.addressBits && one?.layoutBits === other?.layoutBits;
  }

  /** The processes, those between them and the nearest that has made them all; with their makers, but for that one. */
  between(pids: ReadonlySet<number>): Map<number, number | undefined> {
    const found = new Map<number, number | undefined>();
    const levels = new Map<number, Set<number>>();
    for (const pid of pids) levelOf(levels, this.#depthOf(pid)).add(pid);
    let waiting = pids.size;
    for (let depth = Math.max(...levels.keys()); depth >= 0; depth--) {
      for (const pid of levels.get(depth) ?? []) {
        if (waiting === 1) return found.set(pid, undefined);
        const maker = this.#maker.get(pid);
        if (maker === undefined) throw oddSharing(pids);
        found.set(pid, maker);
        const above = levelOf(levels, depth - 1);
        if (above.has(maker)) waiting--;
        above.add(maker);
      }
    }
    throw oddSharing(pids);
  }
}

function levelOf(levels: Map<number, Set<number>>, depth: number): Set<number> {
  const level = levels.get(depth) ?? new Set();
  levels.set(depth, level);
  return level;
}

const oddSharing = (pids: ReadonlySet<number>): ImageError =>
  new ImageError(
    'odd-sharing',
    `Processes ${[...pids].slice(0, 4).join(', ')} share a descriptor table or a working directory in a way that they could not get from those who make them.`,
  );
