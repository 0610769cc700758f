/** Rebuild, the part of one process: it becomes what the plan says, from the program of one page that it begins as. */
import { type StubProgram, stubProgram, stubProgram32 } from '../arch/x86/stub-elf.ts';
import { FCNTL } from '../kernel/abi/fcntl.ts';
import { PR } from '../kernel/abi/prctl.ts';
import { PTRACE } from '../kernel/abi/ptrace.ts';
import { RLIMIT } from '../kernel/abi/resource.ts';
import { CLONE } from '../kernel/abi/sched.ts';
import { SIGNAL } from '../kernel/abi/signal.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import { tryOpenPidfd } from '../kernel/calls/descriptors.ts';
import { setOptions } from '../kernel/calls/ptrace.ts';
import type { NativeMemory } from '../kernel/native-memory.ts';
import type { OwnedFd } from '../kernel/owned-fd.ts';
import { type MappedFile, openMappedFile } from '../resources/mapped-file.ts';
import type { RebuiltProcess, ThreadAspect } from '../resources/resource.ts';
import { asPid, asTid, type Pid, type RemoteAddress, remoteAddress } from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';
import { findHole, type Span, USER_SPACE_END, USER_SPACE_END_32 } from '../tracee/address-space.ts';
import { Agent, type AgentLayout, agentSize, leaveRegisters } from '../tracee/agent.ts';
import { CallBatch } from '../tracee/call-batch.ts';
import { writeLocalDescriptors } from '../tracee/local-descriptors.ts';
import { giveBackProtectionKeys, takeProtectionKeys } from '../tracee/protection-keys.ts';
import type { CallSite, StoppedTask } from '../tracee/stopped-task.ts';
import { ThreadCalls } from '../tracee/thread-calls.ts';
import { attachSegments } from './attach-segments.ts';
import { ALL_SIGNALS, bear, type Maker, TRACING } from './births.ts';
import type { CgroupPlacement } from './cgroup-placement.ts';
import { clearAddressSpace } from './clear-address-space.ts';
import { handOverEither } from './hand-over.ts';
import type { LazyLoading } from './lazy-loading.ts';
import { makeAioRings } from './make-aio-rings.ts';
import {
  dropPages,
  fillMappings,
  finishMappings,
  lengthenMappings,
  makeMappings,
  sealMappings,
} from './make-mappings.ts';
import { mapByKernel } from './map-by-kernel.ts';
import type { PlannedMapping, PlannedThread, ProcessPlan } from './process-plan.ts';
import type { RestoredObjects, Table } from './restored-objects.ts';
import type { MemorySharing, PageChange } from './sharing.ts';
import { lead } from './stand-in.ts';
import type { ThreadBirth } from './thread-births.ts';

const PAGE = 4096;
/** Room beside the agent where the kernel's own mappings wait for their place. */
const WAITING_ROOM = 256 * PAGE;
const STAND_IN_FLAGS = CLONE.CLONE_VM | CLONE.CLONE_FS | CLONE.CLONE_FILES;
const THREAD_FLAGS = CLONE.CLONE_VM | CLONE.CLONE_SIGHAND | CLONE.CLONE_THREAD | CLONE.CLONE_SYSVSEM;

export interface RebuiltProcessTree {
  readonly plan: ProcessPlan;
  /** In the order of the plan's threads; all of them stand still, away. */
  readonly tasks: readonly StoppedTask[];
  /** A leader that is none of them: it ends before they run. */
  readonly endedLeader: StoppedTask | undefined;
  /** Stands still before its first instruction: in the place of the command that saved the process. */
  readonly standIn: StoppedTask | undefined;
  /** What is ours in the process: one stretch of address space. */
  readonly ours: { readonly start: RemoteAddress; readonly sizeBytes: number };
  readonly agent: Agent;
}

