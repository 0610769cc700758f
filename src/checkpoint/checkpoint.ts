/**
 * The script of a save: freeze -> collect -> write image -> release.
 *
 * Everything from freeze to release is synchronous and on one thread, as ptrace(2) demands. Every step on the target has
 * its undo on the stack before it is made, and whatever happens to us the target goes on (see tracee/stopped-task.ts).
 */
import { unprotected } from '../image/protection.ts';
import { xsaveLayout } from '../kernel/cpu.ts';
import { PageCrew } from '../pages/page-crew.ts';
import { PAGE } from '../pages/save-job.ts';
import { lookAhead } from '../resources/mapped-file.ts';
import type { Pid } from '../support/brand.ts';
import { type Problem, RefusedError } from '../support/errors.ts';
import { isSmall } from './gather-pages.ts';
import { MappingsReader } from './mappings-reader.ts';
import { discardingOutput } from './output.ts';
import { OutsiderSearch } from './outsiders.ts';
import { pagesOfTarget } from './page-sources.ts';
import { openParentImage, type ParentImage } from './parent-image.ts';
import type { ProcessSurvey } from './preflight.ts';
import { listTree } from './process-tree.ts';
import { refuseUnsavable } from './process-view.ts';
import { rehearse } from './rehearsal.ts';
import { type CheckpointRequest, type CheckpointSummary, policyOf } from './request.ts';
import { restartedWaits } from './restarted-waits.ts';
import { type RunningTree, surveyRunning } from './running-survey.ts';
import { type Prepared, type Refuse, residentBytes, Save, trackedSince } from './save.ts';
import { refuseStream } from './saver.ts';
import { refuseTracking, Tracking } from './tracking.ts';
import { describeHost, ImageStream } from './write-image.ts';

export function checkpoint(request: CheckpointRequest): CheckpointSummary {
  const started = performance.now();
  const stream = new ImageStream(request.output, request.protection);
  let crew: PageCrew | undefined;
  let parent: ParentImage | undefined;
  let tracking: Tracking | undefined;
  const mappings = new MappingsReader();
  try {
    let pids: readonly Pid[];
    try {
      refuseTracking(request);
      if (request.savesItself) refuseStream(request);
      refuseUnsavable(request.pid, request.savesItself);
      pids = listTree(request.pid, isLeftOut(request.savesItself)).living;
      // Its threads take a while to begin.
      crew = new PageCrew(
        pids.reduce((sum, pid) => sum + residentBytes(pid), 0),
        request.onPages,
      );
      if (request.parent !== undefined) {
        parent = openParentImage(request.parent, request, crew);
      }
    } finally {
      // Even a refusal ends a stream as an image does.
      stream.head(describeHost(xsaveLayout(), parent?.imageId));
    }
    const outsiders = new OutsiderSearch();
    tracking = new Tracking();
    // How long a program stands still that is to end does not matter.
    const isWaitedFor = !request.kill;
    if (isWaitedFor && isLarge(pids)) mappings.open();
    const found = preflight(request, pids, parent, {
      outsiders,
      keepers: tracking.keepers,
      readMappings: mappings.running,
    });
    if (isWaitedFor) rehearse((pid) => rehearseSaves(pid, isLarge(pids), mappings, started));
    const prepared = { ...found, crew, outsiders, mappings, pids, parent, tracking, refuse: refuseIfAny };
    const summary = new Save(request, prepared).run(stream, started);
    tracking.leave(stream.imageId);
    return summary;
  } catch (error) {
    if (!request.output.positioned) stream.fail(error, crew?.reached);
    request.output.abandon();
    throw error;
  } finally {
    crew?.dismiss();
    parent?.close();
    tracking?.close();
    mappings.close();
  }
}

/** quicksave itself, where it is a child of the process that it saves. */
const isLeftOut =
  (savesItself: boolean) =>
  (pid: Pid): boolean =>
    savesItself && pid === process.pid;

/** One of them is not copied, but read from a snapshot. */
const isLarge = (pids: readonly Pid[]): boolean => !pids.map(residentBytes).every(isSmall);

/** Refuses before anything is frozen, and reads ahead. The programs run meanwhile: what fails now is found out later. */
function preflight(
  request: CheckpointRequest,
  pids: readonly Pid[],
  parent: ParentImage | undefined,
  around: Pick<RunningTree, 'outsiders' | 'keepers' | 'readMappings'>,
): Pick<Prepared, 'waits' | 'writtenBytes'> {
  const { pid, savesItself } = request;
  const outside = policyOf(request);
  const look = <T>(what: () => T): T | undefined => tryOnRunningTarget(pid, savesItself, what);
  const survey = look(() => surveyRunning({ root: pid, isLeftOut: isLeftOut(savesItself), outside, ...around }));
  refuseIfAny(pid, survey?.problems ?? []);
  const processes = survey?.processes ?? [];
  for (const { mappings } of processes) {
    for (const { mapping } of mappings) if (mapping.path !== '') look(() => lookAhead(mapping.path));
  }
  return {
    waits: new Map(pids.flatMap((one) => [...(look(() => restartedWaits(one)) ?? [])])),
    writtenBytes: processes.reduce((sum, one) => sum + (look(() => writtenSince(parent, one)) ?? 0), 0),
  };
}

function writtenSince(parent: ParentImage | undefined, survey: ProcessSurvey): number {
  const tracked = trackedSince(parent, survey);
  if (tracked.size === 0) return 0;
  const { process, mappings } = survey;
  const source = pagesOfTarget({ pid: process.pid, objref: 0, mappings, tracked, isAlone: false });
  source.close();
  return source.plan.pages * PAGE;
}

/** Undefined if the look failed because a program has changed under it, as an execve(2) does. */
function tryOnRunningTarget<T>(pid: Pid, savesItself: boolean, look: () => T): T | undefined {
  try {
    return look();
  } catch {
    refuseUnsavable(pid, savesItself);
    return undefined;
  }
}

/** Where the build has kept the code of the commands, what more of them than one take off the pause is within the noise. */
const REHEARSALS = 3;

/** A save of nothing to nowhere. */
const rehearsal: Omit<CheckpointRequest, 'pid'> = {
  savesItself: false,
  output: discardingOutput,
  kill: false,
  tcp: 'established',
  compression: undefined,
  access: {},
  protection: unprotected,
  track: false,
  onPages: () => {
    // Nobody watches a rehearsal.
  },
};

/** Rehearses {@link Save} so often that its code is warm, in the way that the pages will be taken. */
function rehearseSaves(pid: Pid, large: boolean, mappings: MappingsReader, started: number): void {
  const crew = new PageCrew(0, rehearsal.onPages);
  const pids = large ? [] : [pid];
  const prepared = {
    crew,
    outsiders: new OutsiderSearch(),
    mappings,
    waits: new Map(),
    pids,
    parent: undefined,
    writtenBytes: 0,
    tracking: undefined,
    refuse: ignore,
  };
  for (let round = 0; round < REHEARSALS; round++) {
    const stream = new ImageStream(discardingOutput, unprotected);
    stream.head(describeHost(xsaveLayout()));
    new Save({ ...rehearsal, pid }, prepared).run(stream, started);
  }
}

/** A rehearsal goes on whatever stands in its way. */
const ignore: Refuse = () => {
  // Its image is thrown away.
};

function refuseIfAny(pid: Pid, problems: readonly Problem[]): void {
  if (problems.length === 0) return;
  const reasons = problems.length === 1 ? 'one thing stands' : `${problems.length} things stand`;
  throw new RefusedError(`Process ${pid} cannot be saved: ${reasons} in the way.`, problems);
}
