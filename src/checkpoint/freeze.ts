/**
 * Freeze: every thread of every process of the target stands still, at an instant where its registers are its own. Nothing in the target is
 * changed by it, and if we die now everything goes on.
 *
 * The list of threads is read again until it brings nothing new: a thread that is born while others are being stopped is
 * caught in the next round, and when all known threads stand still none can be born.
 */
import { type RegisterFile, readRegister, withRegisters } from '../arch/x86/registers.ts';
import { PTRACE } from '../kernel/abi/ptrace.ts';
import {
  detachIfAlive,
  getRegisterFile,
  getRseqConfiguration,
  getSeccompFilters,
  getSignalMask,
  getSyscallUserDispatch,
  interruptIfAlive,
  setOptions,
  trySeize,
} from '../kernel/calls/ptrace.ts';
import { sendSignal } from '../kernel/calls/task-attributes.ts';
import { type TaskEvent, tryWaitForTask } from '../kernel/calls/wait.ts';
import { unlessMissing } from '../procfs/proc-file.ts';
import { readTaskStat } from '../procfs/stat.ts';
import { readTaskStatus } from '../procfs/status.ts';
import { isKernelsOwn, listTasks } from '../procfs/tasks.ts';
import { asPid, asTid, type Pid, remoteAddress, type Tid } from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';
import { CallGuard } from '../tracee/call-guard.ts';
import { leadHome } from '../tracee/leftover.ts';
import { readRemote } from '../tracee/remote-memory.ts';
import { undoStopInterruption } from '../tracee/stop-interruption.ts';
import { StoppedTask, TaskGoneError, waitForInterruptStop } from '../tracee/stopped-task.ts';
import { listTree } from './process-tree.ts';
import { refuseUnseenFilters } from './sandboxes.ts';
import { vforkProblem, vforkWaitOf } from './vfork.ts';

/** A task that does not stand still within this time is in an uninterruptible sleep. */
const STOP_DEADLINE_MS = 10_000;
/** Nobody hears of the end of a leader until all other threads have ended (ptrace(2)); this long it is waited for without a look. */
const ENDED_LEADER_MS = 20;
/** One that waits for a vfork child, which is not frozen before it: a part of the tree stands still meanwhile. */
const VFORK_DEADLINE_MS = 2_000;
const pause = new Int32Array(new SharedArrayBuffer(4));

export interface FrozenProcess {
  readonly pid: Pid;
  /** The group leader first, unless it has ended before the others, which ascend. */
  readonly tasks: readonly StoppedTask[];
  /** It was stopped by a signal already, and is again when it is let go (signal(7)). */
  readonly isStopped: boolean;
}

export interface FrozenTree {
  /** The root first, every other behind its parent. */
  readonly processes: readonly FrozenProcess[];
  /** Processes that have ended and were not waited for. */
  readonly exited: readonly Pid[];
}

/**
 * Stops all processes of a tree, parents first: who stands still has no more children, so a child that is born meanwhile is
 * found in the next round. On failure everything that was stopped has been let go.
 */
export function freezeTree(root: Pid, isLeftOut: (pid: Pid) => boolean): FrozenTree {
  const frozen = new Map<Pid, FrozenProcess>();
  try {
    frozen.set(root, freezeProcess(root));
    for (;;) {
      const { living, exited } = listTree(root, isLeftOut);
      const missing = living.filter((pid) => !frozen.has(pid));
      if (missing.length === 0) {
        const processes = living.flatMap((pid) => frozen.get(pid) ?? []);
        for (const one of frozen.values()) if (!processes.includes(one)) letGo(one);
        return { processes, exited };
      }
      for (const pid of missing) {
        const one = freezeIfAlive(pid);
        if (one !== undefined) frozen.set(pid, one);
      }
    }
  } catch (error) {
    for (const one of frozen.values()) letGo(one);
    throw error;
  }
}

/** Of a tree that still runs in part, a process may end while it is being stopped. */
function freezeIfAlive(pid: Pid): FrozenProcess | undefined {
  try {
    return freezeProcess(pid);
  } catch (error) {
    if (!(error instanceof QuicksaveError) || error.code !== 'target-ended') throw error;
    return undefined;
  }
}

