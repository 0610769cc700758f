/** One save, from freeze to release: what it needs is made before the target stands still. */
import { waitForEnd } from '../kernel/calls/wait.ts';
import { type XsaveLayout, xsaveLayout } from '../kernel/cpu.ts';
import type { NativeMemory } from '../kernel/native-memory.ts';
import type { OwnedFd } from '../kernel/owned-fd.ts';
import type { PageCrew } from '../pages/page-crew.ts';
import { unlessMissing } from '../procfs/proc-file.ts';
import { readStatus } from '../procfs/status.ts';
import { speakerOf } from '../procfs/tasks.ts';
import type { Waiting } from '../procfs/waiting.ts';
import { ConnectionKeeper } from '../resources/connection-keeper.ts';
import type { Pid } from '../support/brand.ts';
import { CleanupStack } from '../support/cleanup-stack.ts';
import type { Problem } from '../support/errors.ts';
import { Agent } from '../tracee/agent.ts';
import { isSubreaper } from '../tracee/snapshot.ts';
import type { StoppedTask } from '../tracee/stopped-task.ts';
import { AGENT_LAYOUT, endedMeanwhile, hasEnded, type Visited, type VisitedHost, visit } from './agent-visit.ts';
import { inLeader } from './asking.ts';
import { type CollectedTree, collectTree } from './collect.ts';
import { writeContent } from './content.ts';
import { type FrozenTree, freezeTree, letGo } from './freeze.ts';
import { frozenCgroupObstacles } from './frozen-cgroups.ts';
import {
  arenaFor,
  arenaForWritten,
  foreseenStandstill,
  type GatheredPages,
  type GatheredProcess,
  type GatherOptions,
  gatherPages,
  isSmall,
} from './gather-pages.ts';
import type { MappingsReader } from './mappings-reader.ts';
import { guestsOf, Hosts } from './memory-hosts.ts';
import type { OutsiderSearch } from './outsiders.ts';
import type { ParentImage } from './parent-image.ts';
import { type OursInTarget, type ProcessSurvey, surveyTree, type TreeSurvey } from './preflight.ts';
import { readableRelatives, relativesIn } from './relatives.ts';
import { type CheckpointRequest, type CheckpointSummary, policyOf } from './request.ts';
import { refusedRestart } from './restart-ahead.ts';
import { outsideObstacles } from './running-survey.ts';
import { frozenSeccompObstacles } from './sandboxes.ts';
import { SaveClock } from './save-clock.ts';
import { describeSaver, refuseOtherParent } from './saver.ts';
import { noteWaits, type TimedWait, timedWaits } from './timed-waits.ts';
import type { Tracking } from './tracking.ts';
import { type ImageStream, writeTree } from './write-image.ts';
import { type WrittenPages, writePages } from './write-pages.ts';

export type Refuse = (pid: Pid, problems: readonly Problem[]) => void;

/** A tree that stands still, and all that is known of it. */
export interface StoppedTree {
  readonly frozen: FrozenTree;
  readonly visited: readonly Visited[];
  readonly survey: TreeSurvey;
  readonly tree: CollectedTree;
}

/** What is known and at hand before the target stands still. */
export interface Prepared {
  readonly crew: PageCrew;
  readonly outsiders: OutsiderSearch;
  readonly mappings: MappingsReader;
  readonly waits: ReadonlyMap<number, Waiting>;
  /** The processes of the tree as it runs: there may be others when it stands still. */
  readonly pids: readonly Pid[];
  readonly parent: ParentImage | undefined;
  /** How much the programs have written since that, as far as it is tracked. */
  readonly writtenBytes: number;
  readonly tracking: Tracking | undefined;
  readonly refuse: Refuse;
}

interface Saved extends WrittenPages, Pick<StoppedTree, 'frozen' | 'tree'> {
  readonly remarks: readonly string[];
}

export const residentBytes = (pid: Pid): number =>
  (unlessMissing(() => readStatus(speakerOf(pid)))?.memory?.residentKiB ?? 0) * 1024;

