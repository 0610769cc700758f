/** The open file descriptions of the plan: made in our own table, filled, and handed over to the processes that are being rebuilt. */
import { FCNTL, OPEN } from '../kernel/abi/fcntl.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import type { OwnedFd } from '../kernel/owned-fd.ts';
import { RestoredConnections } from '../resources/connection-keeper.ts';
import type { RebuiltProcess, RestoredDescriptors } from '../resources/resource.ts';
import { restoreSignals } from '../resources/signal-driven.ts';
import { type LocalFd, remoteFd, type Tid } from '../support/brand.ts';
import { CleanupStack } from '../support/cleanup-stack.ts';
import type { DescriptorReceiver } from '../tracee/agent.ts';
import { CallBatch } from '../tracee/call-batch.ts';
import { handOver, takeByHandle } from './hand-over.ts';
import type { RestartPlan } from './plan.ts';
import type { ProcessPlan } from './process-plan.ts';

/** A descriptor table, and the task in which it is filled. */
export interface Table extends Pick<ProcessPlan, 'entries'> {
  readonly tid: Tid;
}

export class RestoredObjects {
  readonly #descriptions: RestartPlan['descriptions'];
  readonly #root: number;
  readonly #objects = new Map<number, OwnedFd>();
  readonly #contentTargets = new Map<number, LocalFd>();
  readonly #shared = new Map<string, unknown>();
  #world: RestoredDescriptors | undefined;
  readonly #connections = new RestoredConnections();
  readonly #undo = new CleanupStack();

  constructor({ descriptions, pid }: Pick<RestartPlan, 'descriptions' | 'pid'>) {
    this.#descriptions = descriptions;
    this.#root = pid;
  }

  /** The highest descriptor number that a task needs for a while, beside those of its table. */
  highestNumberIn(task: Tid): number {
    return Math.max(0, ...this.#finishedIn(task).map(({ kind, state }) => kind.highestNumber?.(state) ?? 0));
  }

  #finishedIn(task: Tid): RestartPlan['descriptions'] {
    return this.#descriptions.filter(({ kind, state, holder }) => (kind.leaderOf?.(state) ?? holder?.task) === task);
  }

  numberOf(objref: number): LocalFd {
    return must(this.#objects.get(objref)).number;
  }

  /** Whether what is finished in it takes hold of its memory. */
  touchMemoryOf(task: Tid): boolean {
    return this.#finishedIn(task).some(({ kind, state }) => kind.touchesMemory?.(state) === true);
  }

  passesByHandle(objref: number): boolean {
    return this.#descriptions.some((one) => one.objref === objref && one.kind.passesByHandle === true);
  }

  /**
   * Makes open file descriptions in our own table, in two rounds: those that some process must have before it has children
   * (`leading`), and all others when all processes are there.
   */
  make(which: 'leading' | 'others', world: Pick<RestoredDescriptors, 'standardStream' | 'process' | 'root'>): void {
    this.#world ??= {
      ...world,
      object: (objref) => this.numberOf(objref),
      shared: (key, make) => this.#share(key, make),
      onFailure: (undo) => this.onFailure(undo),
      connections: this.#connections,
    };
    for (const { objref, kind, state } of this.#descriptions) {
      if ((kind.leaderOf !== undefined) !== (which === 'leading')) continue;
      this.#objects.set(objref, kind.restore(state, this.#world));
      const target = kind.contentTarget?.(state, this.#world);
      if (target !== undefined) this.#contentTargets.set(objref, target.number);
    }
  }

  onFailure(undo: () => void): void {
    this.#undo.push(undo);
  }

  #share<T>(key: string, make: () => T): T {
    if (!this.#shared.has(key)) this.#shared.set(key, make());
    return this.#shared.get(key) as T;
  }

  /** What a session leader must have before it has children. */
  begin(process: RebuiltProcess): void {
    for (const { kind, state } of this.#descriptions) {
      if (kind.leaderOf?.(state) === process.pid) kind.begin?.(state, process, must(this.#world));
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
  handOver(receiver: DescriptorReceiver, { tid, entries }: Table, target: (batch: CallBatch) => RebuiltProcess): void {
    const byHandle = entries.filter(({ object }) => this.passesByHandle(object));
    const inMessages = entries.filter((entry) => !byHandle.includes(entry));
    const arrived = handOver(
      receiver,
      inMessages.map(({ object }) => this.numberOf(object)),
    );
    place(receiver, inMessages, arrived);
    takeByHandle(
      receiver,
      byHandle.map(({ object }) => this.numberOf(object)),
      (index, from, batch) => placeOne(batch, must(byHandle[index]), from),
    );
    const batch = new CallBatch(receiver);
    const process = target(batch);
    for (const { signals, holder } of this.#descriptions) {
      if (signals !== undefined && holder?.task === tid) restoreSignals(signals, process, remoteFd(holder.fd));
      batch.run();
    }
    for (const { kind, state, holder } of this.#finishedIn(tid)) {
      const isLed = kind.leaderOf?.(state) !== undefined;
      if (holder !== undefined || isLed) kind.finish?.(state, process, remoteFd(holder?.fd ?? -1));
      batch.run();
    }
    if (tid === this.#root) this.#finishInFlight(receiver, process, batch);
  }

  /** What no process has under a number: the root has it for as long as that takes. */
  #finishInFlight(receiver: DescriptorReceiver, process: RebuiltProcess, batch: CallBatch): void {
    const inFlight = this.#descriptions.filter((one) => one.inFlight && one.kind.leaderOf?.(one.state) === undefined);
    const arrived = handOver(
      receiver,
      inFlight.map(({ objref }) => this.numberOf(objref)),
    );
    inFlight.forEach(({ kind, state, signals }, index) => {
      const fd = remoteFd(must(arrived[index]));
      if (signals !== undefined) restoreSignals(signals, process, fd);
      kind.finish?.(state, process, fd);
      batch.call('close what is in flight', SYS.close, fd);
      batch.run();
    });
  }

  /** Everything is in place: connections to others go on. */
  setConnectionsGoing(): void {
    this.#connections.setGoing();
  }

  /** Gives connections up as they are: their other ends hear nothing. All processes have ended. */
  abandon(): void {
    this.close();
    this.#undo.run();
    this.#connections.close();
  }

  close(): void {
    for (const fd of this.#objects.values()) fd.close();
    closeShared(this.#shared);
    this.#objects.clear();
    this.#contentTargets.clear();
  }
}

function place(receiver: DescriptorReceiver, entries: Table['entries'], arrived: readonly number[]): void {
  const batch = new CallBatch(receiver);
  for (let index = entries.length - 1; index >= 0; index--) {
    const entry = must(entries[index]);
    const from = must(arrived[index]);
    if (!batch.hasRoomFor(2, 0)) batch.run();
    placeOne(batch, entry, from);
  }
  batch.run();
}

function placeOne(batch: CallBatch, { fd, closeOnExec }: Table['entries'][number], from: number): void {
  if (from === fd) {
    const flag = closeOnExec ? FCNTL.FD_CLOEXEC : 0;
    batch.call(`set the flags of descriptor ${fd}`, SYS.fcntl, fd, FCNTL.F_SETFD, flag);
    return;
  }
  batch.call(`place descriptor ${fd}`, SYS.dup3, from, fd, closeOnExec ? OPEN.O_CLOEXEC : 0);
  batch.call('close where it arrived', SYS.close, from);
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
