/**
 * One traced task that stands still.
 *
 * The rule that keeps the target safe: at every instant the registers of every task are such that it goes on correctly
 * if we die now, because a dead tracer's tasks run on from where they are. So registers are never set to anything but the
 * task's own, or to a routine that leads home by itself (`machine-code.S`). Single stepping is not used: a tracer's death
 * leaves the trap flag set, and the next trap kills the task. PTRACE_SYSCALL stops vanish with the tracer.
 */

import { type CallAbi, callsOf64, usualCallAbi } from '../arch/x86/call-abi.ts';
import { I386_CALL } from '../arch/x86/machine-code.ts';
import { callResult, NO_SYSCALL, type RegisterFile, readRegister, withRegisters } from '../arch/x86/registers.ts';
import { USER64_CS } from '../arch/x86/segments.ts';
import { EVENT, PTRACE, PTRACE_SYSGOOD_SIGNAL } from '../kernel/abi/ptrace.ts';
import { SIGNAL } from '../kernel/abi/signal.ts';
import { NO_SUCH_CALL, syscallName } from '../kernel/abi/syscall.ts';
import { syscallNameI386 } from '../kernel/abi/syscall-i386.ts';
import {
  getRegisterFile,
  interruptIfAlive,
  resume,
  resumeToSyscall,
  setOptions,
  setRegisterFile,
  setSignalMask,
} from '../kernel/calls/ptrace.ts';
import { sendSignal } from '../kernel/calls/task-attributes.ts';
import { type TaskEvent, tryWaitForTask, waitForTask, waitForTaskSoon } from '../kernel/calls/wait.ts';
import { type CallContext, check } from '../kernel/errors.ts';
import { asPid, type RemoteAddress, type Tid } from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';
import { passFaultPoint } from '../support/fault-point.ts';
import type { CallGuard } from './call-guard.ts';

/** TF and NT of eflags. */
const FLAGS_AT_HOME_ONLY = 0x4100n;
const ALL_SIGNALS = 0xffffffffffffffffn;
const STOP_SIGNALS: ReadonlySet<number> = new Set([SIGNAL.SIGSTOP, SIGNAL.SIGTSTP, SIGNAL.SIGTTIN, SIGNAL.SIGTTOU]);

/** Where a task can be sent to make one call: a `syscall` instruction with the way home behind it, and its state block. */
export interface CallSite {
  readonly callOnce: RemoteAddress;
  /** An `int 0x80` instruction with the way home behind it, for a state block in r15. */
  readonly callI386: RemoteAddress;
  readonly goHome: RemoteAddress;
  readonly block: RemoteAddress;
}

/** A site from which an agent can be brought in and taken out without ever being left behind. */
export interface AgentSite extends CallSite {
  /** A `syscall` instruction that leads home through the unmapping of the agent. */
  readonly callUnmapHome: RemoteAddress;
}

export class TaskGoneError extends QuicksaveError {
  override readonly name: string = 'TaskGoneError';
  readonly event: TaskEvent;
  constructor(tid: Tid, event: TaskEvent) {
    super('target-ended', `Process or thread ${tid} ended while it was being worked on (${describeEvent(event)}).`);
    this.event = event;
  }
}

function describeEvent(event: TaskEvent): string {
  if (event.kind === 'exited') return `it exited with status ${event.status}`;
  if (event.kind === 'killed') return `it was killed by signal ${event.signal}`;
  return event.kind;
}

/**
 * Waits until the task, which has been interrupted, is in a PTRACE_EVENT_STOP; signals on their way in are delivered first, as they would have been.
 * It is interrupted again each time: any other stop forgets that it was (ptrace_stop() of kernel/signal.c clears JOBCTL_TRAP_STOP), and a program with
 * a timer would go on for ever from one signal to the next.
 */
export function waitForInterruptStop(tid: Tid, next: (tid: Tid) => TaskEvent = waitForTask): { stopSignal: number } {
  for (;;) {
    const event = next(tid);
    if (event.kind === 'exited' || event.kind === 'killed') throw new TaskGoneError(tid, event);
    if (event.kind !== 'stopped') continue;
    if (event.event === EVENT.PTRACE_EVENT_STOP) {
      return { stopSignal: STOP_SIGNALS.has(event.signal) ? event.signal : 0 };
    }
    const isSignal = event.event === 0 && event.signal !== PTRACE_SYSGOOD_SIGNAL;
    interruptIfAlive(tid);
    resume(tid, isSignal ? event.signal : 0);
  }
}

