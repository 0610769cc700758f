/**
 * The script of a save: freeze -> collect -> write image -> release.
 *
 * Everything from freeze to release is synchronous and on one thread, as ptrace(2) demands. Every step on the target has
 * its undo on the stack before it is made, and whatever happens to us the target goes on (see tracee/stopped-task.ts).
 */
import { callsOf64, callsOfI386 } from '../arch/x86/call-abi.ts';
import { resolvedHere } from '../arch/x86/interrupted-call.ts';
import { SIGNAL } from '../kernel/abi/signal.ts';
import { tryOpenPidfd } from '../kernel/calls/descriptors.ts';
import { detachIfAlive } from '../kernel/calls/ptrace.ts';
import { sendSignal } from '../kernel/calls/task-attributes.ts';
import { waitForEnd } from '../kernel/calls/wait.ts';
import { type XsaveLayout, xsaveLayout } from '../kernel/cpu.ts';
import type { NativeMemory } from '../kernel/native-memory.ts';
import type { OwnedFd } from '../kernel/owned-fd.ts';
import { PageCrew } from '../pages/page-crew.ts';
import { is32BitProgram } from '../procfs/exe.ts';
import { unlessMissing } from '../procfs/proc-file.ts';
import { readMaps } from '../procfs/smaps.ts';
import { readStatus } from '../procfs/status.ts';
import { listTasks } from '../procfs/tasks.ts';
import { readWaiting, type Waiting } from '../procfs/waiting.ts';
import { lookAhead } from '../resources/mapped-file.ts';
import type { Pid } from '../support/brand.ts';
import { CleanupStack } from '../support/cleanup-stack.ts';
import { type Problem, QuicksaveError, RefusedError } from '../support/errors.ts';
import { findHole, USER_SPACE_END_32 } from '../tracee/address-space.ts';
import { Agent, type AgentLayout, agentSize } from '../tracee/agent.ts';
import { findVdsoSite, installSite, removeSite, type VdsoSite } from '../tracee/vdso-site.ts';
import { type CollectedTree, collectTree } from './collect.ts';
import type { Compression } from './compression-choice.ts';
import { writeContent } from './content.ts';
import { type FrozenProcess, freezeProcess } from './freeze.ts';
import { arenaFor, type GatheredPages, gatherPages, methodFor, type PageMethod } from './gather-pages.ts';
import { neighbourObstacles, sharedMemoryObstacles } from './neighbours.ts';
import { needingRoom } from './no-room.ts';
import { seccompObstacles } from './odd-threads.ts';
import { discardingOutput, type Output } from './output.ts';
import { OutsiderSearch } from './outsiders.ts';
import { openParentImage, type ParentImage } from './parent-image.ts';
import { type ClassifiedMapping, type Survey, surveyProcess } from './preflight.ts';
import { refuseUnsavable } from './process-view.ts';
import { rehearse } from './rehearsal.ts';
import { describeSaver, refuseOtherParent, refuseStream } from './saver.ts';
import { keeperPid, refuseTracking, Tracking } from './tracking.ts';
import { describeHost, ImageStream, writeTree } from './write-image.ts';
import { type WrittenPages, writePages } from './write-pages.ts';

export interface CheckpointRequest {
  readonly pid: Pid;
  /** The process is our parent, which runs us to be saved: we are no part of the image. */
  readonly savesItself: boolean;
  readonly output: Output;
  /** End the target once the image is safe. */
  readonly kill: boolean;
  readonly compression: Compression;
  /** An earlier image of the process, by its path: pages that are the same are not written again. */
  readonly parent?: string | undefined;
  /** Tracks from now on what the program writes, for a save with this image as its parent. */
  readonly track: boolean;
  /** Called between chunks; may throw to give up. */
  readonly onPages: (doneBytes: number, totalBytes: number) => void;
}

export interface CheckpointSummary {
  readonly pid: number;
  readonly threads: number;
  /** Pages that the image carries. */
  readonly pages: number;
  readonly imageBytes: number;
  /** Pages that are in the parent image, and not in this. */
  readonly parentPages: number;
  /** Pages without those that are zero, and what they take in the image. */
  readonly pageBytes: number;
  readonly storedBytes: number;
  /** How long the target stood still. Undefined if it was ended. */
  readonly pauseMs: number;
  readonly totalMs: number;
  readonly killed: boolean;
  readonly remarks: readonly string[];
}

