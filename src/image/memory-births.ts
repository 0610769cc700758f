/**
 * Which processes are born with the memory of their makers, and with what those do on signals (CLONE_VM, CLONE_SIGHAND of clone(2)): that can only be got
 * at birth, from one that has it. The first process of a memory gets one of its own; each other is made by one that is there already, its parent, or a sibling
 * in the same session (CLONE_PARENT), who then takes the place of the maker that the hierarchy names.
 */
import { ImageError } from '../support/errors.ts';
import type { Hierarchy, Step } from './hierarchy.ts';
import type { TaskRecord } from './tree.ts';

type Sharer = Pick<TaskRecord, 'pid' | 'parent' | 'memory' | 'handlers' | 'exitSignal'>;
type Make = Extract<Step, { what: 'make' }>;

export interface MemoryBirth {
  /** It gets from its maker what that does on signals, too. */
  readonly handlers: boolean;
}

export interface MemoryBirths {
  readonly hierarchy: Hierarchy;
  /** By pid: those that are born with the memory of their makers. */
  readonly births: ReadonlyMap<number, MemoryBirth>;
}

/** `tasks`: the root first. Throws ImageError where no order of making them leads there. */
export function planMemoryBirths(tasks: readonly Sharer[], hierarchy: Hierarchy): MemoryBirths {
  const memories = new Set(tasks.map(({ memory }) => memory));
  if (memories.size === tasks.length) return { hierarchy, births: new Map() };
  const planner = new Planner(tasks);
  const steps = hierarchy.steps.map((step) => planner.take(step));
  return { hierarchy: { ...hierarchy, steps }, births: planner.births };
}

class Planner {
  readonly births = new Map<number, MemoryBirth>();
  readonly #tasks: ReadonlyMap<number, Sharer>;
  /** Of those that are there, by memory, in the order in which they were made. */
  readonly #made = new Map<number, Sharer[]>();
  /** Of those that are there, as they are in them at that moment. */
  readonly #sessions = new Map<number, number>();

  constructor(tasks: readonly Sharer[]) {
    this.#tasks = new Map(tasks.map((task) => [task.pid, task]));
    const [root] = tasks;
    if (root !== undefined) this.#note(root.pid, 0);
  }

  take(step: Step): Step {
    if (step.what === 'begin-session') this.#sessions.set(step.pid, step.pid);
    if (step.what === 'make-helper') this.#note(step.pid, this.#sessionOf(step.maker));
    if (step.what === 'make-orphan') {
      const task = this.#tasks.get(step.pid);
      // The helper that makes it has no memory that it could get.
      if (task !== undefined && this.#made.has(task.memory)) throw oddSharing(task);
      this.#note(step.pid, this.#sessionOf(step.maker));
    }
    if (step.what !== 'make') return step;
    const found = this.#find(step);
    this.#note(step.pid, this.#sessionOf(found.maker));
    return found;
  }

  #sessionOf(pid: number): number {
    return this.#sessions.get(pid) ?? 0;
  }

  #note(pid: number, session: number): void {
    this.#sessions.set(pid, session);
    const task = this.#tasks.get(pid);
    if (task === undefined) return;
    const made = this.#made.get(task.memory) ?? [];
    this.#made.set(task.memory, made);
    made.push(task);
  }

  /** Who makes it so that it gets what it has to have. */
  #find(step: Make): Make {
    const task = this.#tasks.get(step.pid);
    const there = task === undefined ? [] : (this.#made.get(task.memory) ?? []);
    if (task === undefined || there.length === 0) return step;
    const handlers = task.handlers !== undefined && there.some((one) => one.handlers === task.handlers);
    const able = there.filter((one) => !handlers || one.handlers === task.handlers);
    this.births.set(task.pid, { handlers });
    if (able.some(({ pid }) => pid === step.maker)) return step;
    const session = this.#sessionOf(step.maker);
    // With CLONE_PARENT it has the exit signal of its maker.
    const sibling = able.find(
      ({ pid, parent, exitSignal }) =>
        parent === task.parent && exitSignal === task.exitSignal && this.#sessionOf(pid) === session,
    );
    if (sibling === undefined) throw oddSharing(task);
    return { ...step, maker: sibling.pid, asSibling: true };
  }
}

const oddSharing = ({ pid }: Sharer): ImageError =>
  new ImageError(
    'odd-sharing',
    `Process ${pid} shares its memory, or what it does on signals, in a way that it could not get from its parent or from a sibling.`,
  );
