/**
 * In the place of the command that saved its own parent: a process with its pid, a child of the restarted process, that ends
 * with a status which says that this is the restarted side. It shares everything with its parent and never runs anything but
 * one exit_group(2), when the parent waits for it again: a signal handler that reaps children must not come first, if it did
 * not before (in wait4(2) the kernel looks for an ended child before it looks for signals).
 */
import { callsOf64, usualCallAbi } from '../arch/x86/call-abi.ts';
import { inSyscall, readRegister } from '../arch/x86/registers.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import { SYS_I386 } from '../kernel/abi/syscall-i386.ts';
import { detachIfAlive, setOptions } from '../kernel/calls/ptrace.ts';
import { check } from '../kernel/errors.ts';
import { unlessMissing } from '../procfs/proc-file.ts';
import { readTaskStat } from '../procfs/stat.ts';
import type { Pid, Tid } from '../support/brand.ts';
import { RESTARTED_STATUS } from '../support/restarted-status.ts';
import type { CallSite, StoppedTask } from '../tracee/stopped-task.ts';
import type { PlannedSaver, PlannedThread } from './process-plan.ts';

/** Its process group or session, as the command's was. */
export function lead(task: StoppedTask, leads: PlannedSaver['leads'], site: CallSite): void {
  const context = { doing: 'make a process group', pid: task.tid };
  if (leads === 'session') check('setsid', task.tryCall(site, SYS.setsid), context);
  if (leads === 'group') check('setpgid', task.tryCall(site, SYS.setpgid, 0, 0), context);
}

/** From now on it ends as it should whatever happens to us. `site` is code that stays. */
export function prepareToEnd(task: StoppedTask, site: CallSite, is32Bit: boolean): void {
  if (is32Bit) task.prepareI386Call(site, SYS_I386.exit_group, RESTARTED_STATUS);
  else task.prepareCall(site, SYS.exit_group, RESTARTED_STATUS);
  setOptions(task.tid, 0);
}

const LIMIT_MS = 1000;
const LOOK_EVERY_MS = 0.1;
const pause = new Int32Array(new SharedArrayBuffer(4));

/** Lets it end, once the threads that waited for it do so again; within a limit, because they may have changed their mind. */
export function letEnd(task: StoppedTask, pid: Pid, threads: readonly PlannedThread[]): void {
  const waiting = threads.filter(waitsForChild).map(({ tid }) => tid);
  const deadline = performance.now() + LIMIT_MS;
  while (waiting.some((tid) => isOnItsWay(pid, tid)) && performance.now() < deadline) {
    Atomics.wait(pause, 0, 0, LOOK_EVERY_MS);
  }
  detachIfAlive(task.tid);
}

const WAITS: readonly number[] = [SYS.wait4, SYS.waitid];
const WAITS_I386: readonly number[] = [SYS_I386.waitpid, SYS_I386.wait4, SYS_I386.waitid];

function waitsForChild({ cpu: { registers } }: PlannedThread): boolean {
  if (!inSyscall(registers)) return false;
  const waits = usualCallAbi(registers) === callsOf64 ? WAITS : WAITS_I386;
  return waits.includes(Number(readRegister(registers, 'orig_rax')));
}

/** Let go, but not asleep yet. */
function isOnItsWay(pid: Pid, tid: Tid): boolean {
  const state = unlessMissing(() => readTaskStat(pid, tid))?.state;
  return state === 'R' || state === 't';
}