export function checkpoint(request: CheckpointRequest): CheckpointSummary {
  const started = performance.now();
  const stream = new ImageStream(request.output);
  let crew: PageCrew | undefined;
  let parent: ParentImage | undefined;
  let tracking: Tracking | undefined;
  try {
    try {
      refuseTracking(request);
      if (request.savesItself) refuseStream(request);
      refuseUnsavable(request.pid, request.savesItself);
      // Its threads take a while to begin.
      crew = new PageCrew(residentBytes(request.pid), request.onPages);
      if (request.parent !== undefined) {
        parent = openParentImage(request.parent, request.pid, request.output, crew);
      }
    } finally {
      // Even a refusal ends a stream as an image does.
      stream.head(describeHost(xsaveLayout(), parent?.imageId));
    }
    const outsiders = new OutsiderSearch(request.pid);
    const waits = preflight(request, outsiders);
    const method = methodFor(residentBytes(request.pid), request.kill);
    // How long a program stands still that is to end does not matter.
    if (!request.kill) rehearse((pid) => rehearseSaves(pid, method, started));
    tracking = new Tracking(request.pid);
    const prepared = { crew, outsiders, waits, method, parent, tracking, refuse: refuseIfAny };
    const summary = new Save(request, prepared).run(stream, started);
    tracking.leave(stream.imageId);
    return summary;
  } catch (error) {
    if (!request.output.positioned) stream.fail(error);
    request.output.abandon();
    throw error;
  } finally {
    crew?.dismiss();
    parent?.close();
    tracking?.close();
  }
}

const residentBytes = (pid: Pid): number => (readStatus(pid).memory?.residentKiB ?? 0) * 1024;

/** Refuses before anything is frozen, and reads ahead. The program runs meanwhile: what fails now is found out later. */
function preflight({ pid, savesItself }: CheckpointRequest, outsiders: OutsiderSearch): ReadonlyMap<number, Waiting> {
  const nothing = new Set<number>();
  const isTracked = keeperPid(pid) !== undefined;
  const look = { ignoreDescriptors: nothing, ignoreMappings: nothing, outsiders, savesItself, isTracked };
  const survey = tryOnRunningTarget(pid, savesItself, () => surveyProcess(pid, look));
  const neighbours = tryOnRunningTarget(pid, savesItself, () => neighbourObstacles({ pid, tids: listTasks(pid) }));
  const sharers = tryOnRunningTarget(pid, savesItself, () => sharedMemoryObstacles(pid, survey?.allMappings ?? []));
  refuseIfAny(pid, [...(survey?.problems ?? []), ...(neighbours ?? []), ...(sharers ?? [])]);
  for (const { mapping } of survey?.mappings ?? []) {
    if (mapping.path !== '') tryOnRunningTarget(pid, savesItself, () => lookAhead(mapping.path));
  }
  return tryOnRunningTarget(pid, savesItself, () => restartedWaits(pid)) ?? new Map();
}

/** Threads in restart_syscall(2): in which function of the kernel they wait can only be seen before they are stopped. */
function restartedWaits(pid: Pid): Map<number, Waiting> {
  const found = new Map<number, Waiting>();
  // What 64-bit code of a 32-bit program waits in is not looked for.
  const { restartSyscall } = is32BitProgram(pid) ? callsOfI386 : callsOf64;
  for (const tid of listTasks(pid)) {
    const waiting = unlessMissing(() => readWaiting(pid, tid));
    if (waiting?.call === restartSyscall) found.set(tid, waiting);
  }
  return found;
}

/** Undefined if the look failed because the program has changed under it, as an execve(2) does. */
function tryOnRunningTarget<T>(pid: Pid, savesItself: boolean, look: () => T): T | undefined {
  try {
    return look();
  } catch {
    refuseUnsavable(pid, savesItself);
    return undefined;
  }
}

/** The first one compiles; two more, of 10 ms each, take another third off the pause. A fourth takes nothing. */
const REHEARSALS = 3;

/** A save of nothing to nowhere. */
const rehearsal: Omit<CheckpointRequest, 'pid'> = {
  savesItself: false,
  output: discardingOutput,
  kill: false,
  compression: undefined,
  track: false,
  onPages: () => {
    // Nobody watches a rehearsal.
  },
};

/** Rehearses {@link Save} so often that its code is warm. */
function rehearseSaves(pid: Pid, method: PageMethod, started: number): void {
  const crew = new PageCrew(0, rehearsal.onPages);
  const prepared = {
    crew,
    outsiders: new OutsiderSearch(pid),
    waits: new Map(),
    method,
    parent: undefined,
    tracking: undefined,
    refuse: ignore,
  };
  for (let round = 0; round < REHEARSALS; round++) {
    const stream = new ImageStream(discardingOutput);
    stream.head(describeHost(xsaveLayout()));
    new Save({ ...rehearsal, pid }, prepared).run(stream, started);
  }
}

type Refuse = (pid: Pid, problems: readonly Problem[]) => void;

/** A rehearsal goes on whatever stands in its way. */
const ignore: Refuse = () => {
  // Its image is thrown away.
};

