/**
 * What stands in the way of saving a process, and of bringing it back on this host: looked at from outside, while it runs.
 * Nothing in it is touched. What only the process itself can tell (its agent is not there) is taken to be no obstacle, unless it may be stopped for
 * some milliseconds and asked (check-stopped.ts).
 */

import { remoteCallSize } from '../arch/x86/machine-code.ts';
import { duplicateFrom, tryDuplicateFrom, tryOpenPidfd } from '../kernel/calls/descriptors.ts';
import { noSuchProcess, unlessMissing } from '../procfs/proc-file.ts';
import { readStatus } from '../procfs/status.ts';
import { speakerOf } from '../procfs/tasks.ts';
import { planClocks } from '../resources/clock-choice.ts';
import { ConnectionKeeper } from '../resources/connection-keeper.ts';
import { planMappedFile } from '../resources/mapped-file.ts';
import { type OutsidePolicy, refusesOutside } from '../resources/outside-policy.ts';
import { processAspects } from '../resources/registry.ts';
import type { CollectedProcess, HostView, ProcessView } from '../resources/resource.ts';
import { asPid, asTid, type LocalFd, type Pid, remoteAddress } from '../support/brand.ts';
import { type Problem, QuicksaveError } from '../support/errors.ts';
import { type BatchRunner, CallBatch } from '../tracee/call-batch.ts';
import { type Ahead, lookWhileStopped } from './check-stopped.ts';
import { readClocks } from './clocks.ts';
import { CollectedFiles, nothingInFlight, Objects } from './collect-files.ts';
import { OutsiderSearch } from './outsiders.ts';
import type { ClassifiedDescriptor, TreeSurvey } from './preflight.ts';
import { listTree } from './process-tree.ts';
import { refuseUnsavable } from './process-view.ts';
import { hostView, lookAtRights } from './restart-ahead.ts';
import { surveyRunning } from './running-survey.ts';
import { describeTracking, Keepers } from './tracking.ts';

export interface ProcessCheck {
  readonly pid: Pid;
  readonly comm: string;
  /** Of the tree. */
  readonly processes: number;
  readonly threads: number;
  readonly residentBytes: number;
  /** What stands in the way of saving it. */
  readonly problems: readonly Problem[];
  /** What would stand in the way of a restart by this user on this host, as far as can be seen from outside. */
  readonly restartProblems: readonly Problem[];
  /** What would come back otherwise than it is. */
  readonly remarks: readonly string[];
  /** It was stopped for some milliseconds, and asked: nothing is missing in the lists that can be known before a save. */
  readonly stopped: boolean;
}

/**
 * `outside`: what the save would do about other ends outside. `stops`: it may be stopped for some milliseconds. Throws if there is no such
 * process.
 */
export function checkProcess(pid: Pid, outside: OutsidePolicy = refusesOutside, stops = false): ProcessCheck {
  const { name: comm } = readStatus(pid);
  const { living: pids } = listTree(pid, isOwn);
  const statuses = pids.flatMap((one) => unlessMissing(() => readStatus(speakerOf(one))) ?? []);
  const about = {
    pid,
    comm,
    processes: statuses.length,
    threads: statuses.reduce((sum, { threads }) => sum + threads, 0),
    residentBytes: statuses.reduce((sum, { memory }) => sum + (memory?.residentKiB ?? 0) * 1024, 0),
    stopped: false,
  };
  const refused = unsavable(pid);
  if (refused !== undefined && !canBeLookedAt(refused)) {
    return { ...about, problems: [refused], restartProblems: [], remarks: [] };
  }
  const surveyed = survey(pid, outside);
  if ('code' in surveyed)
    return { ...about, problems: together(refused, [surveyed]), restartProblems: [], remarks: [] };
  const fromOutside = lookAhead(surveyed);
  const isFrozen = surveyed.problems.some(({ code }) => code === 'frozen-cgroup');
  const inside = stops && refused === undefined && !isFrozen ? lookInside(pid, outside, surveyed) : undefined;
  const { restartProblems, remarks } = inside ?? fromOutside;
  const problems = [...surveyed.problems, ...fromOutside.problems, ...(inside?.problems ?? [])];
  return {
    ...about,
    problems: distinct(together(refused, problems)),
    restartProblems: distinct(restartProblems),
    remarks: [...new Set(remarks)],
    stopped: inside !== undefined,
  };
}