export class Save {
  readonly #request: CheckpointRequest;
  readonly #prepared: Prepared;
  readonly #layout: XsaveLayout;
  readonly #mirror: NativeMemory;
  readonly #arena: NativeMemory | undefined;
  readonly #forWritten: NativeMemory | undefined;
  readonly #release = new CleanupStack();
  readonly #connections: ConnectionKeeper;
  readonly #clock = new SaveClock();
  /** While they stand still. */
  #visited: Visited[] = [];
  #frozenAt = 0;
  #pauseMs = 0;

  constructor(request: CheckpointRequest, prepared: Prepared) {
    this.#request = request;
    this.#prepared = prepared;
    this.#connections = new ConnectionKeeper(request.tcp, request.kill);
    this.#layout = xsaveLayout();
    this.#mirror = Agent.prepareMirror(AGENT_LAYOUT);
    prepared.crew.prepareToSave();
    this.#arena = arenaFor(prepared.pids.map(residentBytes), request.kill);
    this.#forWritten = request.kill ? undefined : arenaForWritten(prepared.writtenBytes);
  }

  /** What a save would find, and why it could not let the program go on at once: everything but its pages, of which none is read. */
  look<T>(use: (stopped: StoppedTree, remarks: readonly string[]) => T): T {
    try {
      const stopped = this.#unlessEnded(() => this.#standStill());
      const { contents } = stopped.tree;
      this.#release.push(() => {
        for (const { own } of contents) own.close();
      });
      const isLarge = ({ pid }: GatheredProcess): boolean => !isSmall(residentBytes(pid));
      const { kill } = this.#request;
      return use(stopped, kill ? [] : foreseenStandstill(this.#toGather(stopped), isLarge));
    } finally {
      this.#letGo();
    }
  }

  /** `stream` has its HEAD already. */
  run(stream: ImageStream, started: number): CheckpointSummary {
    const { output, pid, kill } = this.#request;
    let saved: Saved;
    try {
      saved = this.#unlessEnded(() => this.#whileFrozen(stream));
      stream.writer.timeline(this.#clock.timeline(started));
      stream.end();
      output.commit();
      if (kill) this.#killTree(saved.frozen);
    } finally {
      this.#letGo();
    }
    const { processes } = saved.tree;
    return {
      pid,
      processes: processes.length,
      threads: processes.reduce((sum, { threads }) => sum + threads.length, 0),
      pages: saved.pages,
      parentPages: saved.parentPages,
      relativePages: saved.relativePages,
      pageBytes: saved.rawBytes,
      storedBytes: saved.storedBytes,
      imageBytes: stream.writtenBytes,
      pauseMs: this.#pauseMs,
      totalMs: performance.now() - started,
      killed: kill,
      remarks: [...saved.tree.remarks, ...saved.remarks],
    };
  }

  /** What has to be done while nothing in the target moves. The target goes on as soon as it is done, unless it is to end. */
  #whileFrozen(stream: ImageStream): Saved {
    const stopped = this.#standStill();
    const written = this.#gatherAndWrite(stream, stopped);
    const { kill } = this.#request;
    if (!kill) this.#releaseTarget();
    const remarks = kill ? refusedRestart(stopped.tree, stopped.survey.descriptors) : [];
    return { ...stopped, ...written, remarks: [...written.remarks, ...remarks] };
  }