/** What all processes of a tree are made from. */
export interface CommonParts {
  readonly objects: RestoredObjects;
  readonly mappedFiles: ReadonlyMap<number, MappedFile>;
  readonly cgroups: CgroupPlacement;
}

/** What is different from one process of a tree to the other, beside the plan. */
export interface ProcessParts {
  /** Its parent does not end as soon as it runs. */
  readonly keepsParent: boolean;
  readonly sharing: MemorySharing | undefined;
  /** The process that it is born with memory of. */
  readonly bornOf: ProcessRebuild | undefined;
  /** The owner of its memory; undefined if that is itself. */
  readonly host: ProcessRebuild | undefined;
  /** Those that share its memory. */
  readonly guests: readonly ProcessPlan[];
}

const layoutOf = ({ endedLeader, threads }: ProcessPlan): AgentLayout => ({
  ...{ maxCalls: 4096, maxDataBytes: 512 * 1024 },
  blocks: (endedLeader === undefined ? 0 : 1) + threads.length,
});

export class ProcessRebuild {
  readonly plan: ProcessPlan;
  readonly #common: CommonParts;
  readonly #keepsParent: boolean;
  readonly #sharing: MemorySharing | undefined;
  readonly bornOf: ProcessRebuild | undefined;
  readonly host: ProcessRebuild | undefined;
  readonly #layout: AgentLayout;
  readonly #hole: RemoteAddress;
  readonly #room: RemoteAddress;
  /** Of what is ours: its own, and that of all in its memory. */
  readonly #sizeBytes: number;
  readonly #wholeBytes: number;
  /** Where the agents of its guests go. */
  readonly #guestPlaces = new Map<Pid, RemoteAddress>();
  readonly #spaceEnd: number;
  /** The place of the first thread of the plan among the tasks: 1 behind a leader that ends. */
  readonly #firstThread: number;
  /** By its mappings, by those of the kernel, and by what is ours. */
  readonly taken: readonly Span[];
  #agent: Agent | undefined;
  #site: CallSite | undefined;
  #fileNumbers = new Map<number, number>();
  #isCleared = false;
  /** Those that it was born with, and those that it has had to have before its children were born. */
  readonly #made = new Set<PlannedMapping>();
  #hasBequeathed = false;
  /** Who fills the descriptor table that it shares. */
  #tableOf: ProcessRebuild | undefined;

