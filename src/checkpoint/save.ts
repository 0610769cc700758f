/** One save, from freeze to release: what it needs is made before the target stands still. */
import type { ImageWriter } from '../image/writer.ts';
import { SIGNAL } from '../kernel/abi/signal.ts';
import { sendSignal } from '../kernel/calls/task-attributes.ts';
import { waitForEnd } from '../kernel/calls/wait.ts';
import { type XsaveLayout, xsaveLayout } from '../kernel/cpu.ts';
import type { NativeMemory } from '../kernel/native-memory.ts';
import type { PageCrew } from '../pages/page-crew.ts';
import type { SharedState } from '../pages/shared-state.ts';
import { unlessMissing } from '../procfs/proc-file.ts';
import { readStatus } from '../procfs/status.ts';
import type { Waiting } from '../procfs/waiting.ts';
import type { Pid } from '../support/brand.ts';
import { CleanupStack } from '../support/cleanup-stack.ts';
import type { Problem } from '../support/errors.ts';
import { Agent } from '../tracee/agent.ts';
import { AGENT_LAYOUT, type Visited, visit } from './agent-visit.ts';
import { type CollectedTree, collectTree } from './collect.ts';
import { writeContent } from './content.ts';
import { type FrozenTree, freezeTree, letGo } from './freeze.ts';
import { arenaFor, type GatheredPages, gatherPages } from './gather-pages.ts';
import { neighbourObstacles, sharedMemoryObstacles } from './neighbours.ts';
import { seccompObstacles } from './odd-threads.ts';
import type { OutsiderSearch } from './outsiders.ts';
import { type OursInTarget, surveyTree, type TreeSurvey } from './preflight.ts';
import type { CheckpointRequest, CheckpointSummary } from './request.ts';
import { describeSaver, refuseOtherParent } from './saver.ts';
import { noteWaits, type TimedWait, timedWaits } from './timed-waits.ts';
import { type ImageStream, pagesIn, writeTree } from './write-image.ts';

export type Refuse = (pid: Pid, problems: readonly Problem[]) => void;

/** What is known and at hand before the target stands still. */
export interface Prepared {
  readonly crew: PageCrew;
  readonly outsiders: OutsiderSearch;
  readonly waits: ReadonlyMap<number, Waiting>;
  /** The processes of the tree as it runs: there may be others when it stands still. */
  readonly pids: readonly Pid[];
  readonly refuse: Refuse;
}

interface WrittenPages {
  readonly pages: number;
  readonly remarks: readonly string[];
}

interface Saved extends WrittenPages {
  readonly frozen: FrozenTree;
  readonly tree: CollectedTree;
}

export const residentBytes = (pid: Pid): number =>
  (unlessMissing(() => readStatus(pid))?.memory?.residentKiB ?? 0) * 1024;

export class Save {
  readonly #request: CheckpointRequest;
  readonly #prepared: Prepared;
  readonly #layout: XsaveLayout;
  readonly #mirror: NativeMemory;
  readonly #arena: NativeMemory | undefined;
  readonly #release = new CleanupStack();
  #frozenAt = 0;
  #pauseMs = 0;

