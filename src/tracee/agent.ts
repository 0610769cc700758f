/**
 * The agent: a few hundred bytes of code in a task, which runs batches of system calls for us. It needs no stack, touches
 * no register state but the general registers, and when its doorbell ends (we are dead) it sends the task home.
 *
 * Bringing it in takes four single calls at a {@link CallSite}: two mappings in a hole of the address space, a socketpair
 * for the doorbell, of which we take one end with pidfd_getfd(2), and the closing of that end in the task. Calls go through
 * memory that we write and read with process_vm_writev(2) and process_vm_readv(2); the doorbell only says when.
 */
import { machineCode, remoteCallSize, routines, stateBlock, stateBlockSize } from '../arch/x86/machine-code.ts';
import { NO_SYSCALL, type RegisterFile, withRegisters } from '../arch/x86/registers.ts';
import { USER64_CS } from '../arch/x86/segments.ts';
import { MAP, PROT } from '../kernel/abi/mman.ts';
import { EVENT } from '../kernel/abi/ptrace.ts';
import { SOCKET } from '../kernel/abi/socket.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import {
  duplicateFrom,
  ring,
  sendDescriptors,
  takeRing,
  takeRingOrDescriptor,
  waitReadable,
} from '../kernel/calls/descriptors.ts';
import { readMemory, writeMemory } from '../kernel/calls/process-memory.ts';
import { eventMessage, pokeBytes, resume } from '../kernel/calls/ptrace.ts';
import { check } from '../kernel/errors.ts';
import { NativeMemory } from '../kernel/native-memory.ts';
import type { OwnedFd } from '../kernel/owned-fd.ts';
import {
  asTid,
  type LocalFd,
  localAddress,
  type Pid,
  type RemoteAddress,
  remoteAddress,
  remoteFd,
  type Tid,
} from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';
import type { BatchRunner } from './call-batch.ts';
import { callsIn } from './call-guard.ts';
import { readRemote, writeRemote } from './remote-memory.ts';
import { encodeStateBlock, type WayHome } from './state-block.ts';
import type { AgentSite, CallSite, StoppedTask } from './stopped-task.ts';

const PAGE = 4096;
/** How long an answer may take before we look whether something else has happened to the task. */
const LOOK_AROUND_MS = 5;
/** Most batches are answered before the kernel would have put us to sleep and woken us up. */
const SPIN_MS = 0.2;

export interface AgentLayout {
  readonly maxCalls: number;
  readonly maxDataBytes: number;
  /** State blocks: one for the agent's own task, more for other threads of the process. */
  readonly blocks: number;
}

/** Bytes of address space that an agent needs: its code page and its mailbox. */
export function agentSize(layout: AgentLayout): number {
  return PAGE + mailboxSize(layout);
}

function mailboxSize(layout: AgentLayout): number {
  const bytes = layout.blocks * stateBlockSize + layout.maxCalls * remoteCallSize + layout.maxDataBytes;
  return Math.ceil(bytes / PAGE) * PAGE;
}

/** A task that has the doorbell in its descriptor table, through which descriptors come to it. */
export interface DescriptorReceiver extends BatchRunner {
  readonly doorbellNumber: number;
  /** For batches whose recvmsg(2) calls on the doorbell find these descriptors in order: one message for each call. */
  receiving(messages: readonly (readonly LocalFd[])[]): BatchRunner;
}

export class Agent implements DescriptorReceiver {
  readonly pid: Pid;
  readonly task: StoppedTask;
  readonly code: RemoteAddress;
  readonly mailbox: RemoteAddress;
  readonly layout: AgentLayout;
  readonly callsAddress: RemoteAddress;
  readonly dataAddress: RemoteAddress;
  readonly calls: Buffer;
  readonly data: Buffer;
  readonly #mirror: NativeMemory;
  #doorbell: OwnedFd | undefined;
  #remoteDoorbell = -1;
  /** Our end of the doorbell in the task, until the agent has closed it there. */
  #remoteToolEnd = -1;
  #running = false;
  /** It has been rung and has not answered yet. */
  #working = false;
  /** It will not answer any more. */
  #lost = false;
  /** It may have a doorbell, whose numbers stand in its block. */
  #doorbellAsked = false;