  /** What fails in the middle because somebody has ended a process of the tree is said as that. */
  #unlessEnded<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      refuseEnded(this.#visited);
      throw error;
    }
  }

  #standStill(): StoppedTree {
    const { pid, kill, savesItself } = this.#request;
    const { refuse } = this.#prepared;
    this.#request.onPages(0, 0);
    const timed = this.#prepared.pids.map((one) => tryLook(() => timedWaits(one)) ?? new Map<number, TimedWait>());
    this.#frozenAt = performance.now();
    this.#clock.note('stoppingUs', this.#frozenAt);
    const frozen = freezeTree(pid, (one) => savesItself && one === process.pid);
    this.#clock.note('stoppedUs');
    for (const one of frozen.processes) this.#release.push(() => letGo(one));
    this.#release.push(() => this.#connections.close());
    const waits = new Map(timed.flatMap((found) => [...found]));
    for (const one of frozen.processes) noteWaits(one, waits, this.#frozenAt);
    if (savesItself) refuseOtherParent(pid);
    // Frozen since it was looked at; threads apart from their processes were looked at then.
    refuse(
      pid,
      frozen.processes.flatMap(({ pid: one, tasks }) =>
        frozenCgroupObstacles(
          one,
          tasks.slice(0, 1).map(({ tid }) => tid),
        ),
      ),
    );
    refuse(pid, frozen.processes.flatMap(frozenSeccompObstacles));
    const leaders = frozen.processes.map(({ tasks }) => tasks[0]);
    const { last } = this.#prepared.outsiders.parts;
    const visiting = {
      ...{ mirror: this.#mirror, hosts: new Hosts<VisitedHost>(), undo: this.#release },
      guestsOf: (leader: StoppedTask) => guestsOf(leader, leaders, last),
    };
    for (const one of frozen.processes) this.#visited.push(visit(one, visiting));
    const visited: readonly Visited[] = [...this.#visited];
    const survey = this.#survey(visited);
    const problems = [...survey.problems];
    // What is ended must be whole in the image; a program that goes on need not wait for another look at the whole host.
    if (kill) problems.push(...outsideObstacles(survey));
    if (problems.length > 0) refuseEnded(visited);
    refuse(pid, problems);
    const tree = collectTree({
      processes: visited.map((one, index) => ({
        ...one,
        pidfd: one.pidfd.number,
        survey: must(survey.processes[index]),
      })),
      exited: frozen.exited,
      descriptors: survey.descriptors,
      parts: survey.parts,
      layout: this.#layout,
      waits: this.#prepared.waits,
      connections: this.#connections,
      saver: savesItself ? describeSaver() : undefined,
      problems,
    });
    refuse(pid, problems);
    this.#clock.note('collectedUs');
    return { frozen, visited, survey, tree };
  }

  #survey(visited: readonly Visited[]): TreeSurvey {
    const ours = new Map<Pid, OursInTarget>(
      visited.map(({ frozen: { pid }, agent, isGuest }) => [
        pid,
        { descriptors: isGuest ? new Set() : agent.ownDescriptors, mappings: new Set([agent.code, agent.mailbox]) },
      ]),
    );
    const pids = visited.map(({ frozen }) => frozen.pid);
    const { outsiders, tracking, mappings } = this.#prepared;
    const inFlight: OwnedFd[] = [];
    this.#release.push(() => {
      for (const one of inFlight) one.close();
    });
    const oursIn = (pid: Pid): OursInTarget => must(ours.get(pid));
    const outside = policyOf(this.#request);
    return surveyTree(pids, {
      outsiders,
      keepers: tracking?.keepers,
      readMappings: mappings.still,
      oursIn,
      outside,
      inFlight,
    });
  }

  /** The programs go on as soon as their pages are safe. */
  #gatherAndWrite(stream: ImageStream, stopped: StoppedTree): Omit<Saved, 'frozen' | 'tree'> {
    const { tree } = stopped;
    const toGather = this.#toGather(stopped);
    const { processes, hasSubreaper } = toGather;
    const { kill } = this.#request;
    const gathered = gatherPages({ ...toGather, kill, arena: this.#arena, forWritten: this.#forWritten });
    this.#clock.note('securedUs');
    try {
      const remarks = this.#track(processes, hasSubreaper);
      if (gathered.mayGoOn) this.#releaseTarget();
      return { ...this.#write(stream, tree, gathered), remarks: [...gathered.remarks, ...remarks] };
    } finally {
      for (const source of gathered.sources) source.close();
      for (const { own } of gathered.contents) own.close();
    }
  }

  #toGather({ visited, survey, tree }: StoppedTree): Pick<GatherOptions, 'processes' | 'hasSubreaper' | 'contents'> {
    const processes = visited.flatMap(({ agent, isGuest }, index): GatheredProcess[] => {
      if (isGuest) return [];
      const objref = must(tree.processes[index]).task.memory;
      const surveyed = must(survey.processes[index]);
      const tracked = this.#trackedSinceParent(surveyed);
      const isAlone = visited.length === 1;
      return [{ pid: agent.pid, agent, objref, mappings: surveyed.mappings, tracked, scans: new Map(), isAlone }];
    });
    const hasSubreaper = (): boolean =>
      visited.some((one) => inLeader(must(one.frozen.tasks[0]), one, ({ runner }) => isSubreaper(runner)));
    return { processes, hasSubreaper, contents: tree.contents };
  }

  /** Mappings whose pages need not be read, as far as they were not written since the parent image was made. */
  #trackedSinceParent(survey: ProcessSurvey): ReadonlySet<number> {
    return trackedSince(this.#prepared.parent, survey);
  }

  /** What was written is known: what is written from now on is for the next save. */
  #track(processes: readonly GatheredProcess[], hasSubreaper: () => boolean): string[] {
    const { tracking } = this.#prepared;
    if (!this.#request.track) {
      for (const { pid } of processes) tracking?.end(pid);
      return [];
    }
    // Whoever leaves our own child behind gives it to the next subreaper: the program must not get one that it has not made.
    if (this.#request.savesItself && hasSubreaper()) {
      for (const { pid } of processes) tracking?.end(pid);
      return ['what it writes is not tracked: it is a subreaper, which would become the parent of what keeps track'];
    }
    const untracked = processes.filter(({ agent, mappings }) => {
      const toTrack = mappings.filter(
        ({ mapping, kind }) => !mapping.shared && kind.pages !== 'none' && !kind.isUnforkable,
      );
      const toProtect = toTrack.map(({ mapping }) => mapping);
      return tracking?.begin(agent, toProtect) !== true;
    });
    return untracked.map(({ pid }) => {
      const who = processes.length === 1 ? 'it' : `process ${pid}`;
      return `what ${who} writes is not tracked: the kernel does not protect its memory for that`;
    });
  }

  #write(stream: ImageStream, tree: CollectedTree, { sources, contents, mayGoOn }: GatheredPages): WrittenPages {
    const { output, compression, kill } = this.#request;
    const { writer } = stream;
    const { crew, parent } = this.#prepared;
    const parents = new Map<number, SharedArrayBuffer>();
    for (const { task, hasMemoryOfAnother } of tree.processes) {
      if (hasMemoryOfAnother) continue;
      const known = parent?.memories.get(task.pid);
      if (known !== undefined) parents.set(task.memory, known.pages);
    }
    const named = relativesIn(
      tree.processes.map(({ task }) => task),
      sources,
    );
    writeTree(writer, tree, sources, {
      parentOf: (pid) => parent?.memories.get(pid)?.objref,
      relativesOf: (memory) => named.get(memory) ?? [],
    });
    stream.flush();
    const relatives = readableRelatives(named, sources, parents);
    const order = { stream, crew, output, sources, compression, parents, relatives };
    const written = writePages({ ...order, isWaitedFor: !mayGoOn && !kill });
    for (const content of contents) writeContent(stream, content, written.level);
    this.#clock.note('writtenUs');
    return written;
  }

  /** Ends all and waits for them: a parent hears of an end only when the tracer has. */
  #killTree({ processes }: FrozenTree): void {
    this.#connections.endProcesses(processes.map(({ pid }) => pid));
    for (const { tasks } of [...processes].reverse()) {
      for (const task of [...tasks].reverse()) waitForEnd(task.tid);
    }
  }

  #letGo(): void {
    this.#releaseTarget();
    this.#arena?.free();
    this.#forWritten?.free();
    this.#mirror.free();
  }

  #releaseTarget(): void {
    if (this.#frozenAt === 0) return;
    this.#visited = [];
    this.#release.run();
    const now = performance.now();
    this.#clock.note('resumedUs', now);
    this.#pauseMs = now - this.#frozenAt;
    this.#frozenAt = 0;
  }
}

/** Start addresses of mappings whose writes are tracked since `parent` was made. */
export function trackedSince(
  parent: ParentImage | undefined,
  { process: { pid }, tracked, keeper }: ProcessSurvey,
): ReadonlySet<number> {
  const isSinceParent = parent !== undefined && keeper?.imageId === parent.imageId && parent.memories.has(pid);
  return isSinceParent ? tracked : new Set();
}

/** One that somebody has ended meanwhile looks like many things that it is not. */
function refuseEnded(visited: readonly Visited[]): void {
  const ended = visited.find(hasEnded);
  if (ended !== undefined) throw endedMeanwhile(ended.frozen.pid);
}

/** Of a program that runs: it may have changed under the look. */
function tryLook<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('every process of the tree is known');
  return value;
}
