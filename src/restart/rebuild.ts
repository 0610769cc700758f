/**
 * Rebuild: all processes of a tree are made, each by who made it or by who could have, and stand still until they are resumed.
 * Until then they die with us.
 */

import { existsSync } from 'node:fs';
import type { Step } from '../image/hierarchy.ts';
import type { SharedPart } from '../image/shared-births.ts';
import type { ExitedRecord } from '../image/tree.ts';
import { PR } from '../kernel/abi/prctl.ts';
import { CLONE } from '../kernel/abi/sched.ts';
import { KERNEL_SIGSET_SIZE, SIG_DFL, SIG_IGN, SIGNAL } from '../kernel/abi/signal.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import { WAIT } from '../kernel/abi/wait.ts';
import { executableFromBytes } from '../kernel/calls/descriptors.ts';
import { getRegisterFile, interruptIfAlive, trySeize } from '../kernel/calls/ptrace.ts';
import { spawnProgram } from '../kernel/calls/spawn.ts';
import { sendSignal } from '../kernel/calls/task-attributes.ts';
import { waitForEnd } from '../kernel/calls/wait.ts';
import { check } from '../kernel/errors.ts';
import type { NativeMemory } from '../kernel/native-memory.ts';
import type { StoredPiece } from '../pages/stored-pages.ts';
import { readPidMax, unlessMissing } from '../procfs/proc-file.ts';
import { readStat } from '../procfs/stat.ts';
import { listTasks } from '../procfs/tasks.ts';
import { asPid, asTid, type LocalFd, localFd, type Pid } from '../support/brand.ts';
import { CleanupStack } from '../support/cleanup-stack.ts';
import { QuicksaveError } from '../support/errors.ts';
import { Agent } from '../tracee/agent.ts';
import { StoppedTask, waitForInterruptStop } from '../tracee/stopped-task.ts';
import { ALL_SIGNALS, endBy, endWith, execute, type Fork, fork, type Maker, nameTask, TRACING } from './births.ts';
import { CgroupPlacement } from './cgroup-placement.ts';
import { continueClocks } from './clocks.ts';
import { exitStatus, killedBy } from './exited.ts';
import type { LazyLoading } from './lazy-loading.ts';
import { ownersOf } from './memory-owners.ts';
import type { RestartPlan } from './plan.ts';
import type { ProcessPlan } from './process-plan.ts';
import { ProcessRebuild, type RebuiltProcessTree } from './process-rebuild.ts';
import { RestoredObjects } from './restored-objects.ts';
import { type MemorySharing, planSharing } from './sharing.ts';

export interface RebuildOptions {
  /** Our own pid, or our parent's: then the root becomes its child. */
  readonly parent: number;
  /** False if that parent is about to end. */
  readonly keepsParent: boolean;
  readonly pages: SharedPages | undefined;
  /** Pages may come when it runs already. */
  readonly lazy?: LazyLoading | undefined;
}

/** Where the pages of a memory are in the image, and who puts some of them into a process. Of a stream that is not known. */
export interface SharedPages {
  readonly piecesOf: (memory: number) => readonly StoredPiece[];
  readonly load: (pid: Pid, pieces: readonly StoredPiece[]) => void;
}

export class Rebuild {
  readonly #plan: RestartPlan;
  readonly #options: RebuildOptions;
  readonly #cleanup = new CleanupStack();
  readonly #objects: RestoredObjects;
  readonly #cgroups: CgroupPlacement;
  readonly #processes: readonly ProcessRebuild[];
  readonly #byPid = new Map<number, ProcessRebuild>();
  readonly #sharing: ReadonlyMap<number, MemorySharing>;
  /** Processes that share a descriptor table, each group in the order of the plan. */
  readonly #tables: readonly (readonly ProcessRebuild[])[];
  /** Helpers and those that are to end: tasks of a process's memory, by pid. */
  readonly #forked = new Map<number, Maker>();
  readonly #mirror: NativeMemory;

