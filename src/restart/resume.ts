/**
 * Resume: the last steps. What is ours leaves the process through the vDSO's own `syscall` instruction, every thread gets
 * its registers, and all are let go. Until the first is let go the process dies with us; afterwards it stands by itself.
 */
import { resolvedAnew } from '../arch/x86/interrupted-call.ts';
import { withoutUnusedFields } from '../arch/x86/register-sanity.ts';
import { type RegisterFile, readRegister } from '../arch/x86/registers.ts';
import { FIRST_TLS_ENTRY, userDescriptors } from '../arch/x86/segments.ts';
import { relocated, type XstateLayout } from '../arch/x86/xstate.ts';
import { DEBUG_REGISTERS_OFFSET } from '../kernel/abi/ptrace.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import { SYS_I386 } from '../kernel/abi/syscall-i386.ts';
import {
  detachIfAlive,
  pokeUser,
  setOptions,
  setRegisterFile,
  setSignalMask,
  setThreadArea,
  setXstate,
} from '../kernel/calls/ptrace.ts';
import { waitForEndOrLoss } from '../kernel/calls/wait.ts';
import { check } from '../kernel/errors.ts';
import { unlessMissing } from '../procfs/proc-file.ts';
import { readStat, readTaskStat } from '../procfs/stat.ts';
import { asTid, type Pid, type RemoteAddress, remoteAddress } from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';
import { readRemote, writeRemote } from '../tracee/remote-memory.ts';
import type { CallSite, StoppedTask } from '../tracee/stopped-task.ts';
import type { LazyLoading } from './lazy-loading.ts';
import type { PlannedThread, ProcessPlan } from './process-plan.ts';
import type { RebuiltProcessTree } from './process-rebuild.ts';
import { letEnd, prepareToEnd } from './stand-in.ts';
import { beginTimedCalls } from './timed-calls.ts';

/** With `lazy` processes that still lack pages go on dying with us. */
export function resumeTree(tree: readonly RebuiltProcessTree[], layout: XstateLayout, lazy?: LazyLoading): void {
  for (const process of tree) prepare(process, layout);
  lazy?.begin();
  const tasks = tree.flatMap((owner) => owner.tasks.map((task) => ({ task, owner })));
  // The point of no return: they do not die with us any more.
  for (const { task, owner } of tasks) if (!lazy?.keeps(owner.plan)) setOptions(task.tid, 0);
  for (const { endedLeader } of tree) if (endedLeader !== undefined) setOptions(endedLeader.tid, 0);
  for (const process of tree) letLeaderEnd(process);
  // The leaders last: the others wait for nothing that they have to do for us. Once a parent runs it may end its children.
  for (const { task, owner } of tasks.reverse()) {
    const runs = lazy === undefined ? detachIfAlive(task.tid) : lazy.letRun(owner.plan, task.tid, detachIfAlive);
    if (!runs) hearOfEnd(task, owner);
  }
  for (const { standIn, plan } of tree) if (standIn !== undefined) letEnd(standIn, plan.pid, plan.threads);
}

const LEADER_ENDS_WITHIN_MS = 1000;
const LOOK_EVERY_MS = 0.1;
const pause = new Int32Array(new SharedArrayBuffer(4));

/** Its threads do not see it run. Let go before it ends: nobody else may wait for a process whose leader ended while we traced it (ptrace(2)). */
function letLeaderEnd(owner: RebuiltProcessTree): void {
  const { endedLeader, plan } = owner;
  if (endedLeader === undefined) return;
  if (!detachIfAlive(endedLeader.tid)) hearOfEnd(endedLeader, owner);
  const deadline = performance.now() + LEADER_ENDS_WITHIN_MS;
  const isThere = (): boolean =>
    !['Z', 'X', undefined].includes(unlessMissing(() => readTaskStat(plan.pid, endedLeader.tid))?.state);
  while (isThere() && performance.now() < deadline) Atomics.wait(pause, 0, 0, LOOK_EVERY_MS);
}

/**
 * Whoever was let go before has ended it, in a stop that only SIGKILL ends. Its parent, and whoever waits for the whole process, hear of
 * that only when its tracer has (ptrace(2)). Our own child is left to be waited for later: then it is asked how it has ended.
 */
function hearOfEnd({ tid }: StoppedTask, { plan }: RebuiltProcessTree): void {
  const isLeader = tid === asTid(plan.pid);
  if (isLeader && isOurChild(plan.pid)) return;
  waitForEndOrLoss(tid);
}

const LOOKS = 100;

/** While a thread that executes a program takes the number of the first one (fs/exec.c, de_thread), there may be no such number in /proc. */
function isOurChild(pid: Pid): boolean {
  for (let look = 0; look < LOOKS; look++) {
    const stat = unlessMissing(() => readStat(pid));
    if (stat !== undefined) return stat.ppid === process.pid;
    Atomics.wait(pause, 0, 0, LOOK_EVERY_MS);
  }
  return false;
}