/** Everything of it goes on as it was; what is still away goes home first. */
export function letGo({ pid, tasks }: FrozenProcess): void {
  for (const task of tasks) {
    if (task.isAway) task.returnHome();
    detachIfAlive(task.tid);
    if (task.heldStopSignal !== 0) sendSignal(pid, task.heldStopSignal);
  }
}

/** Stops all threads. On failure everything that was stopped has been let go. */
function freezeProcess(pid: Pid): FrozenProcess {
  const seized = new Set<Tid>();
  const stopped = new Set<Tid>();
  const guards = new Map<string, CallGuard>();
  try {
    const tasks = new Map<Tid, StoppedTask>();
    while (seizeNew(pid, seized)) {
      for (const tid of seized) {
        if (!tasks.has(tid)) stopSeized(pid, tid, { seized, stopped, tasks, guards });
      }
    }
    if (tasks.size === 0) throw new QuicksaveError('target-ended', `Process ${pid} ended before it could be saved.`);
    const place = ({ tid }: StoppedTask): number => (tid === asTid(pid) ? 0 : tid);
    const inOrder = [...tasks.values()].sort((a, b) => place(a) - place(b));
    return { pid, tasks: inOrder, isStopped: stopped.size > 0 };
  } catch (error) {
    for (const tid of seized) detachIfAlive(tid);
    throw error;
  }
}

/** Attaches to threads that are not attached yet; true if there was one. */
function seizeNew(pid: Pid, seized: Set<Tid>): boolean {
  const tids = unlessMissing(() => listTasks(pid));
  if (tids === undefined) throw new QuicksaveError('target-ended', `Process ${pid} ended before it could be saved.`);
  let found = false;
  for (const tid of tids) {
    if (seized.has(tid) || isKernelsOwn(pid, tid)) continue;
    const outcome = trySeize(tid, PTRACE.PTRACE_O_TRACESYSGOOD);
    if (outcome === 'not-permitted') refuseUnlessEnding(pid, tid);
    if (outcome !== 'seized') continue;
    seized.add(tid);
    interruptIfAlive(tid);
    found = true;
  }
  return found;
}

/** A thread that is on its way out is refused with EPERM as well (ptrace_attach() in the kernel). */
function refuseUnlessEnding(pid: Pid, tid: Tid): void {
  const status = unlessMissing(() => readTaskStatus(pid, tid));
  if (status === undefined || status.state === 'Z' || status.state === 'X') return;
  const tracer = status.tracerPid;
  if (tracer !== 0) {
    throw new QuicksaveError(
      'already-traced',
      `Thread ${tid} of process ${pid} is being traced by process ${tracer}.`,
      {
        remedy: 'End the debugger or the other save first.',
      },
    );
  }
  throw new QuicksaveError('not-permitted', `You may not trace process ${pid}.`, {
    remedy: 'Run quicksave as root, or as the user who runs the program.',
  });
}

interface Freezing {
  readonly seized: Set<Tid>;
  /** In a group stop. */
  readonly stopped: Set<Tid>;
  readonly tasks: Map<Tid, StoppedTask>;
  /** Most threads have the filters of their leader. */
  readonly guards: Map<string, CallGuard>;
}

function stopSeized(pid: Pid, tid: Tid, { seized, stopped, tasks, guards }: Freezing): void {
  try {
    // Let go, it stops again by itself: the kernel keeps the group stop (ptrace(2), "Group-stop").
    if (waitForInterruptStop(tid, (task) => waitWithDeadline(pid, task)).stopSignal !== 0) stopped.add(tid);
    tasks.set(tid, readStoppedTask(pid, tid, guards));
  } catch (error) {
    if (!(error instanceof TaskGoneError)) throw error;
    seized.delete(tid);
  }
}

function waitWithDeadline(pid: Pid, tid: Tid): TaskEvent {
  const start = performance.now();
  for (;;) {
    const event = tryWaitForTask(tid);
    if (event !== undefined) return event;
    const waited = performance.now() - start;
    if (waited > ENDED_LEADER_MS && hasEndedBeforeOthers(pid, tid))
      throw new TaskGoneError(tid, { kind: 'exited', status: 0 });
    if (waited > VFORK_DEADLINE_MS) refuseVfork(pid, tid);
    if (waited > STOP_DEADLINE_MS) refuseSleeper(pid, tid);
    // The first half millisecond is worth spinning for: most tasks stop within it, and the target stands still.
    if (waited > 0.5) Atomics.wait(pause, 0, 0, waited > 20 ? 5 : 0.05);
  }
}

