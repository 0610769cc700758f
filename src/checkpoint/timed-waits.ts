/**
 * How long threads have been waiting. No call tells; but a sleeping thread's scheduler entry says when it fell asleep
 * (procfs/sched.ts), as long as it sleeps: so it is read before the freeze wakes it. What is found is never more than has
 * passed: a thread that was woken in between and slept on is taken to have begun then.
 */
import { type CallAbi, callsOf64, callsOfI386 } from '../arch/x86/call-abi.ts';
import { isRestartedCall } from '../arch/x86/interrupted-call.ts';
import { hasTimeout, timedCallOf, withRestInRegister } from '../arch/x86/timed-call.ts';
import { tryOnProcessor } from '../kernel/calls/own-affinity.ts';
import { is32BitProgram } from '../procfs/exe.ts';
import { unlessMissing } from '../procfs/proc-file.ts';
import { readSched, type SchedStatus } from '../procfs/sched.ts';
import { readTaskStat } from '../procfs/stat.ts';
import { listThreads, speakerOf } from '../procfs/tasks.ts';
import { readWaiting } from '../procfs/waiting.ts';
import { asPid, asTid, type Pid, type Tid } from '../support/brand.ts';
import type { FrozenProcess } from './freeze.ts';

export interface TimedWait {
  /** By performance.now(). */
  readonly sinceMs: number;
  readonly voluntarySwitches: number;
}

interface Sleeper extends SchedStatus {
  readonly tid: Tid;
  readonly processor: number;
}

const MS_PER_NS = 1e-6;

/** The threads of a running process that are in a call with a timeout. */
export function timedWaits(pid: Pid): Map<number, TimedWait> {
  const abi = is32BitProgram(speakerOf(pid)) ? callsOfI386 : callsOf64;
  const sleepers = listThreads(pid).flatMap((tid) => sleeperIn(pid, tid, abi) ?? []);
  const found = new Map<number, TimedWait>();
  for (const processor of new Set(sleepers.map((sleeper) => sleeper.processor))) {
    const clock = clockOf(processor);
    if (clock === undefined) continue;
    for (const { tid, processor: its, lastRanNs, voluntarySwitches } of sleepers) {
      if (its !== processor) continue;
      const waitedMs = Math.max(0, clock.nowNs - lastRanNs) * MS_PER_NS;
      found.set(tid, { sinceMs: clock.atMs - waitedMs, voluntarySwitches });
    }
  }
  return found;
}

function sleeperIn(pid: Pid, tid: Tid, abi: CallAbi): Sleeper | undefined {
  const call = unlessMissing(() => readWaiting(pid, tid))?.call;
  if (call === undefined || !hasTimeout(call, abi)) return undefined;
  const status = unlessMissing(() => readSched(pid, tid));
  const stat = unlessMissing(() => readTaskStat(pid, tid));
  if (status === undefined || stat?.state !== 'S') return undefined;
  return { tid, processor: stat.processor, ...status };
}

const nap = new Int32Array(new SharedArrayBuffer(4));
const NAP_MS = 0.05;

/** The clock of a processor: what it says of ourselves when we have just begun to run there. */
function clockOf(processor: number): { nowNs: number; atMs: number } | undefined {
  const own = tryOnProcessor(processor, () => {
    Atomics.wait(nap, 0, 0, NAP_MS);
    return unlessMissing(() => readSched(asPid(process.pid), asTid(process.pid)));
  });
  return own === undefined ? undefined : { nowNs: own.lastRanNs, atMs: performance.now() };
}

/**
 * Notes for stopped threads how long their calls had lasted at `atMs`, just before they were stopped, if since the look they have
 * done nothing but stop.
 */
export function noteWaits({ pid, tasks }: FrozenProcess, waits: ReadonlyMap<number, TimedWait>, atMs: number): void {
  for (const task of tasks) {
    const wait = waits.get(task.tid);
    if (wait === undefined) continue;
    const switches = unlessMissing(() => readSched(pid, task.tid))?.voluntarySwitches;
    if (switches !== wait.voluntarySwitches + 1) continue;
    const waitedNs = BigInt(Math.round(Math.max(0, atMs - wait.sinceMs) / MS_PER_NS));
    const { registers, callAbi } = task;
    task.registers = withRestInRegister(registers, waitedNs, callAbi);
    const goesOn = timedCallOf(registers, callAbi) !== undefined || isRestartedCall(registers, callAbi);
    if (goesOn) task.waitedNs = waitedNs;
  }
}