function refuseIfAny(pid: Pid, problems: readonly Problem[]): void {
  if (problems.length === 0) return;
  const reasons = problems.length === 1 ? 'one thing stands' : `${problems.length} things stand`;
  throw new RefusedError(`Process ${pid} cannot be saved: ${reasons} in the way.`, problems);
}

interface Saved extends WrittenPages {
  readonly frozen: FrozenProcess;
  readonly tree: CollectedTree;
  readonly remarks: readonly string[];
}

/** What is known and at hand before the target stands still. */
interface Prepared {
  readonly crew: PageCrew;
  readonly outsiders: OutsiderSearch;
  readonly waits: ReadonlyMap<number, Waiting>;
  readonly method: PageMethod;
  readonly parent: ParentImage | undefined;
  readonly tracking: Tracking | undefined;
  readonly refuse: Refuse;
}

/** One save: what it needs is made before the target stands still. */
class Save {
  readonly #request: CheckpointRequest;
  readonly #prepared: Prepared;
  readonly #layout: XsaveLayout;
  readonly #agentLayout: AgentLayout;
  readonly #mirror: NativeMemory;
  readonly #pidfd: OwnedFd;
  readonly #arena: NativeMemory | undefined;
  readonly #release = new CleanupStack();
  #frozenAt = 0;
  #pauseMs = 0;

  constructor(request: CheckpointRequest, prepared: Prepared) {
    const { pid } = request;
    const pidfd = tryOpenPidfd(pid);
    if (pidfd === undefined) throw new QuicksaveError('no-such-process', `There is no process ${pid}.`);
    this.#request = request;
    this.#prepared = prepared;
    this.#pidfd = pidfd;
    this.#layout = xsaveLayout();
    this.#agentLayout = { maxCalls: 1024, maxDataBytes: 128 * 1024, blocks: 1 };
    this.#mirror = Agent.prepareMirror(this.#agentLayout);
    prepared.crew.prepareToSave();
    this.#arena = arenaFor(prepared.method, residentBytes(pid));
  }

  /** `stream` has its HEAD already. */
  run(stream: ImageStream, started: number): CheckpointSummary {
    const { output, pid, kill } = this.#request;
    const { writer } = stream;
    let saved: Saved;
    try {
      saved = this.#whileFrozen(stream);
      writer.end();
      stream.flush();
      output.commit();
      if (kill) this.#killTarget(saved.frozen);
    } finally {
      this.#releaseTarget();
      this.#close();
    }
    return {
      pid,
      threads: saved.tree.threads.length,
      pages: saved.pages,
      parentPages: saved.parentPages,
      pageBytes: saved.rawBytes,
      storedBytes: saved.storedBytes,
      imageBytes: stream.position,
      pauseMs: this.#pauseMs,
      totalMs: performance.now() - started,
      killed: kill,
      remarks: [...saved.tree.remarks, ...saved.remarks],
    };
  }

  /** What has to be done while nothing in the target moves. The target goes on as soon as it is done, unless it is to end. */
  #whileFrozen(stream: ImageStream): Saved {
    const { pid, kill, savesItself } = this.#request;
    this.#request.onPages(0, 0);
    this.#frozenAt = performance.now();
    const frozen = freezeProcess(pid);
    this.#release.push(() => letGo(frozen));
    if (savesItself) refuseOtherParent(pid);
    // Since the preflight it may have got a filter, which the agent's calls would meet.
    this.#prepared.refuse(pid, seccompObstacles(pid, readStatus(pid)));
    // What is ended must be whole in the image; a program that goes on need not wait for another look at the whole host.
    if (kill) this.#prepared.refuse(pid, neighbourObstacles({ pid, tids: frozen.tasks.map(({ tid }) => tid) }));
    const { agent, site } = needingRoom(pid, () => this.#bringAgentIn(frozen));
    const problems: Problem[] = [];
    const survey = this.#survey(agent, frozen);
    problems.push(...survey.problems, ...(kill ? sharedMemoryObstacles(pid, survey.allMappings) : []));
    this.#prepared.refuse(pid, problems);
    const options = {
      frozen,
      survey,
      agent,
      site,
      pidfd: this.#pidfd.number,
      layout: this.#layout,
      waits: this.#prepared.waits,
      saver: savesItself ? describeSaver() : undefined,
      problems,
    };
    const tree = collectTree(options);
    this.#prepared.refuse(pid, problems);
    const written = this.#gatherAndWrite(stream, tree, survey, agent);
    if (!kill) this.#releaseTarget();
    return { frozen, tree, ...written };
  }