  constructor(request: CheckpointRequest, prepared: Prepared) {
    this.#request = request;
    this.#prepared = prepared;
    this.#layout = xsaveLayout();
    this.#mirror = Agent.prepareMirror(AGENT_LAYOUT);
    prepared.crew.prepareToSave();
    this.#arena = arenaFor(prepared.pids.map(residentBytes), request.kill);
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
      if (kill) killTree(saved.frozen);
    } finally {
      this.#releaseTarget();
      this.#arena?.free();
      this.#mirror.free();
    }
    const { processes } = saved.tree;
    return {
      pid,
      processes: processes.length,
      threads: processes.reduce((sum, { threads }) => sum + threads.length, 0),
      pages: saved.pages,
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
    const { refuse } = this.#prepared;
    this.#request.onPages(0, 0);
    const timed = this.#prepared.pids.map((one) => tryLook(() => timedWaits(one)) ?? new Map<number, TimedWait>());
    this.#frozenAt = performance.now();
    const frozen = freezeTree(pid, (one) => savesItself && one === process.pid);
    for (const one of frozen.processes) this.#release.push(() => letGo(one));
    const waits = new Map(timed.flatMap((found) => [...found]));
    for (const one of frozen.processes) noteWaits(one, waits, this.#frozenAt);
    if (savesItself) refuseOtherParent(pid);
    // Since the preflight one may have got a filter, which the agent's calls would meet.
    refuse(
      pid,
      frozen.processes.flatMap((one) => seccompObstacles(one.pid, readStatus(one.pid))),
    );
    const visited = frozen.processes.map((one) => visit(one, this.#mirror, this.#release));
    const survey = this.#survey(visited);
    const problems = [...survey.problems];
    // What is ended must be whole in the image; a program that goes on need not wait for another look at the whole host.
    if (kill) problems.push(...outsideObstacles(survey));
    refuse(pid, problems);
    const tree = collectTree({
      processes: visited.map((one, index) => ({
        ...one,
        pidfd: one.pidfd.number,
        survey: must(survey.processes[index]),
      })),
      exited: frozen.exited,
      descriptors: survey.descriptors,
      layout: this.#layout,
      waits: this.#prepared.waits,
      saver: savesItself ? describeSaver() : undefined,
      problems,
    });
    refuse(pid, problems);
    const { pages, remarks } = this.#gatherAndWrite(stream, tree, survey, visited);
    if (!kill) this.#releaseTarget();
    return { frozen, tree, pages, remarks };
  }

  #survey(visited: readonly Visited[]): TreeSurvey {
    const ours = new Map<Pid, OursInTarget>(
      visited.map(({ frozen: { pid }, agent }) => [
        pid,
        { descriptors: agent.ownDescriptors, mappings: new Set([agent.code, agent.mailbox]) },
      ]),
    );
    const pids = visited.map(({ frozen }) => frozen.pid);
    return surveyTree(pids, { outsiders: this.#prepared.outsiders, oursIn: (pid) => must(ours.get(pid)) });
  }

  /** The programs go on as soon as their pages are safe. Returns how many they are. */
  #gatherAndWrite(
    stream: ImageStream,
    tree: CollectedTree,
    survey: TreeSurvey,
    visited: readonly Visited[],
  ): WrittenPages {
    const processes = visited.map(({ frozen: { pid }, agent }, index) => ({
      pid,
      agent,
      objref: must(tree.processes[index]).task.memory,
      mappings: must(survey.processes[index]).mappings,
    }));
    const { kill } = this.#request;
    const gathered = gatherPages({ processes, contents: tree.contents, kill, arena: this.#arena });
    try {
      if (gathered.mayGoOn) this.#releaseTarget();
      return { pages: this.#write(stream, tree, gathered), remarks: gathered.remarks };
    } finally {
      for (const source of gathered.sources) source.close();
      for (const { own } of gathered.contents) own.close();
    }
  }

  #write(stream: ImageStream, tree: CollectedTree, { sources, contents }: GatheredPages): number {
    const { output, level } = this.#request;
    const { fd, positioned } = output;
    const { writer } = stream;
    writeTree(writer, tree, sources);
    stream.flush();
    const pages = pagesIn(sources.map(({ plan }) => plan));
    let pagesBefore = 0;
    for (const source of sources) {
      const { pid, memory, copy, plan, objref } = source;
      const order = { pid, memory, copy, objref, output: fd, positioned, level, chunks: plan.chunks };
      try {
        adoptChunks(writer, this.#prepared.crew.save(order, writer.position, { pagesBefore, pages }));
      } catch (error) {
        throw source.explain(error);
      }
      pagesBefore += plan.pages;
    }
    for (const content of contents) writeContent(stream, content, level);
    return pages;
  }

  #releaseTarget(): void {
    if (this.#frozenAt === 0) return;
    this.#release.run();
    this.#pauseMs = performance.now() - this.#frozenAt;
    this.#frozenAt = 0;
  }
}

/** Of a program that runs: it may have changed under the look. */
function tryLook<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}

/** What the tree shares with others. */
export const outsideObstacles = ({ processes }: TreeSurvey): Problem[] => [
  ...neighbourObstacles(processes.map(({ process }) => process)),
  ...sharedMemoryObstacles(processes.map(({ process: { pid }, allMappings }) => ({ pid, mappings: allMappings }))),
];

/** The crew has written its records itself; the writer takes them into its account. */
function adoptChunks(writer: ImageWriter, state: SharedState): void {
  const written = state.results().sort((a, b) => a.position - b.position);
  written.forEach(({ position, crc }, index) => {
    const end = written[index + 1]?.position ?? state.position;
    writer.noteChecksum(writer.reserve(end - position), crc);
  });
}

/** Ends all and waits for them: a parent hears of an end only when the tracer has. */
function killTree({ processes }: FrozenTree): void {
  for (const { pid } of processes) sendSignal(pid, SIGNAL.SIGKILL);
  for (const { tasks } of [...processes].reverse()) {
    for (const task of [...tasks].reverse()) waitForEnd(task.tid);
  }
}

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('every process of the tree is known');
  return value;
}
