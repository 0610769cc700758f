/**
 * wait4(2) for traced tasks and for our own children. Always for one named task, never one that somebody else waits for; but for
 * {@link tryWaitForAny}.
 */
import { asTid, type Tid } from '../../support/brand.ts';
import { ERRNO } from '../abi/errno.ts';
import { SYS } from '../abi/syscall.ts';
import { WAIT } from '../abi/wait.ts';
import { check, KernelError } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { newCall, scratch } from '../scratch.ts';

/** What waitpid(2) tells of a task. */
export type TaskEvent =
  | { readonly kind: 'exited'; readonly status: number }
  | { readonly kind: 'killed'; readonly signal: number }
  /** A ptrace stop. `event` is a PTRACE_EVENT number, 0 for a signal or system call stop. */
  | { readonly kind: 'stopped'; readonly signal: number; readonly event: number }
  | { readonly kind: 'continued' };

export function decodeWaitStatus(status: number): TaskEvent {
  const low = status & 0x7f;
  if (status === 0xffff) return { kind: 'continued' };
  if (low === 0) return { kind: 'exited', status: (status >> 8) & 0xff };
  if ((status & 0xff) === 0x7f) return { kind: 'stopped', signal: (status >> 8) & 0xff, event: status >> 16 };
  return { kind: 'killed', signal: low };
}

const ANY = asTid(-1);

function wait(tid: Tid, flags: number): { tid: number; event: TaskEvent } | undefined {
  for (;;) {
    newCall();
    const status = scratch(4);
    const result = rawSyscall(SYS.wait4, tid, status.address, flags, 0);
    if (result === -ERRNO.EINTR) continue;
    if (result === 0) return undefined;
    check('wait4', result, { doing: 'wait for a task', pid: tid });
    return { tid: asTid(result), event: decodeWaitStatus(status.view.getInt32(0, true)) };
  }
}

/** Blocks until something happens to the task. */
export function waitForTask(tid: Tid): TaskEvent {
  const seen = wait(tid, WAIT.__WALL);
  if (seen === undefined) throw new Error('wait4 without WNOHANG returned 0');
  return seen.event;
}

/** Most tasks that were let go to make a call are back within this time, sooner than the kernel would wake us up. */
const SPIN_MS = 0.1;

/** As {@link waitForTask}, for what happens at once: looks again and again for a while before it sleeps. */
export function waitForTaskSoon(tid: Tid): TaskEvent {
  const spinUntil = performance.now() + SPIN_MS;
  do {
    const event = tryWaitForTask(tid);
    if (event !== undefined) return event;
  } while (performance.now() < spinUntil);
  return waitForTask(tid);
}

/** What has happened to the task already, if anything. */
export function tryWaitForTask(tid: Tid): TaskEvent | undefined {
  return wait(tid, WAIT.__WALL | WAIT.WNOHANG)?.event;
}

/** What has happened to any task that is traced by us, or a child of ours. A child that has ended is reaped by it. */
export function tryWaitForAny(): { readonly tid: Tid; readonly event: TaskEvent } | undefined {
  try {
    const seen = wait(ANY, WAIT.__WALL | WAIT.WNOHANG);
    return seen === undefined ? undefined : { tid: asTid(seen.tid), event: seen.event };
  } catch (error) {
    if (error instanceof KernelError && error.errno === ERRNO.ECHILD) return undefined;
    throw error;
  }
}

/** Waits until the task has ended, whatever happens to it before. */
export function waitForEnd(tid: Tid): void {
  for (;;) {
    const { kind } = waitForTask(tid);
    if (kind === 'exited' || kind === 'killed') return;
  }
}

const LOOK_EVERY_MS = 1;
const pause = new Int32Array(new SharedArrayBuffer(4));

/**
 * Waits until a task that is about to end has ended, or is not ours any more: a thread that executes a program takes the number of the
 * first one, which it ends. Looks again and again: who waits for that number is not woken then, because the first thread has
 * another one when its end is told (fs/exec.c, de_thread).
 */
export function waitForEndOrLoss(tid: Tid): void {
  for (;;) {
    let event: TaskEvent | undefined;
    try {
      event = tryWaitForTask(tid);
    } catch (error) {
      if (error instanceof KernelError && error.errno === ERRNO.ECHILD) return;
      throw error;
    }
    if (event?.kind === 'exited' || event?.kind === 'killed') return;
    if (event === undefined) Atomics.wait(pause, 0, 0, LOOK_EVERY_MS);
  }
}