  private constructor(pid: Pid, task: StoppedTask, hole: RemoteAddress, layout: AgentLayout, mirror: NativeMemory) {
    this.pid = pid;
    this.task = task;
    this.layout = layout;
    this.code = hole;
    this.mailbox = remoteAddress(hole + PAGE);
    this.callsAddress = remoteAddress(this.mailbox + layout.blocks * stateBlockSize);
    this.dataAddress = remoteAddress(this.callsAddress + layout.maxCalls * remoteCallSize);
    this.#mirror = mirror;
    const callsOffset = layout.blocks * stateBlockSize;
    const dataOffset = callsOffset + layout.maxCalls * remoteCallSize;
    this.calls = mirror.bytes.subarray(callsOffset, dataOffset);
    this.data = mirror.bytes.subarray(dataOffset, dataOffset + layout.maxDataBytes);
  }

  get maxCalls(): number {
    return this.layout.maxCalls;
  }

  get maxDataBytes(): number {
    return this.layout.maxDataBytes;
  }

  /**
   * Memory for {@link bringIn}, to be had before the target stands still, and to be freed by who asked for it. Many agents may
   * have the same one, as long as each batch is run before another agent's begins.
   */
  static prepareMirror(layout: AgentLayout): NativeMemory {
    return NativeMemory.allocate(mailboxSize(layout), { populate: true });
  }

  /**
   * Maps the agent at `hole` (free in the target, {@link agentSize} bytes) and starts it in `task`, which has left home
   * through `site`. `home` is where it leads the task when we die.
   */
  static bringIn(options: {
    pid: Pid;
    pidfd: LocalFd;
    task: StoppedTask;
    site: AgentSite;
    hole: RemoteAddress;
    layout: AgentLayout;
    home: WayHome;
    mirror: NativeMemory;
    /** Takes the step that undoes it all, before anything is done. */
    undo: (step: () => void) => void;
    /** Hears of it before it has come, for whom it may be left to. */
    coming?: (agent: Agent) => void;
  }): Agent {
    const { pid, task, site, hole, layout, home, mirror } = options;
    const agent = new Agent(pid, task, hole, layout, mirror);
    options.undo(() => agent.unload(site));
    options.coming?.(agent);
    const flags = MAP.MAP_PRIVATE | MAP.MAP_ANONYMOUS | MAP.MAP_FIXED_NOREPLACE;
    const doing = { doing: 'make room for the agent', pid };
    const readWrite = PROT.PROT_READ | PROT.PROT_WRITE;
    const readExecute = PROT.PROT_READ | PROT.PROT_EXEC;
    const coming = { ...site, callOnce: site.callUnmapHome };
    task.call(coming, doing, SYS.mmap, agent.mailbox, mailboxSize(layout), readWrite, flags, -1, 0);
    task.call(coming, doing, SYS.mmap, agent.code, PAGE, readExecute, flags, -1, 0);
    pokeBytes(task.tid, agent.code, machineCode);
    writeRemote(pid, agent.block(0), encodeStateBlock(home, agent.callsAddress));
    agent.#unmapOnExit(site);
    agent.#makeDoorbell(options.pidfd);
    task.standStill(false);
    return agent;
  }

