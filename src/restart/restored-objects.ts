/** The open file descriptions of the plan: made in our own table, filled, and handed over to the process that is being rebuilt. */
import { FCNTL, OPEN } from '../kernel/abi/fcntl.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import type { OwnedFd } from '../kernel/owned-fd.ts';
import type { RebuiltProcess, RestoredDescriptors } from '../resources/resource.ts';
import { restoreSignals } from '../resources/signal-driven.ts';
import { type LocalFd, localFd, remoteFd } from '../support/brand.ts';
import type { Agent } from '../tracee/agent.ts';
import { CallBatch } from '../tracee/call-batch.ts';
import { handOver } from './hand-over.ts';
import type { RestartPlan } from './plan.ts';

export class RestoredObjects {
  readonly #plan: Pick<RestartPlan, 'descriptions' | 'entries' | 'mappings'>;
  readonly #objects = new Map<number, OwnedFd>();
  readonly #contentTargets = new Map<number, LocalFd>();
  #shared: ReadonlyMap<string, unknown> = new Map();
  #world: RestoredDescriptors | undefined;

  constructor(plan: RestartPlan) {
    this.#plan = plan;
  }

  /** Those that mappings refer to. */
  get mapped(): number[] {
    const nameless = this.#plan.mappings.flatMap(({ made }) => (made?.nameless ? [made.file] : []));
    return [...new Set(nameless)];
  }

  numberOf(objref: number): LocalFd {
    return must(this.#objects.get(objref)).number;
  }

  /** Makes every open file description in our own table; content can be put into them from now on. */
  make(streams: readonly [number, number, number]): void {
    const shared = new Map<string, unknown>();
    const world: RestoredDescriptors = {
      shared: <T>(key: string, make: () => T): T => {
        if (!shared.has(key)) shared.set(key, make());
        return shared.get(key) as T;
      },
      standardStream: (number) => localFd(streams[number]),
    };
    this.#shared = shared;
    this.#world = world;
    for (const { objref, kind, state } of this.#plan.descriptions) {
      this.#objects.set(objref, kind.restore(state, world));
      const target = kind.contentTarget?.(state, world);
      if (target !== undefined) this.#contentTargets.set(objref, target.number);
    }
  }

  /** What a session leader must have before it has children. */
  begin(process: RebuiltProcess): void {
    for (const { kind, state } of this.#plan.descriptions) {
      if (kind.leaderOf?.(state) === process.pid) kind.begin?.(state, process, must(this.#world));
    }
  }

  /** Our descriptor for the bytes of an object, undefined if it takes none. */
  contentTarget(objref: number): LocalFd | undefined {
    return this.#contentTargets.get(objref);
  }

  /**
   * Descriptors arrive at the lowest numbers, in order; in descending order each then goes to its own number, which is never
   * below the one that it arrived at, so that no other is overwritten before it has moved.
   */
  handOver(agent: Agent, target: (batch: CallBatch) => RebuiltProcess): void {
    for (const { objref, kind, state } of this.#plan.descriptions) {
      kind.settle?.(state, must(this.#objects.get(objref)).number);
    }
    const arrived = handOver(
      agent,
      this.#plan.entries.map(({ object }) => must(this.#objects.get(object)).number),
    );
    this.close();
    this.#place(agent, arrived);
    this.#finish(agent, target);
  }

  close(): void {
    for (const fd of this.#objects.values()) fd.close();
    closeShared(this.#shared);
    this.#objects.clear();
    this.#contentTargets.clear();
  }

  #place(agent: Agent, arrived: readonly number[]): void {
    const batch = new CallBatch(agent);
    for (let index = this.#plan.entries.length - 1; index >= 0; index--) {
      const entry = must(this.#plan.entries[index]);
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

  #finish(agent: Agent, targetOf: (batch: CallBatch) => RebuiltProcess): void {
    const batch = new CallBatch(agent);
    const target = targetOf(batch);
    const entryOf = new Map([...this.#plan.entries].reverse().map((entry) => [entry.object, entry]));
    for (const { objref, kind, state, signals } of this.#plan.descriptions) {
      const entry = entryOf.get(objref);
      if (entry === undefined) continue;
      if (signals !== undefined) restoreSignals(signals, target, remoteFd(entry.fd));
      kind.finish?.(state, target, remoteFd(entry.fd));
      batch.run();
    }
  }
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
