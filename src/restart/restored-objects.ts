/** The open file descriptions of the plan: made in our own table, filled, and handed over to the processes that are being rebuilt. */
import { FCNTL, OPEN } from '../kernel/abi/fcntl.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import type { OwnedFd } from '../kernel/owned-fd.ts';
import type { RebuiltProcess, RestoredDescriptors } from '../resources/resource.ts';
import { type LocalFd, localFd, type Pid, remoteFd } from '../support/brand.ts';
import type { Agent } from '../tracee/agent.ts';
import { CallBatch } from '../tracee/call-batch.ts';
import { handOver } from './hand-over.ts';
import type { RestartPlan } from './plan.ts';
import type { ProcessPlan } from './process-plan.ts';

export class RestoredObjects {
  readonly #descriptions: RestartPlan['descriptions'];
  readonly #objects = new Map<number, OwnedFd>();
  readonly #contentTargets = new Map<number, LocalFd>();
  #shared: ReadonlyMap<string, unknown> = new Map();
  #world: RestoredDescriptors | undefined;

  constructor({ descriptions }: Pick<RestartPlan, 'descriptions'>) {
    this.#descriptions = descriptions;
  }

  /** The highest descriptor number that a process needs for a while, beside those of its table. */
  highestNumberIn(pid: Pid): number {
    return Math.max(0, ...this.#finishedIn(pid).map(({ kind, state }) => kind.highestNumber?.(state) ?? 0));
  }

  #finishedIn(pid: Pid): RestartPlan['descriptions'] {
    return this.#descriptions.filter(({ holder }) => holder?.pid === pid);
  }

  numberOf(objref: number): LocalFd {
    return must(this.#objects.get(objref)).number;
  }

  /** Makes every open file description in our own table; content can be put into them from now on. */
  make(streams: readonly [number, number, number], process: RestoredDescriptors['process']): void {
    const shared = new Map<string, unknown>();
    const world: RestoredDescriptors = {
      shared: <T>(key: string, make: () => T): T => {
        if (!shared.has(key)) shared.set(key, make());
        return shared.get(key) as T;
      },
      standardStream: (number) => localFd(streams[number]),
      process,
    };
    this.#world = world;
    this.#shared = shared;
    for (const { objref, kind, state } of this.#descriptions) {
      this.#objects.set(objref, kind.restore(state, world));
      const target = kind.contentTarget?.(state, world);
      if (target !== undefined) this.#contentTargets.set(objref, target.number);
    }
  }

  /** Our descriptor for the bytes of an object, undefined if it takes none. */
  contentTarget(objref: number): LocalFd | undefined {
    return this.#contentTargets.get(objref);
  }

  /** When all content is in them. */
  settle(): void {
    for (const { objref, kind, state } of this.#descriptions) {
      kind.settle?.(state, must(this.#objects.get(objref)).number, must(this.#world));
    }
  }

  /**
   * Descriptors arrive at the lowest numbers, in order; in descending order each then goes to its own number, which is never
   * below the one that it arrived at, so that no other is overwritten before it has moved.
   */
  handOver(agent: Agent, { pid, entries }: ProcessPlan, target: (batch: CallBatch) => RebuiltProcess): void {
    const arrived = handOver(
      agent,
      entries.map(({ object }) => must(this.#objects.get(object)).number),
    );
    place(agent, entries, arrived);
    const batch = new CallBatch(agent);
    const process = target(batch);
    for (const { kind, state, holder } of this.#finishedIn(pid)) {
      if (holder !== undefined) kind.finish?.(state, process, remoteFd(holder.fd));
      batch.run();
    }
  }

  close(): void {
    for (const fd of this.#objects.values()) fd.close();
    closeShared(this.#shared);
    this.#objects.clear();
    this.#contentTargets.clear();
  }
}

function place(agent: Agent, entries: ProcessPlan['entries'], arrived: readonly number[]): void {
  const batch = new CallBatch(agent);
  for (let index = entries.length - 1; index >= 0; index--) {
    const entry = must(entries[index]);
    const from = must(arrived[index]);
    if (!batch.hasRoomFor(2, 0)) batch.run();
    if (from !== entry.fd) {
      batch.call(`place descriptor ${entry.fd}`, SYS.dup3, from, entry.fd, entry.closeOnExec ? OPEN.O_CLOEXEC : 0);
      batch.call('close where it arrived', SYS.close, from);
    } else {
      const flag = entry.closeOnExec ? FCNTL.FD_CLOEXEC : 0;
      batch.call(`set the flags of descriptor ${entry.fd}`, SYS.fcntl, entry.fd, FCNTL.F_SETFD, flag);
    }
  }
  batch.run();
}

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('the plan is inconsistent');
  return value;
}

/** Pipes are kept as pairs until every end has been made from them. */
function closeShared(shared: ReadonlyMap<string, unknown>): void {
  for (const pair of shared.values()) {
    for (const end of Object.values(pair as Record<string, OwnedFd>)) end.close();
  }
}