/** Nothing of ours is left in the process, and every thread has its registers. */
function prepare(process: RebuiltProcessTree, layout: XstateLayout): void {
  const { plan, tasks, standIn, endedLeader } = process;
  const site = vdsoSite(process);
  adaptFrames(plan);
  const begun = beginTimedCalls(process, site, (thread) => registersOf(thread, plan));
  leaveAddressSpace(process, site);
  plan.threads.forEach((thread, index) => {
    if (tasks[index] === undefined) throw new Error('a thread of the plan was not made');
    setRegisters(thread, begun.get(thread.tid) ?? resolvedAnew(registersOf(thread, plan)), layout);
  });
  if (standIn !== undefined) prepareToEnd(standIn, site, plan.is32Bit);
  if (endedLeader !== undefined && plan.endedLeader !== undefined) {
    const { status } = plan.endedLeader;
    if (plan.is32Bit) endedLeader.prepareI386Call(site, SYS_I386.exit, status);
    else endedLeader.prepareCall(site, SYS.exit, status);
  }
}

function leaveAddressSpace({ plan, agent, ours }: RebuiltProcessTree, site: CallSite): void {
  const leader = agent.task;
  const { close, munmap } = plan.is32Bit ? SYS_I386 : SYS;
  const call = (doing: string, number: number, ...args: number[]): void => {
    const result = plan.is32Bit ? leader.tryI386Call(site, number, ...args) : leader.tryCall(site, number, ...args);
    check(`syscall ${number}`, result, { doing, pid: plan.pid });
  };
  for (const fd of agent.ownDescriptors) {
    if (fd >= 0) call('close the doorbell', close, fd);
  }
  call('take the agent out', munmap, ours.start, ours.sizeBytes);
  leader.standStill(false);
  agent.forget();
}

const SYSCALL_INSTRUCTION = Buffer.from('0f05', 'hex');
/** That of a 32-bit program has it on any processor. */
const INT_80_INSTRUCTION = Buffer.from('cd80', 'hex');

/** A system call instruction in the vDSO: the only code that is left when ours is gone. */
function vdsoSite({ plan }: RebuiltProcessTree): CallSite {
  const vdso = plan.kernelPlaces.get('[vdso]');
  if (vdso === undefined) throw new QuicksaveError('no-vdso', 'The image has no vDSO.');
  const image = readRemote(plan.pid, remoteAddress(vdso.start), vdso.end - vdso.start);
  const offset = image.indexOf(plan.is32Bit ? INT_80_INSTRUCTION : SYSCALL_INSTRUCTION);
  if (offset < 0) throw new QuicksaveError('no-foothold', 'The vDSO has no system call instruction.');
  const callOnce: RemoteAddress = remoteAddress(vdso.start + offset);
  return { callOnce, callI386: callOnce, goHome: callOnce, block: callOnce };
}

/** Of each stack this much is looked at, from where the thread is. */
const MAX_STACK_BYTES = 1 << 20;
const WRITABLE = 3;

/** Frames of signal handlers that lead back to where code of another kernel's vDSO was changed. */
function adaptFrames({ pid, threads, mappings, oldVdso }: ProcessPlan): void {
  if (oldVdso === undefined) return;
  for (const { cpu } of threads) {
    const rsp = Number(readRegister(cpu.registers, 'rsp') & ~7n);
    const stack = mappings.find(({ state }) => state.start <= rsp && rsp < state.end)?.state;
    if (stack === undefined || (stack.protection & WRITABLE) !== WRITABLE) continue;
    const guards = stack.guards.map(({ start }) => start).filter((start) => start >= rsp);
    const end = Math.min(stack.end, rsp + MAX_STACK_BYTES, ...guards.slice(0, 1));
    const bytes = readRemote(pid, remoteAddress(rsp), end - rsp);
    if (oldVdso.adaptFrames(bytes)) writeRemote(pid, remoteAddress(rsp), bytes);
  }
}

/** Those of the image, but for a thread that stands where code was changed. */
function registersOf({ cpu }: PlannedThread, { pid, oldVdso }: ProcessPlan): RegisterFile {
  const wordAt = (address: number): number => readRemote(pid, remoteAddress(address), 4).readUInt32LE(0);
  return oldVdso?.adapted(cpu.registers, wordAt) ?? cpu.registers;
}

/** The segments before the selectors that name them: the kernel loads those when the thread runs. */
function setRegisters(
  { tid, signalMask, cpu, threadAreas }: PlannedThread,
  registers: RegisterFile,
  layout: XstateLayout,
): void {
  setXstate(tid, relocated(cpu.xstate, cpu.layout, layout));
  setSignalMask(tid, signalMask);
  for (const { bytes } of userDescriptors(threadAreas, FIRST_TLS_ENTRY)) setThreadArea(tid, bytes);
  setRegisterFile(tid, registers);
  setDebugRegisters(tid, cpu.debugRegisters);
}

const DR7 = 7;

/** Addresses before dr7, which enables them: the kernel checks each breakpoint when it is enabled. */
function setDebugRegisters(tid: PlannedThread['tid'], values: readonly bigint[]): void {
  if ((values[DR7] ?? 0n) === 0n && values.slice(0, 4).every((value) => value === 0n)) return;
  for (const index of [0, 1, 2, 3, 6, DR7]) {
    const value = values[index] ?? 0n;
    pokeUser(tid, DEBUG_REGISTERS_OFFSET + index * 8, index === DR7 ? withoutUnusedFields(value) : value);
  }
}