  #bringAgentIn(frozen: FrozenProcess): { agent: Agent; site: VdsoSite } {
    const { pid } = frozen;
    const leader = frozen.tasks[0];
    if (leader === undefined) throw new Error('a frozen process has a leader');
    const maps = readMaps(pid);
    const vdso = maps.find((entry) => entry.special === '[vdso]');
    if (vdso === undefined) throw new QuicksaveError('no-vdso', `Process ${pid} has no vDSO.`);
    const site = findVdsoSite(pid, vdso);
    const home = { registers: resolvedHere(leader.registers, leader.callAbi), signalMask: leader.signalMask };
    const sizeBytes = agentSize(this.#agentLayout);
    const hole = findHole(maps, sizeBytes, is32BitProgram(pid) ? USER_SPACE_END_32 : undefined);
    this.#release.push(() => removeSite(leader.tid, site));
    installSite(leader.tid, site, home, { start: hole, sizeBytes });
    this.#release.push(() => bringHome(leader));
    leader.leaveHome(site);
    const agent = Agent.bringIn({
      pid,
      pidfd: this.#pidfd.number,
      task: leader,
      site,
      hole,
      layout: this.#agentLayout,
      home,
      mirror: this.#mirror,
      undo: (step) => this.#release.push(step),
    });
    return { agent, site };
  }

  #survey(agent: Agent, frozen: FrozenProcess): Survey {
    return surveyProcess(frozen.pid, {
      ignoreDescriptors: agent.ownDescriptors,
      ignoreMappings: new Set([agent.code, agent.mailbox]),
      outsiders: this.#prepared.outsiders,
      savesItself: this.#request.savesItself,
      isTracked: this.#prepared.tracking?.isKept ?? false,
    });
  }

  /** The program goes on as soon as its pages are safe. */
  #gatherAndWrite(
    stream: ImageStream,
    tree: CollectedTree,
    survey: Survey,
    agent: Agent,
  ): WrittenPages & Pick<GatheredPages, 'remarks'> {
    const { mappings } = survey;
    const { method, parent, tracking } = this.#prepared;
    const isSinceParent = parent !== undefined && tracking?.since === parent.imageId;
    const tracked = isSinceParent ? survey.tracked : new Set<number>();
    const gathered = gatherPages({ agent, mappings, contents: tree.contents, method, arena: this.#arena, tracked });
    try {
      const remarks = this.#track(agent, mappings);
      if (gathered.mayGoOn) this.#releaseTarget();
      return { ...this.#write(stream, tree, gathered), remarks: [...gathered.remarks, ...remarks] };
    } finally {
      for (const source of gathered.sources) source.close();
      for (const { own } of gathered.contents) own.close();
    }
  }

  /** What was written is known: what is written from now on is for the next save. */
  #track(agent: Agent, mappings: readonly ClassifiedMapping[]): string[] {
    const { tracking } = this.#prepared;
    if (!this.#request.track) {
      tracking?.end();
      return [];
    }
    const toTrack = mappings.filter(({ mapping, kind }) => !mapping.shared && kind.pages !== 'none');
    const isBegun = tracking?.begin(
      agent,
      toTrack.map(({ mapping }) => mapping),
    );
    return isBegun ? [] : ['what it writes is not tracked: the kernel does not protect its memory for that'];
  }

  #write(stream: ImageStream, tree: CollectedTree, { sources, contents, mayGoOn }: GatheredPages): WrittenPages {
    const { output, compression, kill } = this.#request;
    const { writer } = stream;
    const plans = sources.map(({ plan }) => plan);
    const { crew, parent } = this.#prepared;
    writeTree(writer, tree, plans, parent?.memory);
    stream.flush();
    const order = { writer, crew, output, objref: tree.task.memory, sources, compression, parent: parent?.pages };
    const written = writePages({ ...order, isWaitedFor: !mayGoOn && !kill });
    for (const content of contents) writeContent(stream, content, written.level);
    return written;
  }

  /** Ends the target and waits for it: its parent hears of its end only when the tracer has. */
  #killTarget(frozen: FrozenProcess): void {
    sendSignal(frozen.pid, SIGNAL.SIGKILL);
    for (const task of [...frozen.tasks].reverse()) waitForEnd(task.tid);
  }

  #releaseTarget(): void {
    if (this.#frozenAt === 0) return;
    this.#release.run();
    this.#pauseMs = performance.now() - this.#frozenAt;
    this.#frozenAt = 0;
  }

  #close(): void {
    this.#arena?.free();
    this.#pidfd.close();
  }
}

/** The leader's own mask and registers. */
function bringHome(leader: FrozenProcess['tasks'][number]): void {
  if (leader.isAway) leader.returnHome();
}

function letGo(frozen: FrozenProcess): void {
  for (const task of frozen.tasks) {
    if (task.isAway) task.returnHome();
    detachIfAlive(task.tid);
    if (task.heldStopSignal !== 0) sendSignal(frozen.pid, task.heldStopSignal);
  }
}