/** What is seen from outside and from inside is one thing. */
const distinct = (problems: readonly Problem[]): Problem[] => [
  ...new Map(problems.map((one) => [[one.code, ...one.path, one.message].join('\n'), one])).values(),
];

/** With what the look from outside says of the host, and of those that keep track. */
function lookInside(pid: Pid, outside: OutsidePolicy, { processes }: TreeSurvey): Ahead {
  const host = hostView();
  const { problems, restartProblems, remarks } = lookWhileStopped(pid, outside, host);
  const rights = lookAtRights(host);
  return {
    problems,
    restartProblems: [...rights.restartProblems, ...restartProblems],
    remarks: [...rights.remarks, ...trackingRemarks(processes), ...remarks],
  };
}

const together = (first: Problem | undefined, others: readonly Problem[]): Problem[] =>
  first === undefined ? [...others] : [first, ...others];

function unsavable(pid: Pid): Problem | undefined {
  try {
    refuseUnsavable(pid);
    return undefined;
  } catch (error) {
    return asProblem(pid, error);
  }
}

/** These say nothing about the process itself: what else is in the way can still be seen. */
const canBeLookedAt = ({ code }: Problem): boolean => code === 'already-traced' || code === 'own-ancestor';

const isOwn = (pid: Pid): boolean => pid === process.pid;

function survey(root: Pid, outside: OutsidePolicy): TreeSurvey | Problem {
  try {
    return surveyRunning({ root, isLeftOut: isOwn, outsiders: new OutsiderSearch(), keepers: new Keepers(), outside });
  } catch (error) {
    return asProblem(root, error);
  }
}

function asProblem(pid: Pid, error: unknown): Problem {
  if (!(error instanceof QuicksaveError) || error.code === 'no-such-process') throw error;
  const { code, message, remedy } = error;
  return { code, path: [`pid ${pid}`], message, remedy };
}

const trackingRemarks = (processes: TreeSurvey['processes']): string[] =>
  processes.flatMap(({ process: { pid }, keeper }) => (keeper === undefined ? [] : describeTracking(pid, keeper)));

/** What is found on the way. */
interface Finds {
  readonly problems: Problem[];
  readonly restartProblems: Problem[];
  readonly remarks: string[];
}

/** What collecting the state would bring, and what a restart would say to it. */
function lookAhead({ processes, descriptors }: TreeSurvey): Ahead {
  const host = hostView();
  const rights = lookAtRights(host);
  const found: Finds = {
    problems: [],
    restartProblems: [...rights.restartProblems],
    remarks: [...rights.remarks, ...trackingRemarks(processes)],
  };
  const [root] = processes;
  if (root !== undefined) {
    found.restartProblems.push(...planClocks(undefined, readClocks(root.process.speaker), host.status).problems);
  }
  lookAtFiles(processes, host, found);
  for (const [index, { process: view, allMappings }] of processes.entries()) {
    // Only what it has open can make it the leader of something that comes back.
    const leads = descriptors.some(({ kind, view: { pid } }) => pid === view.pid && kind.leaderOf !== undefined);
    for (const aspect of processAspects) {
      const state = unlessFailed(() =>
        collectFromOutside({ ...view, isRoot: index === 0 }, allMappings, aspect.collect),
      );
      if (state === undefined) continue;
      found.restartProblems.push(...(aspect.plan?.(state, host, view.pid) ?? []));
      addIfSaid(found.remarks, aspect.remark?.(state, view.pid, host, leads));
    }
    const look = (): void => {
      for (const task of view.tids.map(asPid)) {
        // A thread may have a table of its own.
        const ofTask = descriptors.filter((one) => one.view.pid === task);
        if (task === view.speaker || ofTask.length > 0) lookAtDescriptors(task, ofTask, host, found);
      }
    };
    // A descendant may have ended in the meantime; that is no answer about the tree.
    if (index === 0) look();
    else unlessMissing(look);
  }
  return found;
}