const hasEndedBeforeOthers = (pid: Pid, tid: Tid): boolean =>
  tid === asTid(pid) && unlessMissing(() => readTaskStat(pid, tid))?.state === 'Z';

function refuseVfork(pid: Pid, tid: Tid): void {
  const wait = vforkWaitOf(pid, tid);
  if (wait === undefined) return;
  const { code, message, remedy } = vforkProblem(wait);
  throw new QuicksaveError(code, `Thread ${tid} of process ${pid}: ${message}`, { remedy });
}

function refuseSleeper(pid: Pid, tid: Tid): never {
  const state = unlessMissing(() => readTaskStat(pid, tid))?.state ?? '?';
  throw new QuicksaveError(
    'does-not-stop',
    `Thread ${tid} of process ${pid} does not stop (state ${state}): it is waiting inside the kernel.`,
    { remedy: 'Try again when the wait is over.' },
  );
}

function readStoppedTask(pid: Pid, tid: Tid, guards: Freezing['guards']): StoppedTask {
  if ((getSyscallUserDispatch(tid)?.mode ?? 0) !== 0) refuseDispatch(pid, tid);
  const guard = suspendSeccomp(pid, tid, guards);
  const found = getRegisterFile(tid);
  // The memory is seen by the number of any thread that lives.
  const memory = asPid(tid);
  const home = leadHome(memory, tid, found);
  const mask = home?.signalMask ?? getSignalMask(tid);
  const outside = outOfRseq(memory, tid, home?.registers ?? found);
  const { registers, abi: callAbi } = undoStopInterruption(pid, tid, outside, mask);
  return new StoppedTask(tid, registers, mask, { callAbi, guard });
}

/** Before anything is called in a task. Undefined: it has no filters, or we may not see them, which the save refuses. */
function suspendSeccomp(pid: Pid, tid: Tid, guards: Freezing['guards']): CallGuard | undefined {
  const filters = getSeccompFilters(tid);
  if (filters === undefined) refuseUnseenFilters(pid, tid);
  if (filters === undefined || filters.length === 0) return undefined;
  setOptions(tid, PTRACE.PTRACE_O_TRACESYSGOOD | PTRACE.PTRACE_O_SUSPEND_SECCOMP);
  const key = filters.map(({ program, log }) => `${Buffer.from(program).toString('base64')} ${log}`).join('\n');
  const guard = guards.get(key) ?? new CallGuard(filters);
  guards.set(key, guard);
  return guard;
}

/** The agent's own calls would go to the program's handler. */
function refuseDispatch(pid: Pid, tid: Tid): never {
  throw new QuicksaveError(
    'user-dispatch',
    `Thread ${tid} of process ${pid} has its system calls dispatched to itself (PR_SET_SYSCALL_USER_DISPATCH), which cannot be saved yet.`,
    { remedy: 'Save it when the program has switched that off.' },
  );
}

const RSEQ_CS_POINTER = 8;
const RSEQ_CS_SIZE = 32;

/**
 * A thread stopped inside a restartable sequence goes on at the abort handler, as the kernel would have it (rseq(2)): the
 * kernel decides by the registers at the next return to user mode, and those may be the agent's.
 */
function outOfRseq(pid: Pid, tid: Tid, registers: RegisterFile): RegisterFile {
  const rseq = getRseqConfiguration(tid);
  if (rseq === undefined || rseq.address === 0) return registers;
  const pointer = readRemote(pid, remoteAddress(rseq.address + RSEQ_CS_POINTER), 8).readBigUInt64LE(0);
  if (pointer === 0n) return registers;
  const section = readRemote(pid, remoteAddress(Number(pointer)), RSEQ_CS_SIZE);
  const start = section.readBigUInt64LE(8);
  const length = section.readBigUInt64LE(16);
  const offset = BigInt.asUintN(64, readRegister(registers, 'rip') - start);
  return offset < length ? withRegisters(registers, { rip: section.readBigUInt64LE(24) }) : registers;
}
