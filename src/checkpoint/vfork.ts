/**
 * Threads that wait in vfork(2), or clone(2) with CLONE_VFORK, until their child executes a program or ends: usually for microseconds, because that is how
 * posix_spawn(3) makes processes. No stop reaches them meanwhile: the kernel waits in TASK_KILLABLE (wait_for_vfork_done()), so PTRACE_INTERRUPT
 * stops them when the wait is over, and the child, which has their memory, must run until then.
 */
import { KCMP } from '../kernel/abi/fs.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import { SYS_I386 } from '../kernel/abi/syscall-i386.ts';
import { tryOrderTasks } from '../kernel/calls/descriptors.ts';
import { describeProcess } from '../procfs/cmdline.ts';
import { unlessMissing, VANISHED } from '../procfs/proc-file.ts';
import { readTaskStat } from '../procfs/stat.ts';
import { childrenOfTask, listTasks } from '../procfs/tasks.ts';
import { readWaiting } from '../procfs/waiting.ts';
import { asTid, type Pid, type Tid } from '../support/brand.ts';
import type { Problem } from '../support/errors.ts';

export interface VforkWait {
  readonly pid: Pid;
  readonly tid: Tid;
  readonly child: Pid;
}

/** 64-bit code of a 32-bit program may make calls of both kinds, and the other way round. */
const CALLS: ReadonlySet<number> = new Set([
  ...[SYS.vfork, SYS.clone, SYS.clone3],
  ...[SYS_I386.vfork, SYS_I386.clone, SYS_I386.clone3],
]);

/** What such threads of a process wait for at this moment. */
export const vforkWaits = (pid: Pid): VforkWait[] =>
  (unlessMissing(() => listTasks(pid)) ?? []).flatMap((tid) => vforkWaitOf(pid, tid) ?? []);

export function vforkWaitOf(pid: Pid, tid: Tid): VforkWait | undefined {
  if (unlessMissing(() => readTaskStat(pid, tid))?.state !== 'D') return undefined;
  const waiting = unlessMissing(() => readWaiting(pid, tid), [...VANISHED, 'not-permitted']);
  if (waiting === undefined || !CALLS.has(waiting.call)) return undefined;
  const child = (unlessMissing(() => childrenOfTask(pid, tid)) ?? []).find(
    (one) => tryOrderTasks(tid, asTid(one), KCMP.KCMP_VM) === 'same',
  );
  return child === undefined ? undefined : { pid, tid, child };
}

/** More is no posix_spawn(3). */
const PATIENCE_MS = 1000;
const LOOK_EVERY_MS = 2;
const pause = new Int32Array(new SharedArrayBuffer(4));

/** Lets those end that these processes wait for now, within a limit. */
export function awaitVforks(pids: readonly Pid[]): void {
  const deadline = performance.now() + PATIENCE_MS;
  let waits = pids.flatMap(vforkWaits);
  while (waits.length > 0 && performance.now() < deadline) {
    Atomics.wait(pause, 0, 0, LOOK_EVERY_MS);
    waits = waits.filter(({ pid, tid, child }) => vforkWaitOf(pid, tid)?.child === child);
  }
}

export const vforkProblem = ({ pid, tid, child }: VforkWait): Problem & { readonly remedy: string } => ({
  code: 'waits-in-vfork',
  path: [`pid ${pid}`, `thread ${tid}`],
  message: `It waits in vfork(2) until process ${describeProcess(child)}, which has its memory, executes a program or ends.`,
  remedy: 'Save it when the other process has done so.',
});