/** Files that are mapped: what a save would refuse of them, and a restart. */
function lookAtFiles(processes: TreeSurvey['processes'], host: HostView, found: Finds): void {
  const files = new CollectedFiles(new Objects(), found.problems);
  for (const { process: view, mappings, allMappings } of processes) {
    const source = { ...sourceFor(view, allMappings), files };
    for (const { mapping, kind } of mappings) {
      // A name that is gone is another kind, or was refused as such.
      if (mapping.path.startsWith('/') && !mapping.deleted) unlessFailed(() => kind.collect(mapping, source));
    }
  }
  for (const { state } of files.found) found.restartProblems.push(...planMappedFile(state, host));
}

function collectFromOutside(
  { isRoot, ...view }: ProcessView & { readonly isRoot: boolean },
  mappings: TreeSurvey['processes'][number]['allMappings'],
  collect: (process: CollectedProcess) => () => unknown,
): unknown {
  const source = sourceFor(view, mappings);
  const finish = collect({ ...source, isRoot });
  source.batch.run();
  return finish();
}

const sourceFor = (view: ProcessView, mappings: TreeSurvey['processes'][number]['allMappings']): CollectedProcess => ({
  ...view,
  batch: new CallBatch(silentRunner(view.pid)),
  leader: asTid(view.pid),
  isRoot: false,
  flagsOfNewMappings: [],
  mappings,
  files: { reference: () => 1, object: () => 1, described: () => 1 },
});

const MAX_CALLS = 1024;
const MAX_DATA_BYTES = 64 * 1024;

/** Stands for the process: every call succeeds with 0 and every answer is zero. */
function silentRunner(pid: Pid): BatchRunner {
  const calls = Buffer.alloc(MAX_CALLS * remoteCallSize);
  return {
    pid,
    callsAddress: remoteAddress(0),
    dataAddress: remoteAddress(0),
    maxCalls: MAX_CALLS,
    maxDataBytes: MAX_DATA_BYTES,
    calls,
    data: Buffer.alloc(MAX_DATA_BYTES),
    runBatch: () => {
      // The results are zero already.
    },
  };
}

/** Needs the process stopped, or has just changed: the save will look again. */
function unlessFailed<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}

function lookAtDescriptors(pid: Pid, descriptors: readonly ClassifiedDescriptor[], host: HostView, found: Finds): void {
  const pidfd = tryOpenPidfd(pid);
  if (pidfd === undefined) throw noSuchProcess(pid);
  try {
    const [first] = descriptors;
    const barred = first === undefined ? undefined : tracingProblem(pid, pidfd.number, first);
    if (barred !== undefined) {
      found.problems.push(barred);
      return;
    }
    for (const descriptor of descriptors) {
      found.remarks.push(...descriptor.sharing);
      lookAtDescriptor(pidfd.number, descriptor, host, found);
    }
  } finally {
    pidfd.close();
  }
}

/** To take a duplicate needs the right to trace, which reading /proc does not (ptrace(2), access mode checking). */
function tracingProblem(pid: Pid, pidfd: LocalFd, { view }: ClassifiedDescriptor): Problem | undefined {
  try {
    tryDuplicateFrom(pidfd, view.fd, pid)?.close();
    return undefined;
  } catch (error) {
    const { code, path, message } = asProblem(pid, error);
    return { code, path, message, remedy: 'Run quicksave as root, or as the user who runs the program.' };
  }
}

function lookAtDescriptor(pidfd: LocalFd, { view, kind }: ClassifiedDescriptor, host: HostView, found: Finds): void {
  if (kind.needsRest || (kind.plan === undefined && kind.remark === undefined)) return;
  // It will not be saved: what it would be after a restart is no question.
  if ((kind.obstacles?.(view) ?? []).length > 0) return;
  const state = unlessFailed(() => {
    const own = duplicateFrom(pidfd, view.fd, view.pid);
    try {
      return kind.collect({ ...view, own: own.number, connections: leftAlone, objectInFlight: nothingInFlight });
    } finally {
      own.close();
    }
  });
  if (state === undefined) return;
  found.restartProblems.push(...(kind.plan?.(state, host, [`pid ${view.pid}`, `fd ${view.fd}`]) ?? []));
  addIfSaid(found.remarks, kind.remark?.(state, view.fd, host));
}

/** Of a running program no connection is touched. */
const leftAlone = new ConnectionKeeper('refuse', false);

function addIfSaid(remarks: string[], remark: string | undefined): void {
  if (remark !== undefined) remarks.push(remark);
}
