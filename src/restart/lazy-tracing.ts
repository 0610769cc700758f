/**
 * Tasks that run and are traced, as long as pages are missing: with PTRACE_O_EXITKILL they, and whatever they make, end with us. They meet what they
 * would have met without us; only signals and births take a little longer.
 */
import { EVENT, PTRACE } from '../kernel/abi/ptrace.ts';
import { SIGNAL } from '../kernel/abi/signal.ts';
import {
  detachIfAlive,
  getRegisterFile,
  getSignalMask,
  interruptIfAlive,
  isGone,
  listenIfAlive,
  resumeIfAlive,
  setOptions,
  tryEventMessage,
} from '../kernel/calls/ptrace.ts';
import { sendSignal } from '../kernel/calls/task-attributes.ts';
import { type TaskEvent, tryWaitForAny } from '../kernel/calls/wait.ts';
import { unlessMissing } from '../procfs/proc-file.ts';
import { asPid, asTid, type Tid } from '../support/brand.ts';
import { undoStopInterruption } from '../tracee/stop-interruption.ts';

const { PTRACE_O_EXITKILL, PTRACE_O_TRACECLONE, PTRACE_O_TRACEFORK, PTRACE_O_TRACEVFORK } = PTRACE;
const OPTIONS = PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK;

const BIRTHS: ReadonlySet<number> = new Set([
  EVENT.PTRACE_EVENT_CLONE,
  EVENT.PTRACE_EVENT_FORK,
  EVENT.PTRACE_EVENT_VFORK,
]);

/** A stop of job control, not of ours: ptrace(2), group-stop. */
const STOPS: ReadonlySet<number> = new Set([SIGNAL.SIGSTOP, SIGNAL.SIGTSTP, SIGNAL.SIGTTIN, SIGNAL.SIGTTOU]);

/** It has been stopped by us, and shall not notice. */
function mendIfAlive(tid: Tid): void {
  try {
    unlessMissing(() => undoStopInterruption(asPid(tid), tid, getRegisterFile(tid), getSignalMask(tid)));
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

const LOOK_EVERY_MS = 0.2;
const pause = new Int32Array(new SharedArrayBuffer(4));

export type Ended = Extract<TaskEvent, { kind: 'exited' | 'killed' }>;
type Stopped = Extract<TaskEvent, { kind: 'stopped' }>;

export class LazyTracing {
  readonly #tids = new Set<Tid>();
  /** How tasks have ended that we have waited for: a child of ours is reaped then. */
  readonly ended = new Map<Tid, Ended>();

  /** Lets a task run that stands still. False if it has ended. */
  letRun(tid: Tid): boolean {
    setOptions(tid, OPTIONS);
    if (!resumeIfAlive(tid)) return false;
    this.#tids.add(tid);
    return true;
  }

  /** Passes on what has happened to them. */
  look(): void {
    this.#hear((tid, { signal, event }) => {
      if (event === EVENT.PTRACE_EVENT_STOP && STOPS.has(signal)) listenIfAlive(tid);
      else resumeIfAlive(tid, event === 0 ? signal : 0);
    });
  }

  /** All stand by themselves afterwards. */
  letGo(): void {
    this.#untilNone(
      (tid) => interruptIfAlive(tid),
      (tid, { signal, event }) => {
        if (event === EVENT.PTRACE_EVENT_STOP) mendIfAlive(tid);
        // Its children are ours until they have stopped once.
        this.#tids.delete(tid);
        detachIfAlive(tid, event === 0 ? signal : 0);
      },
    );
  }

  /** All are dead afterwards. */
  kill(): void {
    // Somebody else may have the number of a thread by now that another one has replaced (execve(2)).
    const end = (tid: Tid): boolean => interruptIfAlive(tid) && sendSignal(asPid(tid), SIGNAL.SIGKILL);
    this.#untilNone(end, end);
  }

  /** `reach`: false for a task that is not there any more. */
  #untilNone(reach: (tid: Tid) => boolean, onStop: (tid: Tid, stop: Stopped) => void): void {
    while (this.#tids.size > 0) {
      for (const tid of [...this.#tids]) if (!reach(tid)) this.#tids.delete(tid);
      if (!this.#hear(onStop)) Atomics.wait(pause, 0, 0, LOOK_EVERY_MS);
    }
    this.#hear(onStop);
  }

  #hear(onStop: (tid: Tid, stop: Stopped) => void): boolean {
    let heard = false;
    for (let seen = tryWaitForAny(); seen !== undefined; seen = tryWaitForAny()) {
      heard = true;
      const { tid, event } = seen;
      if (event.kind === 'exited' || event.kind === 'killed') {
        this.#tids.delete(tid);
        this.ended.set(tid, event);
      } else if (event.kind === 'stopped') {
        this.#tids.add(tid);
        this.#noteBirth(tid, event);
        onStop(tid, event);
      }
    }
    return heard;
  }

  /** The child stops before its first instruction; it is not let go before that has been seen. */
  #noteBirth(tid: Tid, { event }: Stopped): void {
    const child = BIRTHS.has(event) ? tryEventMessage(tid) : undefined;
    if (child !== undefined && !this.ended.has(asTid(child))) this.#tids.add(asTid(child));
  }
}