export class StoppedTask {
  readonly tid: Tid;
  /** The registers it was stopped with, which it will have again. */
  registers: RegisterFile;
  readonly signalMask: bigint;
  /** Of the call that it is in, if any. */
  readonly callAbi: CallAbi;
  /** Of a task with seccomp filters that may outlive us. They are suspended. */
  readonly guard: CallGuard | undefined;
  /** How long that call has lasted, as far as is known. */
  waitedNs = 0n;
  /** A stop signal that arrived while it worked for us: it is sent again when the task is let go. */
  heldStopSignal = 0;
  #away = false;

  constructor(
    tid: Tid,
    registers: RegisterFile,
    signalMask: bigint,
    { callAbi = usualCallAbi(registers), guard }: { callAbi?: CallAbi; guard?: CallGuard | undefined } = {},
  ) {
    this.tid = tid;
    this.registers = registers;
    this.signalMask = signalMask;
    this.callAbi = callAbi;
    this.guard = guard;
  }

  /** What it is traced with from now on: `options` of ptrace(2), beside those that every stopped task has. */
  trace(options = 0): void {
    const suspension = this.guard === undefined ? 0 : PTRACE.PTRACE_O_SUSPEND_SECCOMP;
    setOptions(this.tid, PTRACE.PTRACE_O_TRACESYSGOOD | suspension | options);
  }

  get isAway(): boolean {
    return this.#away;
  }

  /** From now on the task leads home through `site` instead of just going on. The site's block must be filled already. */
  leaveHome(site: CallSite): void {
    setRegisterFile(this.tid, this.#routed(site.goHome, site.block));
    this.#away = true;
    setSignalMask(this.tid, ALL_SIGNALS);
  }

  /**
   * Registers that enter a routine of ours, which is 64-bit code, with rbx at the state block. The program's trap flag would
   * kill it there, and its nested task flag is not allowed at the iretq of the way home, which brings both back.
   */
  #routed(entry: RemoteAddress, block: RemoteAddress): RegisterFile {
    const eflags = readRegister(this.registers, 'eflags') & ~FLAGS_AT_HOME_ONLY;
    return withRegisters(this.registers, { rip: entry, cs: USER64_CS, eflags, rbx: block, orig_rax: NO_SYSCALL });
  }

