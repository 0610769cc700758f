/** What a restart on this host, by this user, would say to a tree that has been collected: the questions that it asks of an image. */
import { timersMayChooseNumbers } from '../kernel/calls/timers.ts';
import { readStatus } from '../procfs/status.ts';
import { planClocks } from '../resources/clock-choice.ts';
import { planMappedFile } from '../resources/mapped-file.ts';
import { ownNamespaceRemark, whyNoOwnNamespace } from '../resources/own-namespace.ts';
import { mayChoosePids, noPidChoice } from '../resources/pid-choice.ts';
import { descriptorKinds, processAspects, threadAspects } from '../resources/registry.ts';
import type { HostView } from '../resources/resource.ts';
import { asPid, asTid, remoteFd } from '../support/brand.ts';
import { type Problem, QuicksaveError } from '../support/errors.ts';
import type { CollectedTree } from './collect.ts';
import { isUnknown } from './collect-files.ts';
import type { ClassifiedDescriptor } from './preflight.ts';

export interface RestartAhead {
  readonly restartProblems: readonly Problem[];
  readonly remarks: readonly string[];
}

/** This host, as a restart of what runs would see it. */
export const hostView = (): HostView => ({
  ownPid: asPid(process.pid),
  status: readStatus(asPid(process.pid)),
  // It runs: what changes between our looks at a file may be its own doing.
  acceptChangedFiles: true,
  keepsParent: true,
  programRuns: true,
  maySetTimerNumbers: timersMayChooseNumbers(),
});

export function lookAtRights({ status }: HostView): RestartAhead {
  if (mayChoosePids(status)) return { restartProblems: [], remarks: [] };
  return whyNoOwnNamespace() === undefined
    ? { restartProblems: [], remarks: [ownNamespaceRemark] }
    : { restartProblems: [noPidChoice], remarks: [] };
}

/** The same questions that a restart asks of its image. */
export function lookAtTree(
  { processes, descriptions, mappedFiles }: CollectedTree,
  classified: readonly ClassifiedDescriptor[],
  host: HostView,
): RestartAhead {
  const known = descriptions.filter((one) => !isUnknown(one));
  const kinds = new Map(descriptorKinds.map((kind) => [kind.kind, kind]));
  const leaders = new Set(known.flatMap(({ record }) => kinds.get(record.kind)?.leaderOf?.(record.state) ?? []));
  const restartProblems: Problem[] = mappedFiles.flatMap(({ state }) => planMappedFile(state, host));
  restartProblems.push(...planClocks(undefined, processes[0]?.task.clocks, host.status).problems);
  const remarks: (string | undefined)[] = [];
  for (const { task, aspects, threads } of processes) {
    const pid = asPid(task.pid);
    for (const { name, plan, remark } of processAspects) {
      restartProblems.push(...(plan?.(aspects[name], host, pid) ?? []));
      remarks.push(remark?.(aspects[name], pid, host, leaders.has(pid)));
    }
    for (const { tid, aspects: own } of threads) {
      for (const { name, plan, remark } of threadAspects) {
        restartProblems.push(...(plan?.(own[name], host, asTid(tid)) ?? []));
        remarks.push(remark?.(own[name], host, asTid(tid)));
      }
    }
  }
  const places = new Map(descriptions.map(({ objref }, index) => [objref, classified[index]?.view]));
  for (const { objref, record } of known) {
    const kind = kinds.get(record.kind);
    const view = places.get(objref);
    const path = view === undefined ? ['mapped file'] : [`pid ${view.pid}`, `fd ${view.fd}`];
    // What it has itself would be in the way of that.
    if (kind?.needsRest !== true) restartProblems.push(...(kind?.plan?.(record.state, host, path) ?? []));
    remarks.push(kind?.remark?.(record.state, view?.fd ?? remoteFd(-1), host));
  }
  return { restartProblems, remarks: remarks.filter((one) => one !== undefined) };
}

/** Sentences for the summary of a save after which the program is gone. */
export function refusedRestart(tree: CollectedTree, classified: readonly ClassifiedDescriptor[]): string[] {
  const host = hostView();
  let problems: readonly Problem[];
  try {
    problems = [...lookAtRights(host).restartProblems, ...lookAtTree(tree, classified, host).restartProblems];
  } catch (error) {
    if (!(error instanceof QuicksaveError)) throw error;
    return [`whether a restart here would be refused could not be found out: ${error.message}`];
  }
  const told = problems.map(
    ({ path, message }) => `a restart here, by you, would be refused: ${path.join(' › ')}: ${message}`,
  );
  return [...new Set(told)];
}
