/**
 * Making tasks inside of a process that is being rebuilt: clone3(2) with `set_tid`. They are ours before they run, because their
 * maker is traced with PTRACE_O_TRACECLONE and PTRACE_O_TRACEFORK, and die with us as it does.
 */
import { PERSONALITY } from '../kernel/abi/personality.ts';
import { PR } from '../kernel/abi/prctl.ts';
import { PTRACE } from '../kernel/abi/ptrace.ts';
import { RLIMIT } from '../kernel/abi/resource.ts';
import { CLONE } from '../kernel/abi/sched.ts';
import { SIGNAL } from '../kernel/abi/signal.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import { getRegisterFile, resume, setSignalMask } from '../kernel/calls/ptrace.ts';
import { waitForTask } from '../kernel/calls/wait.ts';
import { check } from '../kernel/errors.ts';
import { asTid, type Pid, type RemoteAddress, type Tid } from '../support/brand.ts';
import { writeRemote } from '../tracee/remote-memory.ts';
import { type CallSite, StoppedTask, waitForInterruptStop } from '../tracee/stopped-task.ts';

/** With TRACECLONE and TRACEFORK the tasks that a process makes are ours before they run. */
export const TRACING =
  PTRACE.PTRACE_O_EXITKILL | PTRACE.PTRACE_O_TRACESYSGOOD | PTRACE.PTRACE_O_TRACECLONE | PTRACE.PTRACE_O_TRACEFORK;

const TID_LIST_SIZE = 16;
const CLONE_ARGS_SIZE = 88;
export const ALL_SIGNALS = 0xffffffffffffffffn;

/** A stopped task that can make calls, and some memory for their arguments. */
export interface Maker {
  readonly pid: Pid;
  readonly task: StoppedTask;
  readonly site: CallSite;
  readonly dataAddress: RemoteAddress;
}

export interface Birth {
  readonly tid: Tid;
  readonly flags: number;
  readonly exitSignal: number;
  /** For messages. */
  readonly what: string;
}

/** One more task, stopped before its first instruction. */
export function bear({ pid, task, site, dataAddress }: Maker, { tid, flags, exitSignal, what }: Birth): StoppedTask {
  // The list of one tid, then struct clone_args of clone3(2).
  const bytes = Buffer.alloc(TID_LIST_SIZE + CLONE_ARGS_SIZE);
  bytes.writeInt32LE(tid, 0);
  bytes.writeBigUInt64LE(BigInt(flags), TID_LIST_SIZE);
  bytes.writeBigUInt64LE(BigInt(exitSignal), TID_LIST_SIZE + 32);
  bytes.writeBigUInt64LE(BigInt(dataAddress), TID_LIST_SIZE + 64);
  bytes.writeBigUInt64LE(1n, TID_LIST_SIZE + 72);
  writeRemote(pid, dataAddress, bytes);
  const made = task.tryCall(site, SYS.clone3, dataAddress + TID_LIST_SIZE, CLONE_ARGS_SIZE);
  check('clone3', made, { doing: `make ${what} ${tid}`, pid });
  waitForInterruptStop(tid);
  return new StoppedTask(tid, getRegisterFile(tid), ALL_SIGNALS);
}

export interface Fork {
  readonly exitSignal: number;
  /** A child of the maker's parent. */
  readonly asSibling: boolean;
  /** CLONE_FILES, CLONE_FS; CLONE_VM, CLONE_SIGHAND. */
  readonly shared?: number;
}

/** A child of the maker, or of its parent, with a copy of its memory or the memory itself; it makes calls as the maker does. */
export function fork(maker: Maker, pid: Pid, { exitSignal, asSibling, shared = 0 }: Fork): Maker {
  // The kernel takes no exit signal with CLONE_PARENT: it is that of the maker (clone(2)).
  const how = asSibling ? { flags: CLONE.CLONE_PARENT | shared, exitSignal: 0 } : { flags: shared, exitSignal };
  const task = bear(maker, { tid: asTid(pid), ...how, what: 'process' });
  return { ...maker, pid, task };
}

const ASK_PERSONALITY = 0xffffffff;
const LAYOUT_BITS = PERSONALITY.ADDR_COMPAT_LAYOUT | PERSONALITY.ADDR_LIMIT_3GB;

/** The task becomes the program at `path`, and stands before its first instruction. Its memory is a new one. */
export function execute({ pid, task, site, dataAddress }: Maker, path: string, layoutBits: number): StoppedTask {
  const doing = { doing: 'execute the program that it begins as', pid };
  const own = task.call(site, doing, SYS.personality, ASK_PERSONALITY);
  task.call(site, doing, SYS.personality, ((own & ~LAYOUT_BITS) | layoutBits) >>> 0);
  const name = Buffer.from(`${path}\0`);
  const vectors = Buffer.alloc(24);
  vectors.writeBigUInt64LE(BigInt(dataAddress + vectors.length), 0);
  writeRemote(pid, dataAddress, Buffer.concat([vectors, name]));
  const argv = dataAddress;
  task.call(site, doing, SYS.execve, dataAddress + vectors.length, argv, argv + 8);
  task.standStill(false);
  return new StoppedTask(task.tid, getRegisterFile(task.tid), ALL_SIGNALS);
}

const COMM_SIZE = 16;

/** The name of the task, as PR_SET_NAME sets it. */
export function nameTask({ pid, task, site, dataAddress }: Maker, comm: string): void {
  const name = Buffer.alloc(COMM_SIZE);
  name.write(comm.slice(0, COMM_SIZE - 1), 'latin1');
  writeRemote(pid, dataAddress, name);
  task.call(site, { doing: 'name a process', pid }, SYS.prctl, PR.PR_SET_NAME, dataAddress);
}

/** Lets a forked task end with this status; it is waited for, as its tracer. Then its parent hears of it. */
export function endWith({ task, site }: Maker, status: number): void {
  task.prepareCall(site, SYS.exit_group, status);
  resume(task.tid);
  untilEnd(task.tid, 0);
}

/** Lets a forked task be killed by this signal, whose action is the default one. No core file is written. */
export function endBy({ pid, task, site, dataAddress }: Maker, signal: number): void {
  writeRemote(pid, dataAddress, Buffer.alloc(16));
  task.call(site, { doing: 'forbid a core file', pid }, SYS.prlimit64, 0, RLIMIT.RLIMIT_CORE, dataAddress, 0);
  if (signal !== SIGNAL.SIGKILL) setSignalMask(task.tid, 0n);
  task.prepareCall(site, SYS.kill, pid, signal);
  resume(task.tid);
  untilEnd(task.tid, signal);
}

function untilEnd(tid: Tid, signal: number): void {
  for (;;) {
    const event = waitForTask(tid);
    if (event.kind === 'exited' || event.kind === 'killed') return;
    if (event.kind === 'stopped') resume(tid, event.event === 0 && event.signal === signal ? signal : 0);
  }
}
