/**
 * Rebuild: from nothing to a process that stands still with everything in place but its registers. It dies with us at any
 * instant until it is resumed (PTRACE_O_EXITKILL), so that no half-made process is ever left behind.
 */
import { stubProgram, stubProgram32 } from '../arch/x86/stub-elf.ts';
import { FCNTL } from '../kernel/abi/fcntl.ts';
import { MREMAP } from '../kernel/abi/mman.ts';
import { PTRACE } from '../kernel/abi/ptrace.ts';
import { RLIMIT } from '../kernel/abi/resource.ts';
import { CLONE } from '../kernel/abi/sched.ts';
import { SIGNAL } from '../kernel/abi/signal.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import { executableFromBytes, tryOpenPidfd } from '../kernel/calls/descriptors.ts';
import { getRegisterFile, interruptIfAlive, trySeize } from '../kernel/calls/ptrace.ts';
import { spawnProgram } from '../kernel/calls/spawn.ts';
import { sendSignal } from '../kernel/calls/task-attributes.ts';
import { waitForEnd } from '../kernel/calls/wait.ts';
import { check } from '../kernel/errors.ts';
import type { OwnedFd } from '../kernel/owned-fd.ts';
import { unlessMissing } from '../procfs/proc-file.ts';
import { readMaps } from '../procfs/smaps.ts';
import { listTasks } from '../procfs/tasks.ts';
import { openMappedFile } from '../resources/mapped-file.ts';
import type { RebuiltProcess } from '../resources/resource.ts';
import { asPid, asTid, type LocalFd, type Pid, type RemoteAddress, remoteAddress, type Tid } from '../support/brand.ts';
import { CleanupStack } from '../support/cleanup-stack.ts';
import { QuicksaveError } from '../support/errors.ts';
import { findHole, USER_SPACE_END_32 } from '../tracee/address-space.ts';
import { Agent, type AgentLayout, agentSize, leaveRegisters } from '../tracee/agent.ts';
import { CallBatch } from '../tracee/call-batch.ts';
import { writeLocalDescriptors } from '../tracee/local-descriptors.ts';
import { giveBackProtectionKeys, takeProtectionKeys } from '../tracee/protection-keys.ts';
import { writeRemote } from '../tracee/remote-memory.ts';
import { type CallSite, StoppedTask, waitForInterruptStop } from '../tracee/stopped-task.ts';
import { ThreadCalls } from '../tracee/thread-calls.ts';
import { handOver } from './hand-over.ts';
import { fillMappings, finishMappings, makeMappings, sealMappings } from './make-mappings.ts';
import type { RestartPlan } from './plan.ts';
import { RestoredObjects } from './restored-objects.ts';
import { lead } from './stand-in.ts';

const PAGE = 4096;
/** Room beside the agent where the kernel's own mappings wait for their place. */
const WAITING_ROOM = 256 * PAGE;
const TID_LIST_SIZE = 16;
const CLONE_ARGS_SIZE = 88;
const VSYSCALL = '[vsyscall]';
const SHARED_BY_ALL = CLONE.CLONE_VM | CLONE.CLONE_FS | CLONE.CLONE_FILES;
const ALL_SIGNALS = 0xffffffffffffffffn;
/** With TRACECLONE and TRACEFORK the threads and the child that the process makes are ours before they run. */
const OPTIONS =
  PTRACE.PTRACE_O_EXITKILL | PTRACE.PTRACE_O_TRACESYSGOOD | PTRACE.PTRACE_O_TRACECLONE | PTRACE.PTRACE_O_TRACEFORK;

export interface RebuiltTree {
  readonly pid: Pid;
  /** In the order of the plan's threads; all of them stand still, away. */
  readonly tasks: readonly StoppedTask[];
  /** Stands still before its first instruction: in the place of the command that saved the process. */
  readonly standIn: StoppedTask | undefined;
  /** What is ours in the process: one stretch of address space. */
  readonly ours: { readonly start: RemoteAddress; readonly sizeBytes: number };
  readonly agent: Agent;
}

export interface RebuildOptions {
  /** Our own pid, or our parent's: then the process becomes its child. */
  readonly parent: number;
  /** False if that parent is about to end. */
  readonly keepsParent: boolean;
}

export class Rebuild {
  readonly #plan: RestartPlan;
  readonly #options: RebuildOptions;
  readonly #cleanup = new CleanupStack();
  readonly #layout: AgentLayout;
  readonly #hole: RemoteAddress;
  readonly #room: RemoteAddress;
  readonly #sizeBytes: number;
  #agent: Agent | undefined;
  #site: CallSite | undefined;
  #fileNumbers = new Map<number, number>();
  readonly #restored: RestoredObjects;