  /** Sends the stopped task into a routine, without waiting for anything. */
  enter(entry: RemoteAddress, block: RemoteAddress): void {
    setRegisterFile(this.tid, this.#routed(entry, block));
    resume(this.tid);
  }

  /** Makes one system call in the task, at a call site. Two stops; use a batch for more than a few. */
  call(site: CallSite, context: CallContext, number: number, ...args: (number | bigint)[]): number {
    return check(`syscall ${number}`, this.tryCall(site, number, ...args), { pid: this.tid, ...context });
  }

  /** As {@link call}; a failure is a negative errno. */
  tryCall(site: CallSite, number: number, ...args: (number | bigint)[]): number {
    return this.tryCallAt(site.callOnce, site.block, number, ...args);
  }

  /** As {@link tryCall}, at another routine that begins with a `syscall` instruction. */
  tryCallAt(entry: RemoteAddress, block: RemoteAddress, number: number, ...args: (number | bigint)[]): number {
    const [rdi = 0, rsi = 0, rdx = 0, r10 = 0, r8 = 0, r9 = 0] = args;
    this.guard?.refuseHarmful(this.tid, [{ number, args: [rdi, rsi, rdx, r10, r8, r9] }]);
    const fault = passFaultPoint(syscallName(number));
    const rax = fault === undefined ? number : NO_SUCH_CALL;
    setRegisterFile(this.tid, withRegisters(this.#routed(entry, block), { rax, rdi, rsi, rdx, r10, r8, r9 }));
    this.#runToSyscallStop();
    this.#runToSyscallStop();
    return fault ?? callResult(getRegisterFile(this.tid));
  }

  /** One call of i386. What it points to is below 4 GiB. */
  tryI386Call(site: CallSite, number: number, ...args: (number | bigint)[]): number {
    const [rbx = 0, rcx = 0, rdx = 0, rsi = 0, rdi = 0, rbp = 0] = args;
    this.guard?.refuseHarmful(this.tid, [{ number: I386_CALL + number, args: [rbx, rcx, rdx, rsi, rdi, rbp] }]);
    const routed = this.#routed(site.callI386, site.block);
    const fault = passFaultPoint(syscallNameI386(number));
    const rax = fault === undefined ? number : NO_SUCH_CALL;
    setRegisterFile(this.tid, withRegisters(routed, { rax, rbx, rcx, rdx, rsi, rdi, rbp, r15: site.block }));
    this.#runToSyscallStop();
    this.#runToSyscallStop();
    return fault ?? callResult(getRegisterFile(this.tid));
  }

  /**
   * Begins a call in which it would sleep, and stops it before it does: the task stands still as if it had been stopped in that call.
   * Returns what the kernel left in rax; that of a call which does not sleep is its result.
   */
  tryBegin(site: CallSite, abi: CallAbi, number: number, args: readonly bigint[]): number {
    const is64 = abi === callsOf64;
    const passed = Object.fromEntries(abi.arguments.map((name, index) => [name, args[index] ?? 0n]));
    const registers = { rax: number, ...(is64 ? {} : { r15: site.block }), ...passed };
    setRegisterFile(this.tid, withRegisters(this.#routed(is64 ? site.callOnce : site.callI386, site.block), registers));
    this.#runToSyscallStop();
    this.standStill(false);
    return callResult(getRegisterFile(this.tid));
  }

  /** What the task does first when it is let go; it is not expected to come back from it. */
  prepareCall(site: CallSite, number: number, first: number, second = 0): void {
    const routed = this.#routed(site.callOnce, site.block);
    setRegisterFile(this.tid, withRegisters(routed, { rax: number, rdi: first, rsi: second }));
  }

  /** The same by a call of i386. */
  prepareI386Call(site: CallSite, number: number, argument: number): void {
    const routed = this.#routed(site.callI386, site.block);
    setRegisterFile(this.tid, withRegisters(routed, { rax: number, rbx: argument }));
  }

  #runToSyscallStop(): void {
    for (;;) {
      resumeToSyscall(this.tid);
      const event = waitForTaskSoon(this.tid);
      if (event.kind === 'exited' || event.kind === 'killed') throw new TaskGoneError(this.tid, event);
      if (event.kind === 'stopped' && event.signal === PTRACE_SYSGOOD_SIGNAL) return;
      this.noteStop(event);
    }
  }

  /** A stop that nobody asked for, while the task works for us: only SIGSTOP gets through the full signal mask. */
  noteStop(event: TaskEvent): void {
    if (event.kind === 'stopped' && event.event === 0 && STOP_SIGNALS.has(event.signal)) {
      this.heldStopSignal = event.signal;
    }
  }

  /**
   * Brings a running or call-stopped task into a PTRACE_EVENT_STOP: the only kind of stop from which the kernel still
   * decides about restarting the task's own system call.
   */
  standStill(running: boolean): void {
    if (!interruptIfAlive(this.tid)) throw new TaskGoneError(this.tid, { kind: 'killed', signal: SIGNAL.SIGKILL });
    if (!running) resume(this.tid);
    for (;;) {
      const event = waitForTaskSoon(this.tid);
      if (event.kind === 'exited' || event.kind === 'killed') throw new TaskGoneError(this.tid, event);
      if (event.kind === 'stopped' && event.event === EVENT.PTRACE_EVENT_STOP) return;
      this.noteStop(event);
      // As in waitForInterruptStop().
      interruptIfAlive(this.tid);
      resume(this.tid);
    }
  }

  /**
   * Brings the whole process, of which this is the only task, into a group stop (signal(7)). It stands in a
   * PTRACE_EVENT_STOP before and after it, works for us as before, and stops again when it is let go.
   */
  enterGroupStop(): void {
    sendSignal(asPid(this.tid), SIGNAL.SIGSTOP);
    for (let signal = 0; ; ) {
      resume(this.tid, signal);
      const event = waitForTaskSoon(this.tid);
      if (event.kind === 'exited' || event.kind === 'killed') throw new TaskGoneError(this.tid, event);
      if (event.kind !== 'stopped') continue;
      if (event.event === EVENT.PTRACE_EVENT_STOP && STOP_SIGNALS.has(event.signal)) return;
      signal = event.event === 0 && event.signal === SIGNAL.SIGSTOP ? SIGNAL.SIGSTOP : 0;
    }
  }

  /** Puts mask and registers back. The mask first: until the registers are the task's own, its way home sets the mask too. */
  returnHome(): void {
    setSignalMask(this.tid, this.signalMask);
    setRegisterFile(this.tid, this.registers);
    this.#away = false;
  }

  /** What has happened to the task since, without waiting. Throws if it is gone. */
  poll(): TaskEvent | undefined {
    const event = tryWaitForTask(this.tid);
    if (event?.kind === 'exited' || event?.kind === 'killed') throw new TaskGoneError(this.tid, event);
    return event;
  }
}