  constructor(plan: ProcessPlan, common: CommonParts, { keepsParent, sharing, bornOf, host, guests }: ProcessParts) {
    this.plan = plan;
    this.#common = common;
    this.#keepsParent = keepsParent;
    this.#sharing = sharing;
    this.bornOf = bornOf;
    this.host = host;
    this.#firstThread = plan.endedLeader === undefined ? 0 : 1;
    this.#layout = layoutOf(plan);
    this.#spaceEnd = plan.is32Bit ? USER_SPACE_END_32 : USER_SPACE_END;
    if (host !== undefined) {
      this.#hole = must(host.#guestPlaces.get(plan.pid));
      this.#room = this.#hole;
      this.#sizeBytes = agentSize(this.#layout);
      this.#wholeBytes = this.#sizeBytes;
      this.taken = host.taken;
      return;
    }
    this.#sizeBytes = PAGE + WAITING_ROOM + agentSize(this.#layout);
    this.#wholeBytes = guests.reduce((sum, guest) => sum + agentSize(layoutOf(guest)), this.#sizeBytes);
    const own = [...plan.mappings.map(({ state }) => state), ...plan.kernelPlaces.values()];
    this.#hole = findHole([...own, ...(bornOf?.taken ?? [])], this.#wholeBytes, this.#spaceEnd);
    this.taken = [...own, { start: this.#hole, end: this.#hole + this.#wholeBytes }];
    this.#room = remoteAddress(this.#hole + PAGE);
    let place = this.#hole + this.#sizeBytes;
    for (const guest of guests) {
      this.#guestPlaces.set(guest.pid, remoteAddress(place));
      place += agentSize(layoutOf(guest));
    }
  }

  get #live(): Agent {
    if (this.#agent === undefined) throw new Error('the agent is not there yet');
    return this.#agent;
  }

  /** What memory of ours its agent needs. */
  get agentLayout(): AgentLayout {
    return this.#layout;
  }

  /** The program that it begins as. */
  stub(parent: number): StubProgram {
    return (this.plan.is32Bit ? stubProgram32 : stubProgram)(this.#hole, parent);
  }

  /** `task` has become the stub and stands before its first instruction. */
  takeOver(task: StoppedTask, stub: StubProgram, mirror: NativeMemory): void {
    this.#bringAgentIn(task, remoteAddress(stub.callOnce), this.#hole, mirror);
  }

  /** `born` has a copy of its parent's memory, with the agent's code in it, and stands still: what it has not to keep is unmapped. */
  beBorn({ task, site }: Maker, mirror: NativeMemory): void {
    this.#bringAgentIn(task, site.callOnce, site.block, mirror);
    const kept = this.#sharing?.born?.kept ?? [];
    this.#clearAddressSpace(kept.map(({ start, bornEnd, end }) => ({ start, end: Math.min(bornEnd, end) })));
    lengthenMappings(this.#live, kept);
    const starts = new Set(kept.map(({ start }) => start));
    for (const mapping of this.plan.mappings) if (starts.has(mapping.state.start)) this.#made.add(mapping);
    this.#live.pause();
  }

  /** `born` has the memory of its maker, with the agent's code in it, and stands still. */
  join({ task, site }: Maker, mirror: NativeMemory): void {
    this.#bringAgentIn(task, site.callOnce, site.block, mirror);
  }

  /** Makes it what its children are born with, once. `load` puts pages into it. */
  bequeath(load: ((pid: Pid, pieces: PageChange['load']) => void) | undefined): void {
    if (this.#hasBequeathed) return;
    this.#hasBequeathed = true;
    // What the program of one page has would be in the way of a child's.
    if (!this.#isCleared) this.#clearAddressSpace([]);
    const before = this.#sharing?.before;
    if (before === undefined || load === undefined) {
      this.#live.pause();
      return;
    }
    const mappings = before.mappings.filter((mapping) => !this.#made.has(mapping));
    this.#receiveFiles([
      ...new Set(mappings.flatMap(({ made }) => (made === undefined || made.file === 0 ? [] : [made.file]))),
    ]);
    makeMappings(this.#live, mappings, (objref) => this.#remoteFile(objref));
    for (const mapping of mappings) this.#made.add(mapping);
    this.#closeMappedFiles();
    dropPages(this.#live, before.pages.drop);
    this.#live.pause();
    load(this.plan.pid, before.pages.load);
  }

  #bringAgentIn(task: StoppedTask, callOnce: RemoteAddress, block: RemoteAddress, mirror: NativeMemory): void {
    const { pid } = this.plan;
    // Nothing leads home from there: it dies with us.
    const site = { callOnce, callI386: callOnce, callUnmapHome: callOnce, goHome: callOnce, block };
    const pidfd = tryOpenPidfd(pid);
    if (pidfd === undefined) throw new QuicksaveError('target-ended', `Process ${pid} ended while it was being made.`);
    const code = this.host === undefined ? remoteAddress(this.#room + WAITING_ROOM) : this.#hole;
    try {
      this.#agent = Agent.bringIn({
        pid,
        pidfd: pidfd.number,
        task,
        site,
        hole: code,
        layout: this.#layout,
        home: { registers: leaveRegisters(code, task.registers), signalMask: ALL_SIGNALS },
        mirror,
        undo: () => {
          // The process is killed whole.
        },
      });
    } finally {
      pidfd.close();
    }
    this.#site = this.#agent.siteFor(0);
  }

  /** It stands still, so that it can make other tasks. */
  get maker(): Maker {
    const agent = this.#live;
    agent.pause();
    return { pid: this.plan.pid, task: agent.task, site: must(this.#site), dataAddress: agent.dataAddress };
  }

  /** A few calls of the process, which stands still afterwards. */
  inside(ask: (batch: CallBatch) => void): void {
    const batch = new CallBatch(this.#live);
    ask(batch);
    batch.run();
    this.#live.pause();
  }

  /** Nothing is left of the program that it began as, and it is who it was. */
  clear(): void {
    this.#aspects('early');
    if (!this.#isCleared && this.host === undefined) this.#clearAddressSpace([]);
    this.#live.pause();
  }

  /** For objects that are made in it. */
  get rebuilt(): RebuiltProcess {
    return this.#target(new CallBatch(this.#live));
  }

  /** Its memory map, complete but for the pages. */
  makeMemory(lazy: LazyLoading | undefined): void {
    if (this.host !== undefined) return;
    this.#receiveFiles(this.plan.files, this.#mappedObjects);
    takeProtectionKeys(new CallBatch(this.#live), this.plan.protectionKeys, this.#keysOfMappings);
    const mappings = this.plan.mappings.filter((mapping) => !this.#made.has(mapping));
    const remoteFile = (objref: number): number => this.#remoteFile(objref);
    mapByKernel(this.#live, this.plan.pid, mappings, remoteFile, this.#spaceEnd);
    makeMappings(this.#live, mappings, remoteFile);
    attachSegments(this.#live, mappings, this.taken, this.#spaceEnd);
    makeAioRings(this.#live, mappings);
    fillMappings(this.plan.pid, mappings);
    dropPages(this.#live, this.#sharing?.rest.drop ?? []);
    const isTouched = this.#common.objects.touchMemoryOf(asTid(this.plan.pid)) || this.#guestPlaces.size > 0;
    if (!isTouched) lazy?.prepare(this.plan, this.#live);
    this.#live.pause();
  }

  #tables(): Table[] {
    return [{ tid: asTid(this.plan.pid), entries: this.plan.entries }, ...this.plan.tablesApart];
  }

  /** Above the highest number that its tables have, also for a while. */
  get tableEnd(): number {
    const { objects } = this.#common;
    const ends = this.#tables().map(({ tid, entries }) =>
      Math.max(entries.at(-1)?.fd ?? 0, objects.highestNumberIn(tid), entries.length),
    );
    return Math.max(...ends) + 1;
  }

  /** How many numbers its mapped files need for a while, and one more. */
  get mappedNumbers(): number {
    if (this.host !== undefined) return 1;
    return this.plan.files.length + this.#mappedObjects.length + 1;
  }

  get doorbell(): number {
    return this.#live.doorbellNumber;
  }

  /** To a number that is not below `least`. */
  moveDoorbell(least: number): void {
    const agent = this.#live;
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
    const moved = batch.call('move the doorbell', SYS.fcntl, agent.doorbellNumber, FCNTL.F_DUPFD_CLOEXEC, least);
    batch.run();
    agent.doorbellMoved(moved.result);
    agent.pause();
  }

  /** What it inherited, in its table. */
  closeAllBut(numbers: readonly number[]): void {
    closeAllBut(new CallBatch(this.#live), numbers);
    this.#live.pause();
  }

  /** It is filled by that process, which comes before. */
  useTableOf(other: ProcessRebuild): void {
    this.#tableOf = other;
  }

  #aspects(stage: 'early' | 'memory' | 'late'): void {
    const agent = this.#live;
    const batch = new CallBatch(agent);
    const target = this.#target(batch);
    for (const { aspect, state } of this.plan.aspects) {
      if (aspect.stage !== stage || (aspect.belongsTo === 'memory' && this.host !== undefined)) continue;
      aspect.restore(state, target);
      batch.run();
    }
  }

  #target(batch: CallBatch): RebuiltProcess {
    return {
      pid: this.plan.pid,
      is32Bit: this.plan.is32Bit,
      batch,
      remoteFile: (objref) => this.#remoteFile(objref),
      onFailure: (undo) => this.#common.objects.onFailure(undo),
    };
  }

  #remoteFile(objref: number): number {
    const fd = this.#fileNumbers.get(objref);
    if (fd === undefined) throw new QuicksaveError('bad-record', `The image has no file object ${objref}.`);
    return fd;
  }

  /** `kept`: what it was born with and keeps. */
  #clearAddressSpace(kept: readonly Span[]): void {
    this.#isCleared = true;
    clearAddressSpace(this.#live, {
      // The stub's own page goes too: the executable can only be set when nothing of the old one is mapped.
      ours: { start: this.#room, end: this.#hole + this.#wholeBytes },
      waitingRoom: this.#room,
      kept,
      kernelPlaces: this.plan.kernelPlaces,
    });
  }

  /** Objects of the image, of kinds without a name, that it maps. */
  get #mappedObjects(): number[] {
    const nameless = this.plan.mappings.flatMap(({ made }) =>
      made?.nameless && made.attach === undefined ? [made.file] : [],
    );
    return [...new Set(nameless)];
  }

  /** `files` have a name, `objects` have none. */
  #receiveFiles(files: readonly number[], nameless: readonly number[] = []): void {
    const { mappedFiles, objects } = this.#common;
    const opened: OwnedFd[] = [];
    try {
      for (const objref of files) opened.push(openMappedFile(must(mappedFiles.get(objref))));
      const numbers = handOverEither(this.#live, [
        ...opened.map((file) => ({ fd: file.number, byHandle: false })),
        ...nameless.map((objref) => ({ fd: objects.numberOf(objref), byHandle: objects.passesByHandle(objref) })),
      ]);
      const objrefs = [...files, ...nameless];
      this.#fileNumbers = new Map(objrefs.map((objref, index) => [objref, numbers[index] ?? -1]));
    } finally {
      for (const file of opened) file.close();
    }
  }

  /** Its memory map as it has to be, with the pages in it. */
  finishMemory(): void {
    if (this.host !== undefined) {
      this.#aspects('memory');
      this.#live.pause();
      return;
    }
    finishMappings(this.#live, this.plan.mappings);
    giveBackProtectionKeys(new CallBatch(this.#live), this.plan.protectionKeys, this.#keysOfMappings);
    this.#aspects('memory');
    writeLocalDescriptors(new CallBatch(this.#live), this.plan.localDescriptors);
    sealMappings(this.#live, this.plan.mappings);
    this.#closeMappedFiles();
    this.#live.pause();
  }

  /** Everything behind the memory: descriptors, threads, and what is set last. */
  complete(): RebuiltProcessTree {
    const agent = this.#live;
    const table = { tid: asTid(this.plan.pid), entries: this.#tableOf === undefined ? this.plan.entries : [] };
    this.#common.objects.handOver(agent, table, (batch) => this.#target(batch));
    agent.pause();
    // Its end is not to meet what the threads are born with.
    const standIn = this.#makeStandIn();
    if (standIn !== undefined) agent.task.standStill(false);
    this.#bequeathToThreads();
    const tasks = this.#makeThreads();
    this.#fillTablesApart(tasks);
    this.#restoreThreads(tasks);
    this.#aspects('late');
    this.#finishThreads(tasks);
    agent.pause();
    this.#closeDoorbellsApart(tasks);
    return {
      plan: this.plan,
      tasks: tasks.slice(this.#firstThread),
      endedLeader: tasks.slice(0, this.#firstThread)[0],
      standIn,
      ours: { start: this.#hole, sizeBytes: this.#sizeBytes },
      agent,
    };
  }

  get #keysOfMappings(): number[] {
    return this.plan.mappings.map(({ state }) => state.protectionKey);
  }

  #closeMappedFiles(): void {
    const batch = new CallBatch(this.#live);
    for (const fd of this.#fileNumbers.values()) batch.call('close a mapped file', SYS.close, fd);
    batch.run();
    this.#fileNumbers.clear();
  }

  /** The leader first, then the threads of the plan. All stand still, the others before their first instruction. */
  #makeThreads(): StoppedTask[] {
    const tasks: StoppedTask[] = [this.#live.task];
    const makers = new Set<StoppedTask>();
    for (const planned of this.plan.threadBirths) {
      const birth = this.#birthOf(planned);
      const maker = must(tasks[birth.maker]);
      makers.add(maker);
      const made = this.#makeThread(birth, maker);
      tasks[birth.thread] = made;
      if (this.#firstThread === 0 || birth.maker !== 0) continue;
      maker.standStill(false);
      this.#bequeath(new CallBatch(new ThreadCalls(this.#live, made, birth.thread)));
    }
    for (const maker of makers) maker.standStill(false);
    for (const { tid } of this.plan.threads) this.#common.cgroups.placeThread(tid);
    return tasks;
  }

  /** A leader that ends is not to have what threads are born with: it makes one that has the same as itself, and that one makes the others. */
  #birthOf(birth: ThreadBirth): ThreadBirth {
    return birth.maker < this.#firstThread && birth.thread > 1 ? { ...birth, maker: 1 } : birth;
  }

  /** One more thread, with its tid, stopped before its first instruction. */
  #makeThread({ thread, maker, sharesFiles, sharesFileSystem }: ThreadBirth, task: StoppedTask): StoppedTask {
    const agent = this.#live;
    const flags = THREAD_FLAGS | (sharesFiles ? CLONE.CLONE_FILES : 0) | (sharesFileSystem ? CLONE.CLONE_FS : 0);
    const { tid } = must(this.plan.threads[thread - this.#firstThread]);
    const site = agent.siteFor(maker);
    const made = bear({ ...this.#standingMaker, task, site }, { tid, flags, exitSignal: 0, what: 'thread' });
    agent.fillBlock(thread, { registers: leaveRegisters(agent.code, made.registers), signalMask: ALL_SIGNALS });
    return made;
  }

  /** Tables of threads, which they were born with copies for. */
  #fillTablesApart(tasks: readonly StoppedTask[]): void {
    const agent = this.#live;
    for (const { thread, tid, entries } of this.plan.tablesApart) {
      const calls = new ThreadCalls(agent, must(tasks[thread]), thread);
      closeAllBut(new CallBatch(calls), [calls.doorbellNumber]);
      this.#common.objects.handOver(calls, { tid, entries }, (batch) => ({
        ...this.#target(batch),
        pid: asPid(tid),
      }));
    }
  }

  /** The last that is done in such a table; the leader closes its own when the agent leaves. */
  #closeDoorbellsApart(tasks: readonly StoppedTask[]): void {
    const agent = this.#live;
    for (const { thread, tid } of this.plan.tablesApart) {
      const task = must(tasks[thread]);
      task.call(agent.siteFor(thread), { doing: 'close the doorbell', pid: tid }, SYS.close, agent.doorbellNumber);
      task.standStill(false);
    }
  }

  /** Between calls: the agent is not to be paused again. */
  get #standingMaker(): Maker {
    const { task, dataAddress } = this.#live;
    return { pid: this.plan.pid, task, site: must(this.#site), dataAddress };
  }

  #makeStandIn(): StoppedTask | undefined {
    const { saver } = this.plan;
    if (saver === undefined) return undefined;
    const birth = { tid: saver.tid, flags: STAND_IN_FLAGS, exitSignal: SIGNAL.SIGCHLD, what: 'child' };
    const task = bear(this.#standingMaker, birth);
    lead(task, saver.leads, must(this.#site));
    return task;
  }

  #restoreThreads(tasks: readonly StoppedTask[]): void {
    const agent = this.#live;
    const { pid, is32Bit } = this.plan;
    this.plan.threads.forEach((thread, place) => {
      const index = this.#firstThread + place;
      const task = must(tasks[index]);
      const batch = new CallBatch(index === 0 ? agent : new ThreadCalls(agent, task, index));
      for (const { aspect, state } of thread.aspects)
        aspect.restore(state, { pid, is32Bit, tid: thread.tid, batch, keepsParent: this.#keepsParent });
      batch.run();
      if (index === 0) agent.pause();
    });
  }

  /** What all its threads are born with. A filter might not let a leader end: there it is the first of the others that has it. */
  #bequeathToThreads(): void {
    const agent = this.#live;
    const { threads } = this.plan;
    const isMet = threads.some(({ aspects }) =>
      aspects.some(({ aspect, state }) => aspect.needsSuspendedSeccomp?.(state) === true),
    );
    // Threads that are born from now on have it too (ptrace(2): the options are inherited).
    if (isMet) setOptions(agent.task.tid, TRACING | PTRACE.PTRACE_O_SUSPEND_SECCOMP);
    if (this.#firstThread === 0) this.#bequeath(new CallBatch(agent));
    agent.pause();
  }

  #bequeath(batch: CallBatch): void {
    for (const { aspect } of must(this.plan.threads[0]).aspects) aspect.bequeath?.(this.#statesOf(aspect), { batch });
    batch.run();
  }

  /** Those of all threads, the leader's first. */
  #statesOf({ name }: ThreadAspect<unknown>): unknown[] {
    return this.plan.threads.map(({ aspects }) => must(aspects.find(({ aspect }) => aspect.name === name)).state);
  }

  /** The leader last: it is where calls of the process are made. */
  #finishThreads(tasks: readonly StoppedTask[]): void {
    const agent = this.#live;
    agent.pause();
    const finish = (batch: CallBatch, aspects: PlannedThread['aspects']): void => {
      for (const { aspect, state } of aspects) aspect.finish?.(state, { batch }, this.#statesOf(aspect));
      for (const { aspect, state } of this.plan.aspects) aspect.finish?.(state, { batch });
      batch.run();
    };
    const { threads, endedLeader } = this.plan;
    threads.forEach(({ aspects }, place) => {
      const index = this.#firstThread + place;
      if (index > 0) finish(new CallBatch(new ThreadCalls(agent, must(tasks[index]), index)), aspects);
    });
    const batch = new CallBatch(agent);
    if (endedLeader !== undefined) prepareLeader(batch, endedLeader.comm);
    finish(batch, endedLeader === undefined ? must(threads[0]).aspects : []);
  }

  /** Our side of the agent; the process is killed whole. */
  forget(): void {
    this.#agent?.forget();
  }
}

const COMM_SIZE = 16;

/** A leader that ends: /proc shows its name, and the kernel heeds its parent death signal, which the program that it began as has set (prctl(2)). */
function prepareLeader(batch: CallBatch, comm: string): void {
  const name = Buffer.alloc(COMM_SIZE);
  name.write(comm.slice(0, COMM_SIZE - 1), 'latin1');
  batch.call('name the leader', SYS.prctl, PR.PR_SET_NAME, batch.bytes(name).address);
  batch.call('clear its parent death signal', SYS.prctl, PR.PR_SET_PDEATHSIG, 0);
}

/** In the table of a task. */
function closeAllBut(batch: CallBatch, numbers: readonly number[]): void {
  let first = 0;
  for (const number of [...numbers].sort((a, b) => a - b)) {
    if (number > first) batch.call('close what was inherited', SYS.close_range, first, number - 1, 0);
    first = number + 1;
    if (!batch.hasRoomFor(2, 0)) batch.run();
  }
  batch.call('close what was inherited', SYS.close_range, first, 0xffffffff, 0);
  batch.run();
}

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('the plan is inconsistent');
  return value;
}
