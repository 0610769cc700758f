/**
 * A snapshot: a process that has a copy-on-write copy of the target's memory and nothing else of it. The target makes it
 * through its agent and never sees it (`snapshot` in machine-code.S). It is traced by us and dies with us.
 *
 * fork(2) leaves out shared mappings, MADV_DONTFORK and MADV_WIPEONFORK. Its memory is read through /proc/PID/mem only:
 * process_vm_readv(2) pins pages, and to pin a page that is shared copy-on-write the kernel copies it first.
 */
import { routines, stateBlock } from '../arch/x86/machine-code.ts';
import { NO_SYSCALL, withRegisters } from '../arch/x86/registers.ts';
import { USER64_CS } from '../arch/x86/segments.ts';
import { errnoSentence } from '../kernel/abi/errno.ts';
import { PR } from '../kernel/abi/prctl.ts';
import { EVENT, PTRACE } from '../kernel/abi/ptrace.ts';
import { SIGNAL } from '../kernel/abi/signal.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import { eventMessage, getRegisterFile, resume, setRegisterFile } from '../kernel/calls/ptrace.ts';
import { sendSignal } from '../kernel/calls/task-attributes.ts';
import { tryWaitForTask, waitForEnd, waitForTask } from '../kernel/calls/wait.ts';
import { readProcText } from '../procfs/proc-file.ts';
import { asPid, asTid, type Pid, remoteAddress, type Tid } from '../support/brand.ts';
import type { Span } from './address-space.ts';
import type { Agent } from './agent.ts';
import { type BatchRunner, CallBatch } from './call-batch.ts';
import { forbiddenToSnapshot } from './own-calls.ts';
import { readRemote } from './remote-memory.ts';
import { StoppedTask, waitForInterruptStop } from './stopped-task.ts';

const { PTRACE_O_TRACEVFORK, PTRACE_O_TRACECLONE, PTRACE_O_EXITKILL } = PTRACE;

const ALL_SIGNALS = 0xffffffffffffffffn;

/** Why there is no snapshot: a clause for a sentence. The target is as it was. */
export interface NoSnapshot {
  readonly reason: string;
}

export class Snapshot {
  readonly pid: Pid;
  #ended = false;

  /** For a task of that pid that we trace. */
  constructor(pid: Pid) {
    this.pid = pid;
  }

  /** True if somebody has killed it. Its memory goes before it can be waited for (kernel/exit.c, do_exit): then its maps are empty. */
  hasEnded(): boolean {
    const event = tryWaitForTask(asTid(this.pid));
    this.#ended ||= event?.kind === 'exited' || event?.kind === 'killed';
    return this.#ended || readProcText(this.pid, 'maps') === '';
  }

  /** It is not waited for: until a gigabyte is given back takes as long as to fork it, and whoever is its parent hears of its end anyway. */
  end(): void {
    if (!this.#ended) sendSignal(this.pid, SIGNAL.SIGKILL);
    this.#ended = true;
  }
}

/**
 * Makes one of the agent's process, whose tasks must all stand still. Afterwards the agent is paused. Neither the process nor
 * a traced ancestor of it may be a subreaper. It does not keep what is in `without`.
 *
 * At every instant of it, all processes come to a good end if we die: the one between ends by itself and is reaped by the
 * target, and the snapshot ends unless it is ours.
 */
export function takeSnapshot(agent: Agent, without: readonly Span[]): Snapshot | NoSnapshot {
  const { guard } = agent.task;
  const forbidden = guard === undefined ? [] : forbiddenToSnapshot(guard);
  if (forbidden.length > 0)
    return { reason: `its seccomp filter forbids it to make a copy of itself (${forbidden.join(', ')})` };
  agent.pause();
  const { tid } = agent.task;
  const born: Tid[] = [];
  try {
    agent.task.trace(PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE);
    const between = agent.enterSnapshot();
    let snapshot: Tid | undefined;
    if (between !== undefined) {
      born.push(between);
      resume(tid);
      snapshot = birthFrom(between);
      if (snapshot !== undefined) {
        born.push(snapshot);
        hold(agent, snapshot, without);
        resume(between);
        waitForEnd(between);
      }
      agent.awaitSnapshot();
    }
    agent.pause();
    agent.task.trace();
    if (snapshot !== undefined) return new Snapshot(asPid(snapshot));
    return { reason: `no snapshot could be made: ${errnoSentence(failureOf(agent))}` };
  } catch (error) {
    for (const one of born) endTracee(one);
    throw error;
  }
}

/** Asked inside: an orphaned snapshot of its own or of a descendant would be its child. */
export function isSubreaper(process: BatchRunner): boolean {
  const batch = new CallBatch(process);
  const answer = batch.data(8);
  batch.call('ask whether it is a subreaper', SYS.prctl, PR.PR_GET_CHILD_SUBREAPER, answer.address);
  batch.run();
  return answer.bytes.readInt32LE(0) !== 0;
}

/** The child that a new process of ours makes, both stopped; undefined if it could not, and has ended. */
function birthFrom(between: Tid): Tid | undefined {
  waitForInterruptStop(between);
  for (;;) {
    resume(between);
    const event = waitForTask(between);
    if (event.kind === 'exited' || event.kind === 'killed') return undefined;
    if (event.kind === 'stopped' && event.event === EVENT.PTRACE_EVENT_CLONE) return asTid(eventMessage(between));
  }
}

/** Makes it die with us, and rest. */
function hold(agent: Agent, snapshot: Tid, without: readonly Span[]): void {
  waitForInterruptStop(snapshot);
  const task = new StoppedTask(snapshot, getRegisterFile(snapshot), ALL_SIGNALS, { guard: agent.task.guard });
  task.trace(PTRACE_O_EXITKILL);
  for (const { start, end } of without) {
    task.call(agent.siteFor(0), { doing: 'give up a mapping' }, SYS.munmap, start, end - start);
  }
  const entry = { rip: agent.code + routines.hold, cs: USER64_CS, orig_rax: NO_SYSCALL };
  setRegisterFile(snapshot, withRegisters(getRegisterFile(snapshot), entry));
  resume(snapshot);
}

const failureOf = (agent: Agent): number =>
  -Number(readRemote(agent.pid, remoteAddress(agent.block(0) + stateBlock.snapshot), 8).readBigInt64LE(0));

function endTracee(tid: Tid): void {
  sendSignal(asPid(tid), SIGNAL.SIGKILL);
  try {
    waitForEnd(tid);
  } catch {
    // It has ended already, and we have heard of it.
  }
}