  constructor(plan: RestartPlan, options: RebuildOptions) {
    this.#plan = plan;
    this.#options = options;
    this.#restored = new RestoredObjects(plan);
    this.#layout = { maxCalls: 4096, maxDataBytes: 512 * 1024, blocks: plan.threads.length };
    this.#sizeBytes = PAGE + WAITING_ROOM + agentSize(this.#layout);
    this.#hole = findHole(
      [...plan.mappings.map(({ state }) => state), ...plan.kernelPlaces.values()],
      this.#sizeBytes,
      plan.is32Bit ? USER_SPACE_END_32 : undefined,
    );
    this.#room = remoteAddress(this.#hole + PAGE);
  }

  get #live(): Agent {
    if (this.#agent === undefined) throw new Error('the agent is not there yet');
    return this.#agent;
  }

  /** A process with the right pid, its memory map complete but for the pages. */
  buildSkeleton(streams: readonly [number, number, number]): Pid {
    this.#begin();
    this.#takeDescriptors();
    this.#aspects('early');
    this.#clearAddressSpace();
    this.#restored.make(streams);
    this.#restored.begin(this.#target(new CallBatch(this.#live)));
    this.#receiveMappedFiles();
    takeProtectionKeys(new CallBatch(this.#live), this.#plan.protectionKeys, this.#keysOfMappings);
    makeMappings(this.#live, this.#plan.mappings, (objref) => this.#remoteFile(objref));
    fillMappings(this.#plan.pid, this.#plan.mappings);
    return this.#plan.pid;
  }

  #begin(): void {
    const { pid } = this.#plan;
    const makeStub = this.#plan.is32Bit ? stubProgram32 : stubProgram;
    const stub = makeStub(this.#hole, this.#options.parent);
    const executable = executableFromBytes('quicksave', stub.image);
    try {
      const asSibling = this.#options.parent !== process.pid;
      spawnProgram(executable.number, { pid, asSibling, layoutBits: this.#plan.layoutBits });
    } finally {
      executable.close();
    }
    this.#cleanup.push(() => killAndReap(pid));
    const tid = asTid(pid);
    if (trySeize(tid, OPTIONS) !== 'seized')
      throw new QuicksaveError('not-permitted', `Process ${pid} could not be taken over.`);
    interruptIfAlive(tid);
    waitForInterruptStop(tid);
    const task = new StoppedTask(tid, getRegisterFile(tid), ALL_SIGNALS);
    const callOnce = remoteAddress(stub.callOnce);
    // Nothing leads home from a stub: it dies with us.
    const site = { callOnce, callI386: callOnce, callUnmapHome: callOnce, goHome: callOnce, block: this.#hole };
    const pidfd = tryOpenPidfd(pid);
    if (pidfd === undefined) throw new QuicksaveError('target-ended', `Process ${pid} ended while it was being made.`);
    const code = remoteAddress(this.#room + WAITING_ROOM);
    try {
      this.#agent = Agent.bringIn({
        pid,
        pidfd: pidfd.number,
        task,
        site,
        hole: code,
        layout: this.#layout,
        home: { registers: leaveRegisters(code, task.registers), signalMask: ALL_SIGNALS },
        mirror: Agent.prepareMirror(this.#layout),
        undo: () => {
          // The process is killed whole.
        },
      });
    } finally {
      pidfd.close();
    }
    this.#site = this.#agent.siteFor(0);
  }

  /** Leaves the process with no descriptor but the doorbell, above all that the image has. */
  #takeDescriptors(): void {
    const agent = this.#live;
    const highest = Math.max(
      this.#plan.entries.at(-1)?.fd ?? 0,
      ...this.#plan.descriptions.map(({ kind, state }) => kind.highestNumber?.(state) ?? 0),
    );
    const batch = new CallBatch(agent);
    const limit = batch.data(16);
    batch.call('read the descriptor limit', SYS.prlimit64, 0, RLIMIT.RLIMIT_NOFILE, 0, limit.address);
    batch.run();
    limit.bytes.copy(limit.bytes, 0, 8, 16);
    batch.call(
      'raise the descriptor limit',
      SYS.prlimit64,
      0,
      RLIMIT.RLIMIT_NOFILE,
      batch.bytes(limit.bytes).address,
      0,
    );
    const mapped = this.#plan.mappedFiles.size + this.#restored.mapped.length;
    const least = Math.max(highest, this.#plan.entries.length, mapped) + 1;
    const doorbell = [...agent.ownDescriptors].find((fd) => fd >= 0) ?? -1;
    const moved = batch.call('move the doorbell', SYS.fcntl, doorbell, FCNTL.F_DUPFD_CLOEXEC, least);
    batch.run();
    agent.doorbellMoved(moved.result);
    batch.call('close what was inherited', SYS.close_range, 0, moved.result - 1, 0);
    batch.call('close what was inherited', SYS.close_range, moved.result + 1, 0xffffffff, 0);
    batch.run();
  }

  #aspects(stage: 'early' | 'memory' | 'late'): void {
    const agent = this.#live;
    const batch = new CallBatch(agent);
    const target = this.#target(batch);
    for (const { aspect, state } of this.#plan.aspects) {
      if (aspect.stage !== stage) continue;
      aspect.restore(state, target);
      batch.run();
    }
  }

  #target(batch: CallBatch): RebuiltProcess {
    return {
      pid: this.#plan.pid,
      is32Bit: this.#plan.is32Bit,
      batch,
      remoteFile: (objref) => this.#remoteFile(objref),
    };
  }

  #remoteFile(objref: number): number {
    const fd = this.#fileNumbers.get(objref);
    if (fd === undefined) throw new QuicksaveError('bad-record', `The image has no file object ${objref}.`);
    return fd;
  }

  /** Our descriptor for the bytes of an object, undefined if it takes none. */
  contentTarget(objref: number): LocalFd | undefined {
    return this.#restored.contentTarget(objref);
  }

  /** Unmaps what the stub began with; the kernel's own mappings go to the waiting room and from there to their places. */
  #clearAddressSpace(): void {
    const batch = new CallBatch(this.#live);
    const end = this.#hole + this.#sizeBytes;
    let waiting: number = this.#room;
    const moves: { from: number; to: number; sizeBytes: number; name: string }[] = [];
    for (const { start, end: stop, special = '' } of readMaps(this.#plan.pid)) {
      // The stub's own page goes too: the executable can only be set when nothing of the old one is mapped.
      if ((start >= this.#room && start < end) || special === VSYSCALL) continue;
      const place = this.#plan.kernelPlaces.get(special);
      const sizeBytes = stop - start;
      if (place === undefined) {
        batch.call('clear the address space', SYS.munmap, start, sizeBytes);
        continue;
      }
      this.#move(batch, start, waiting, sizeBytes, special);
      moves.push({ from: waiting, to: place.start, sizeBytes, name: special });
      waiting += sizeBytes;
    }
    for (const { from, to, sizeBytes, name } of moves) this.#move(batch, from, to, sizeBytes, name);
    batch.run();
  }

  #move(batch: CallBatch, from: number, to: number, sizeBytes: number, name: string): void {
    const flags = MREMAP.MREMAP_MAYMOVE | MREMAP.MREMAP_FIXED;
    batch.call(`move ${name}`, SYS.mremap, from, sizeBytes, sizeBytes, flags, to);
  }

  #receiveMappedFiles(): void {
    const files = [...this.#plan.mappedFiles];
    const objrefs = [...files.map(([objref]) => objref), ...this.#restored.mapped];
    const opened: OwnedFd[] = [];
    try {
      for (const [, file] of files) opened.push(openMappedFile(file));
      const objects = this.#restored.mapped.map((objref) => this.#restored.numberOf(objref));
      const numbers = handOver(this.#live, [...opened.map((file) => file.number), ...objects]);
      this.#fileNumbers = new Map(objrefs.map((objref, index) => [objref, numbers[index] ?? -1]));
    } finally {
      for (const file of opened) file.close();
    }
  }

  /** Everything behind the pages: final protections, descriptors, threads, and what is set last. */
  complete(): RebuiltTree {
    finishMappings(this.#live, this.#plan.mappings);
    giveBackProtectionKeys(new CallBatch(this.#live), this.#plan.protectionKeys, this.#keysOfMappings);
    this.#aspects('memory');
    writeLocalDescriptors(new CallBatch(this.#live), this.#plan.localDescriptors);
    sealMappings(this.#live, this.#plan.mappings);
    this.#closeMappedFiles();
    this.#restored.handOver(this.#live, (batch) => this.#target(batch));
    const agent = this.#live;
    agent.pause();
    const others = this.#plan.threads.slice(1).map(({ tid }, index) => this.#makeThread(tid, index + 1));
    const tasks = [agent.task, ...others];
    const standIn = this.#makeStandIn();
    if (others.length > 0 || standIn !== undefined) agent.task.standStill(false);
    this.#restoreThreads(tasks);
    this.#aspects('late');
    agent.pause();
    return {
      pid: this.#plan.pid,
      tasks,
      standIn,
      ours: { start: this.#hole, sizeBytes: this.#sizeBytes },
      agent,
    };
  }

  get #keysOfMappings(): number[] {
    return this.#plan.mappings.map(({ state }) => state.protectionKey);
  }

  #closeMappedFiles(): void {
    const batch = new CallBatch(this.#live);
    for (const fd of this.#fileNumbers.values()) batch.call('close a mapped file', SYS.close, fd);
    batch.run();
    this.#fileNumbers.clear();
  }

  /** One more thread, with its tid, stopped before its first instruction. */
  #makeThread(tid: Tid, blockIndex: number): StoppedTask {
    const agent = this.#live;
    const task = this.#clone(tid, SHARED_BY_ALL | CLONE.CLONE_SIGHAND | CLONE.CLONE_THREAD | CLONE.CLONE_SYSVSEM, 0);
    agent.fillBlock(blockIndex, { registers: leaveRegisters(agent.code, task.registers), signalMask: ALL_SIGNALS });
    return task;
  }

  #makeStandIn(): StoppedTask | undefined {
    const { saver } = this.#plan;
    if (saver === undefined) return undefined;
    const task = this.#clone(saver.tid, SHARED_BY_ALL, SIGNAL.SIGCHLD);
    this.#cleanup.push(() => killAndReap(asPid(saver.tid)));
    lead(task, saver.leads, must(this.#site));
    return task;
  }

  #clone(tid: Tid, flags: number, exitSignal: number): StoppedTask {
    const agent = this.#live;
    // The list of one tid, then struct clone_args of clone3(2).
    const bytes = Buffer.alloc(TID_LIST_SIZE + CLONE_ARGS_SIZE);
    bytes.writeInt32LE(tid, 0);
    bytes.writeBigUInt64LE(BigInt(flags), TID_LIST_SIZE);
    bytes.writeBigUInt64LE(BigInt(exitSignal), TID_LIST_SIZE + 32);
    bytes.writeBigUInt64LE(BigInt(agent.dataAddress), TID_LIST_SIZE + 64);
    bytes.writeBigUInt64LE(1n, TID_LIST_SIZE + 72);
    writeRemote(this.#plan.pid, agent.dataAddress, bytes);
    const args = agent.dataAddress + TID_LIST_SIZE;
    const made = agent.task.tryCall(must(this.#site), SYS.clone3, args, CLONE_ARGS_SIZE);
    const what = exitSignal === 0 ? 'thread' : 'child';
    check('clone3', made, { doing: `make ${what} ${tid}`, pid: this.#plan.pid });
    waitForInterruptStop(tid);
    return new StoppedTask(tid, getRegisterFile(tid), ALL_SIGNALS);
  }

  #restoreThreads(tasks: readonly StoppedTask[]): void {
    const agent = this.#live;
    const { pid, is32Bit } = this.#plan;
    this.#plan.threads.forEach((thread, index) => {
      const task = must(tasks[index]);
      const batch = new CallBatch(index === 0 ? agent : new ThreadCalls(agent, task, index));
      for (const { aspect, state } of thread.aspects)
        aspect.restore(state, { pid, is32Bit, tid: thread.tid, batch, keepsParent: this.#options.keepsParent });
      batch.run();
      if (index === 0) agent.pause();
    });
  }

  /** Ends whatever has been made. Nothing is left afterwards. */
  abandon(): void {
    this.#agent?.forget();
    this.#restored.close();
    this.#cleanup.run();
  }

  /** The process stands by itself now. */
  release(): void {
    this.#cleanup.release();
  }
}

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('the plan is inconsistent');
  return value;
}

function killAndReap(pid: Pid): void {
  if (!sendSignal(pid, SIGNAL.SIGKILL)) return;
  const leader = asTid(pid);
  // The kernel tells of a leader's end only when no other thread is left, and of theirs only to us, who trace them.
  for (const tid of unlessMissing(() => listTasks(pid)) ?? []) if (tid !== leader) waitForEnd(tid);
  waitForEnd(leader);
}