  /** When it goes home because we are dead, the agent unmaps itself from the site that it was brought in through. */
  #unmapOnExit(site: CallSite): void {
    const bytes = Buffer.alloc(32);
    bytes.writeBigUInt64LE(BigInt(site.callOnce), 0);
    bytes.writeBigUInt64LE(BigInt(this.code), stateBlock.exitUnmap - stateBlock.exitSite);
    bytes.writeBigUInt64LE(BigInt(agentSize(this.layout)), stateBlock.exitSize - stateBlock.exitSite);
    bytes.writeBigUInt64LE(BigInt(site.block), stateBlock.exitBlock - stateBlock.exitSite);
    writeRemote(this.pid, remoteAddress(this.block(0) + stateBlock.exitSite), bytes);
  }

  #makeDoorbell(pidfd: LocalFd): void {
    const type = SOCKET.SOCK_SEQPACKET | SOCKET.SOCK_CLOEXEC;
    const pair = remoteAddress(this.block(0) + stateBlock.doorbell);
    const entry = remoteAddress(this.code + routines.call_close_home);
    this.#doorbellAsked = true;
    const made = this.task.tryCallAt(entry, this.block(0), SYS.socketpair, SOCKET.AF_UNIX, type, 0, pair);
    check('socketpair', made, { doing: 'make the doorbell', pid: this.pid });
    this.#readNumbers(this.pid);
    this.#doorbell = duplicateFrom(pidfd, remoteFd(this.#remoteToolEnd), this.pid);
  }

  /** -1 where there is none. `pid`: a process with its memory. */
  #readNumbers(pid: Pid): void {
    const ends = readRemote(pid, remoteAddress(this.block(0) + stateBlock.doorbell), 8);
    this.#remoteDoorbell = ends.readInt32LE(0);
    this.#remoteToolEnd = ends.readInt32LE(4);
  }

  /** Our descriptors in the task, to be left out when its table is read. */
  get ownDescriptors(): ReadonlySet<number> {
    return new Set([this.#remoteDoorbell, this.#remoteToolEnd]);
  }

  /** Its descriptors, when the task has been ended in the middle of it all; `pid` is another process with its memory. */
  descriptorsLeft(pid: Pid): number[] {
    if (this.#doorbellAsked && this.#remoteDoorbell < 0) this.#readNumbers(pid);
    return [...this.ownDescriptors].filter((fd) => fd >= 0);
  }

  /** The doorbell's number in the task. */
  get doorbellNumber(): number {
    return this.#remoteDoorbell;
  }

  /** State block `index`; block 0 is the agent's own. */
  block(index: number): RemoteAddress {
    return remoteAddress(this.mailbox + index * stateBlockSize);
  }

  /** A call site for another thread of the process, whose block has been written with {@link fillBlock}. */
  siteFor(index: number): CallSite {
    return {
      callOnce: remoteAddress(this.code + routines.call_once),
      callI386: remoteAddress(this.code + routines.call_i386),
      goHome: remoteAddress(this.code + routines.go_home),
      block: this.block(index),
    };
  }

  fillBlock(index: number, home: WayHome): void {
    writeRemote(this.pid, this.block(index), encodeStateBlock(home, this.callsAddress, this.#remoteDoorbell));
  }

  /** The task stands still between batches until one is run, and again after {@link pause}. */
  #start(): void {
    if (this.#running) return;
    this.task.enter(remoteAddress(this.code + routines.agent), this.block(0));
    this.#running = true;
  }

  /** Stops the agent between two batches, so that ptrace works on its task; the next batch lets it go on. */
  pause(): void {
    if (!this.#running) return;
    this.task.standStill(true);
    this.#running = false;
  }

  runBatch(callCount: number, dataBytes: number): void {
    this.#refuseHarmful(callCount);
    this.#writeBatch(callCount, dataBytes);
    this.#start();
    this.#ring();
    this.#awaitAnswer();
    this.#readBatch(callCount, dataBytes);
  }

  receiving(messages: readonly (readonly LocalFd[])[]): BatchRunner {
    return asRunner(this, (callCount, dataBytes) => {
      this.#writeBatch(callCount, dataBytes);
      this.#start();
      this.#ring(messages);
      this.#awaitAnswer();
      this.#readBatch(callCount, dataBytes);
    });
  }

  /**
   * A batch that sends a descriptor over the doorbell. The agent runs a batch to its end whatever becomes of us, so what it opens and closes in
   * it is never left behind. Returns our duplicate, undefined if none came.
   */
  runBatchThatSends(callCount: number, dataBytes: number): OwnedFd | undefined {
    this.#refuseHarmful(callCount);
    this.#writeBatch(callCount, dataBytes);
    this.#start();
    this.#ring();
    let arrived: OwnedFd | undefined;
    for (;;) {
      waitReadable(this.#bell(), LOOK_AROUND_MS);
      const heard = takeRingOrDescriptor(this.#bell());
      if (heard === 'rung') break;
      if (heard === 'end') this.#agentEnded();
      if (heard !== 'nothing') arrived = heard;
      else this.#lookAround(this.task);
    }
    this.#heardAnswer();
    this.#readBatch(callCount, dataBytes);
    return arrived;
  }

  /** Writes the data of a batch that is carried out without the agent, or reads it back. */
  moveData(direction: 'write' | 'read', dataBytes: number): void {
    this.#transfer(direction === 'write' ? writeMemory : readMemory, 0, dataBytes);
  }

  /**
   * Runs a batch in another thread of a process that dies with us, with its own state block. The agent must be paused; the
   * thread stands still afterwards. `messages`: as of {@link receiving}.
   */
  runBatchIn(
    task: StoppedTask,
    blockIndex: number,
    callCount: number,
    dataBytes: number,
    messages: readonly (readonly LocalFd[])[] = [],
  ): void {
    this.#writeBatch(callCount, dataBytes, blockIndex);
    this.#ring(messages);
    task.enter(remoteAddress(this.code + routines.agent), this.block(blockIndex));
    this.#awaitAnswer(task);
    task.standStill(true);
    this.#readBatch(callCount, dataBytes);
  }

  /**
   * Sends the paused task into the making of a snapshot. Returns the process between, newly born and traced, while the task
   * stands in the event of its birth; undefined if that could not be made.
   */
  enterSnapshot(): Tid | undefined {
    this.task.enter(remoteAddress(this.code + routines.snapshot), this.block(0));
    this.#running = true;
    for (;;) {
      const heard = takeRing(this.#bell());
      if (heard === 'rung') return undefined;
      if (heard === 'end') this.#agentEnded();
      const event = this.task.poll();
      if (event === undefined) continue;
      if (event.kind === 'stopped' && event.event === EVENT.PTRACE_EVENT_VFORK)
        return asTid(eventMessage(this.task.tid));
      this.task.noteStop(event);
      resume(this.task.tid);
    }
  }

  /** Waits until the task is back from {@link enterSnapshot}. */
  awaitSnapshot(): void {
    this.#awaitAnswer();
  }

  /** A batch goes on when we have died, and then meets the filters of the task again. */
  #refuseHarmful(callCount: number): void {
    this.task.guard?.refuseHarmful(this.task.tid, callsIn(this.calls, callCount));
  }

  #bell(): LocalFd {
    if (this.#doorbell === undefined) throw new Error('the agent is not there any more');
    return this.#doorbell.number;
  }

  #writeBatch(callCount: number, dataBytes: number, blockIndex = 0): void {
    const block = this.#mirror.bytes.subarray(blockIndex * stateBlockSize + stateBlock.callCount);
    block.writeUInt32LE(callCount, 0);
    const from = this.#mirror.address + blockIndex * stateBlockSize + stateBlock.callCount;
    writeMemory(this.pid, localAddress(from), [
      { start: remoteAddress(this.block(blockIndex) + stateBlock.callCount), sizeBytes: 4 },
    ]);
    this.#transfer(writeMemory, callCount, dataBytes);
  }

  #readBatch(callCount: number, dataBytes: number): void {
    this.#transfer(readMemory, callCount, dataBytes);
  }

  #transfer(move: typeof writeMemory, callCount: number, dataBytes: number): void {
    const callsOffset = this.layout.blocks * stateBlockSize;
    if (callCount > 0) {
      move(this.pid, localAddress(this.#mirror.address + callsOffset), [
        { start: this.callsAddress, sizeBytes: callCount * remoteCallSize },
      ]);
    }
    if (dataBytes === 0) return;
    const dataOffset = callsOffset + this.layout.maxCalls * remoteCallSize;
    move(this.pid, localAddress(this.#mirror.address + dataOffset), [
      { start: this.dataAddress, sizeBytes: dataBytes },
    ]);
  }

  /** Descriptors are sent behind the ring, so that the calls of the batch find them on the doorbell in order. */
  #ring(messages: readonly (readonly LocalFd[])[] = []): void {
    if (!ring(this.#bell())) this.#agentEnded();
    for (const fds of messages) sendDescriptors(this.#bell(), fds);
    this.#working = true;
  }

  /** What it does first of all is to close the tool's end. */
  #heardAnswer(): void {
    this.#working = false;
    this.#remoteToolEnd = -1;
  }

  #awaitAnswer(task: StoppedTask = this.task): void {
    const spinUntil = performance.now() + SPIN_MS;
    for (;;) {
      if (performance.now() < spinUntil || waitReadable(this.#bell(), LOOK_AROUND_MS)) {
        const heard = takeRing(this.#bell());
        if (heard === 'rung') {
          this.#heardAnswer();
          return;
        }
        if (heard === 'end') this.#agentEnded();
        if (performance.now() < spinUntil) continue;
      }
      this.#lookAround(task);
    }
  }

  /** Something else than an answer may have happened to the task. */
  #lookAround(task: StoppedTask): void {
    const event = task.poll();
    if (event === undefined) return;
    task.noteStop(event);
    this.#refuseFault(task, event);
    resume(task.tid);
  }

  #refuseFault(task: StoppedTask, event: NonNullable<ReturnType<StoppedTask['poll']>>): void {
    const harmless = event.kind !== 'stopped' || event.event !== 0 || task.heldStopSignal === event.signal;
    if (harmless) return;
    this.#lost = true;
    throw new QuicksaveError(
      'agent-fault',
      `The agent in process ${this.pid} got signal ${event.signal}; this is a fault of quicksave.`,
    );
  }

  #agentEnded(): never {
    this.#lost = true;
    this.task.poll();
    throw new QuicksaveError('agent-ended', `The agent in process ${this.pid} does not answer any more.`);
  }

  /** Moves the doorbell to a descriptor number of our choice, by a batch that the caller has run. */
  doorbellMoved(fd: number): void {
    this.#remoteDoorbell = fd;
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(fd);
    writeRemote(this.pid, remoteAddress(this.block(0) + stateBlock.doorbell), bytes);
  }

  /**
   * Takes everything of ours out again, through a site outside of the agent, however far it had been brought in. The task
   * stands still afterwards, away.
   */
  unload(site: AgentSite): void {
    try {
      const going = { ...site, callOnce: site.callUnmapHome };
      this.#letFinish(going);
      this.pause();
      if (this.#remoteDoorbell >= 0) this.task.tryCall(going, SYS.close, this.#remoteDoorbell);
      const unmapped = this.task.tryCall(site, SYS.munmap, this.code, agentSize(this.layout));
      check('munmap', unmapped, { doing: 'take the agent out', pid: this.pid });
      this.task.standStill(false);
    } finally {
      this.forget();
    }
  }

  /**
   * The agent closes the tool's end itself, so that at no instant it would be left behind, and ends what it was rung for. One that has run
   * nothing yet is waited for: stopped as soon as it is let go, it would not have come to its first instruction.
   */
  #letFinish(going: CallSite): void {
    if (this.#lost) return;
    if (this.#working) this.#awaitAnswer();
    if (this.#doorbellAsked && this.#remoteDoorbell < 0) this.#readNumbers(this.pid);
    if (this.#remoteToolEnd < 0) return;
    if (this.#doorbell === undefined) this.task.tryCall(going, SYS.close, this.#remoteToolEnd);
    else this.runBatch(0, 0);
  }

  /** Our side only: for a target that is dead, or that our end of file sends home. */
  forget(): void {
    this.#doorbell?.close();
    this.#doorbell = undefined;
  }
}

/** The same areas, run in another way. */
export const asRunner = (runner: BatchRunner, runBatch: BatchRunner['runBatch']): BatchRunner => ({
  pid: runner.pid,
  callsAddress: runner.callsAddress,
  dataAddress: runner.dataAddress,
  maxCalls: runner.maxCalls,
  maxDataBytes: runner.maxDataBytes,
  calls: runner.calls,
  data: runner.data,
  runBatch,
});

/** Registers that send a half-made process to its end when the doorbell ends. */
export function leaveRegisters(code: RemoteAddress, current: RegisterFile): RegisterFile {
  return withRegisters(current, { rip: code + routines.leave, cs: USER64_CS, orig_rax: NO_SYSCALL });
}