  constructor(plan: RestartPlan, options: RebuildOptions) {
    this.#plan = plan;
    this.#options = options;
    this.#objects = new RestoredObjects(plan);
    this.#cgroups = new CgroupPlacement(plan.cgroups);
    const common = { objects: this.#objects, mappedFiles: plan.mappedFiles, cgroups: this.#cgroups };
    this.#sharing =
      options.pages === undefined || plan.processes.length === 1
        ? new Map()
        : planSharing(plan.processes, plan.hierarchy.steps, options.pages.piecesOf);
    const plans = new Map<number, ProcessPlan>(plan.processes.map((one) => [one.pid, one]));
    const owners = ownersOf(plan.processes, plan.hierarchy.steps);
    for (const { pid, maker } of [{ pid: plan.pid, maker: 0 }, ...makesIn(plan.hierarchy.steps)]) {
      const one = plans.get(pid);
      if (one === undefined) continue;
      const isRoot = pid === plan.pid;
      const sharing = this.#sharing.get(pid);
      const hasTable = plan.births.get(pid)?.gets.has('files') === true;
      const host = this.#byPid.get(owners.get(one.memory) ?? pid);
      const bornOf = hasTable || sharing?.born !== undefined ? ownerOf(this.#byPid.get(maker)) : undefined;
      this.#byPid.set(
        pid,
        new ProcessRebuild(one, common, {
          keepsParent: isRoot ? options.keepsParent : keepsChildren(plans.get(one.parent ?? 0)),
          sharing,
          bornOf,
          host,
          guests: plan.processes.filter((other) => other.memory === one.memory && other.pid !== pid),
        }),
      );
    }
    this.#processes = plan.processes.map(({ pid }) => must(this.#byPid.get(pid)));
    this.#tables = tablesOf(this.#processes);
    const layouts = this.#processes.map(({ agentLayout }) => agentLayout);
    const blocks = Math.max(...layouts.map((layout) => layout.blocks));
    // One for all agents: each batch is run before another agent's begins.
    this.#mirror = Agent.prepareMirror({ ...must(layouts[0]), blocks });
    this.#cleanup.push(() => this.#mirror.free());
  }

  /** All processes, their memory maps complete but for the pages. */
  buildSkeleton(streams: readonly [number, number, number]): void {
    this.#cgroups.makeMissing((undo) => this.#cleanup.push(undo));
    this.#makeRoot();
    const world: Parameters<RestoredObjects['make']>[1] = {
      standardStream: (number) => localFd(streams[number]),
      process: (pid) => this.#byPid.get(pid)?.rebuilt,
      root: () => must(this.#processes[0]).rebuilt,
    };
    this.#objects.make('leading', world);
    for (const step of this.#plan.hierarchy.steps) this.#take(step);
    this.#endExited();
    this.#stopStopped();
    this.#leaveShared();
    for (const sharers of this.#tables) takeDescriptors(sharers);
    for (const process of this.#processes) process.clear();
    this.#objects.make('others', world);
    for (const process of this.#processes) process.makeMemory(this.#options.lazy);
  }

  /** All are born: who has only passed something on has it no more. */
  #leaveShared(): void {
    for (const [pid, { leaves }] of this.#plan.births) {
      if (leaves.size > 0) this.#call(pid, 'have a table or directory of its own', SYS.unshare, flagsOf(leaves));
    }
  }

  #makeRoot(): void {
    const root = must(this.#processes[0]);
    const { pid, layoutBits } = root.plan;
    const { parent } = this.#options;
    const stub = root.stub(parent);
    const executable = executableFromBytes('quicksave', stub.image);
    if (this.#plan.clocks !== undefined) continueClocks(this.#plan.clocks);
    try {
      spawnProgram(executable.number, { pid, asSibling: parent !== process.pid, layoutBits });
    } finally {
      executable.close();
    }
    this.#cleanup.push(() => killAndReap(pid));
    const tid = asTid(pid);
    if (trySeize(tid, TRACING) !== 'seized')
      throw new QuicksaveError('not-permitted', `Process ${pid} could not be taken over.`);
    interruptIfAlive(tid);
    waitForInterruptStop(tid);
    this.#cgroups.placeProcess(pid);
    root.takeOver(new StoppedTask(tid, getRegisterFile(tid), ALL_SIGNALS), stub, this.#mirror);
    // Inherited by all: who ends before all stands is gone at once, and nobody is told.
    setChildAction(root, SIG_IGN);
  }

  #take(step: Step): void {
    if (step.what === 'make') this.#make(step.pid, step.maker, step.asSibling);
    else if (step.what === 'make-orphan') this.#makeOrphan(step.pid, step.maker, step.parent);
    else if (step.what === 'make-helper')
      this.#forked.set(step.pid, this.#fork(step.pid, step.maker, { asSibling: false, exitSignal: SIGNAL.SIGCHLD }));
    else if (step.what === 'begin-session') this.#beginSession(step.pid);
    else if (step.what === 'begin-group') this.#call(step.pid, 'begin a process group', SYS.setpgid, 0, 0);
    else if (step.what === 'join-group') this.#call(step.pid, `join group ${step.group}`, SYS.setpgid, 0, step.group);
    else endWith(must(this.#forked.get(step.pid)), 0);
  }

  /** Its children are born with what it has as its leader. */
  #beginSession(pid: number): void {
    this.#call(pid, 'begin a session', SYS.setsid);
    const leader = this.#byPid.get(pid)?.rebuilt;
    if (leader !== undefined) this.#objects.begin(leader);
  }

  #make(pid: number, maker: number, asSibling: boolean): void {
    const exited = this.#plan.exited.find((one) => one.pid === pid);
    if (exited !== undefined) {
      const task = this.#fork(pid, maker, { asSibling, exitSignal: exited.exitSignal });
      nameTask(task, exited.comm);
      this.#forked.set(pid, task);
      return;
    }
    const rebuild = must(this.#byPid.get(pid));
    const { layoutBits, exitSignal, parent } = rebuild.plan;
    const how = { asSibling, exitSignal, shared: flagsOf(this.#plan.births.get(pid)?.gets ?? new Set()) };
    const joining = this.#plan.memoryBirths.get(pid);
    if (joining !== undefined) {
      const shared = how.shared | CLONE.CLONE_VM | (joining.handlers ? CLONE.CLONE_SIGHAND : 0);
      const born = this.#fork(pid, maker, { ...how, shared });
      this.#cgroups.placeProcess(asPid(pid));
      rebuild.join(born, this.#mirror);
      return;
    }
    if (rebuild.bornOf !== undefined) {
      rebuild.bornOf.bequeath(this.#options.pages?.load);
      const born = this.#fork(pid, maker, how);
      this.#cgroups.placeProcess(asPid(pid));
      rebuild.beBorn(born, this.#mirror);
      return;
    }
    const stub = rebuild.stub(parent ?? maker);
    const executable = executableFromBytes('quicksave', stub.image);
    try {
      const born = this.#fork(pid, maker, how);
      this.#cgroups.placeProcess(asPid(pid));
      const task = execute(born, `/proc/${process.pid}/fd/${executable.number}`, layoutBits);
      rebuild.takeOver(task, stub, this.#mirror);
    } finally {
      executable.close();
    }
  }

  /** A helper makes it and ends; then the kernel looks for the nearest subreaper. */
  #makeOrphan(pid: number, maker: number, parent: number): void {
    const reaper = must(this.#byPid.get(parent));
    const helper = spareNumber(new Set(numbersIn(this.#plan)));
    setSubreaper(reaper, true);
    this.#forked.set(helper, this.#fork(helper, maker, { asSibling: false, exitSignal: SIGNAL.SIGCHLD }));
    this.#make(pid, helper, false);
    endWith(must(this.#forked.get(helper)), 0);
    this.#forked.delete(helper);
    setSubreaper(reaper, false);
    if (readStat(asPid(pid)).ppid !== reaper.plan.pid) {
      throw new QuicksaveError('odd-session', `Process ${pid} did not become a child of ${parent}.`);
    }
  }

  #fork(pid: number, maker: number, how: Fork): Maker {
    this.#cleanup.push(() => killAndReap(asPid(pid)));
    return fork(this.#maker(maker), asPid(pid), how);
  }

  #maker(pid: number): Maker {
    return this.#forked.get(pid) ?? must(this.#byPid.get(pid)).maker;
  }

  #call(pid: number, doing: string, number: number, ...args: number[]): void {
    const forked = this.#forked.get(pid);
    if (forked === undefined) must(this.#byPid.get(pid)).inside((batch) => batch.call(doing, number, ...args));
    else check(`syscall ${number}`, forked.task.tryCall(forked.site, number, ...args), { doing, pid });
  }

  /** Their parents hear of it, but take no notice: what was pending for them is queued later. */
  #endExited(): void {
    const parents = new Map<number, ExitedRecord[]>();
    for (const one of this.#plan.exited) parents.set(one.parent, [...(parents.get(one.parent) ?? []), one]);
    for (const [pid, ended] of parents) {
      const parent = must(this.#byPid.get(pid));
      setChildAction(parent, SIG_DFL);
      for (const one of ended) {
        const task = must(this.#forked.get(one.pid));
        const signal = killedBy(one);
        if (signal === 0) endWith(task, exitStatus(one));
        else endBy(task, signal);
      }
      forgetSignals(parent, new Set(ended.map(({ exitSignal }) => exitSignal)));
      setChildAction(parent, SIG_IGN);
    }
  }

  #stopStopped(): void {
    for (const { plan, maker } of this.#processes.filter(({ plan: { stopped } }) => stopped !== undefined)) {
      maker.task.enterGroupStop();
      if (plan.stopped !== 'reported' || plan.parent === undefined) continue;
      const parent = must(this.#byPid.get(plan.parent));
      parent.inside((batch) =>
        batch.call('hear of a stopped child', SYS.wait4, plan.pid, 0, WAIT.WUNTRACED | WAIT.WNOHANG, 0),
      );
    }
  }

  /** Our descriptor for the bytes of an object, undefined if it takes none. */
  contentTarget(objref: number): LocalFd | undefined {
    return this.#objects.contentTarget(objref);
  }

  /** The process whose memory this object of the image is. */
  pidOf(objref: number): Pid | undefined {
    return this.#ownerOf(objref)?.plan.pid;
  }

  /** What of the pages of a memory is still to be put into it; undefined: all. */
  remaining(objref: number): readonly StoredPiece[] | undefined {
    return this.#sharing.get(this.#ownerOf(objref)?.plan.pid ?? 0)?.rest.load;
  }

  #ownerOf(memory: number): ProcessRebuild | undefined {
    return this.#processes.find(({ plan, host }) => host === undefined && plan.memory === memory);
  }

  /** Everything behind the pages. */
  complete(): RebuiltProcessTree[] {
    this.#objects.settle();
    // Files that are mapped have had numbers in tables until then.
    for (const process of this.#processes) process.finishMemory();
    for (const [first, ...others] of this.#tables) for (const one of others) one.useTableOf(must(first));
    const rebuilt = this.#processes.map((process) => {
      const one = process.complete();
      if (one.standIn !== undefined) {
        const saver = asPid(one.standIn.tid);
        this.#cleanup.push(() => killAndReap(saver));
      }
      return one;
    });
    this.#objects.close();
    this.#objects.setConnectionsGoing();
    return rebuilt;
  }

  /** What has become otherwise than the plan says. */
  get remarks(): readonly string[] {
    return this.#cgroups.remarks;
  }

  /** Ends whatever has been made. Nothing is left afterwards. */
  abandon(): void {
    for (const process of this.#processes) process.forget();
    this.#cleanup.run();
    this.#objects.abandon();
  }

  /** The processes stand by themselves now. */
  release(): void {
    this.#cleanup.release();
    this.#mirror.free();
  }
}

/** The end of a leader is told to its children, whose parent it was (forget_original_parent() in the kernel). */
const keepsChildren = (parent: ProcessPlan | undefined): boolean => parent?.endedLeader === undefined;

/** Whose memory it has. */
const ownerOf = (process: ProcessRebuild | undefined): ProcessRebuild | undefined => process?.host ?? process;

/** Who makes whom. */
const makesIn = (steps: readonly Step[]): { pid: number; maker: number }[] =>
  steps.flatMap((step) => (step.what === 'make' || step.what === 'make-orphan' ? [step] : []));

function tablesOf(processes: readonly ProcessRebuild[]): ProcessRebuild[][] {
  const found = new Map<number, ProcessRebuild[]>();
  for (const process of processes) {
    const sharers = found.get(process.plan.table) ?? [];
    found.set(process.plan.table, sharers);
    sharers.push(process);
  }
  return [...found.values()];
}

/** Leaves nothing in a table but the doorbells of those that have it, above all that the image has. */
function takeDescriptors(sharers: readonly ProcessRebuild[]): void {
  const needed = sharers.reduce((sum, one) => sum + one.mappedNumbers, 0);
  const least = Math.max(needed, ...sharers.map(({ tableEnd }) => tableEnd));
  for (const one of sharers) one.moveDoorbell(least);
  must(sharers[0]).closeAllBut(sharers.map(({ doorbell }) => doorbell));
}

const flagsOf = (parts: ReadonlySet<SharedPart>): number =>
  (parts.has('files') ? CLONE.CLONE_FILES : 0) | (parts.has('fileSystem') ? CLONE.CLONE_FS : 0);

const KERNEL_SIGACTION_SIZE = 32;

/** What a process does on SIGCHLD: SIG_IGN or SIG_DFL. */
function setChildAction(process: ProcessRebuild, handler: number): void {
  process.inside((batch) => {
    const action = batch.data(KERNEL_SIGACTION_SIZE);
    action.bytes.writeBigUInt64LE(BigInt(handler), 0);
    batch.call('set the action of SIGCHLD', SYS.rt_sigaction, SIGNAL.SIGCHLD, action.address, 0, KERNEL_SIGSET_SIZE);
  });
}

/** While it is one, it gets the orphans among its descendants (prctl(2), PR_SET_CHILD_SUBREAPER). */
function setSubreaper(process: ProcessRebuild, is: boolean): void {
  process.inside((batch) => batch.call('be a subreaper for a while', SYS.prctl, PR.PR_SET_CHILD_SUBREAPER, is ? 1 : 0));
}

/** Every number that the tree will need. */
const numbersIn = ({ processes, exited, hierarchy }: RestartPlan): number[] => [
  ...processes.flatMap(({ pid, threads, saver }) => [
    pid as number,
    ...threads.map(({ tid }) => tid as number),
    ...(saver === undefined ? [] : [saver.tid]),
  ]),
  ...exited.map(({ pid }) => pid),
  ...hierarchy.helpers,
];

/** A number that nobody has, for a moment: the kernel gives the highest ones last. */
function spareNumber(taken: ReadonlySet<number>): number {
  for (let number = readPidMax() - 1; number > 1; number--) {
    if (!taken.has(number) && !existsSync(`/proc/${number}`)) return number;
  }
  throw new QuicksaveError('no-room', 'There is no free process id.', { remedy: 'End some processes first.' });
}

/** Takes these signals out of its queue. */
function forgetSignals(process: ProcessRebuild, signals: ReadonlySet<number>): void {
  const mask = [...signals].reduce((sum, signal) => (signal === 0 ? sum : sum | (1n << BigInt(signal - 1))), 0n);
  if (mask === 0n) return;
  process.inside((batch) => {
    const set = batch.data(8);
    set.bytes.writeBigUInt64LE(mask);
    const noTime = batch.data(16);
    for (let index = 0; index < signals.size; index++) {
      batch.tryCall('forget a signal', SYS.rt_sigtimedwait, set.address, 0, noTime.address, KERNEL_SIGSET_SIZE);
    }
  });
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
