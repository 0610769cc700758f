/**
 * What stands in the way of a save, and what would come back otherwise, asked of the program itself: it stands still for some milliseconds, as for
 * a save, and goes on. Nothing is written, and no page is read.
 */
import { unprotected } from '../image/protection.ts';
import { PageCrew } from '../pages/page-crew.ts';
import type { OutsidePolicy } from '../resources/outside-policy.ts';
import type { HostView } from '../resources/resource.ts';
import type { Pid } from '../support/brand.ts';
import { type Problem, QuicksaveError, RefusedError } from '../support/errors.ts';
import { MappingsReader } from './mappings-reader.ts';
import { discardingOutput } from './output.ts';
import { OutsiderSearch } from './outsiders.ts';
import { listTree } from './process-tree.ts';
import type { CheckpointRequest } from './request.ts';
import { lookAtTree, type RestartAhead } from './restart-ahead.ts';
import { restartedWaits } from './restarted-waits.ts';
import { Save } from './save.ts';
import { Tracking } from './tracking.ts';

/** What a save, and then a restart here, would say. */
export interface Ahead extends RestartAhead {
  readonly problems: readonly Problem[];
}

/** `host`: as a restart would see it. Throws for what is no fault of the program. */
export function lookWhileStopped(root: Pid, outside: OutsidePolicy, host: HostView): Ahead {
  const { living: pids } = listTree(root, (pid) => pid === process.pid);
  const waits = new Map(pids.flatMap((pid) => [...restartedWaits(pid)]));
  const crew = new PageCrew(0, nobodyWatches);
  const tracking = new Tracking();
  let problems: readonly Problem[] = [];
  const refuse = (pid: Pid, found: readonly Problem[]): void => {
    // What is found later has in it what was found before.
    if (found.length > 0) problems = found;
    // No agent can be brought into such a process: nothing more can be asked.
    if (found.some(({ code }) => code === 'seccomp' || code === 'frozen-cgroup'))
      throw new RefusedError(`Process ${pid} cannot be asked.`, found);
  };
  try {
    const prepared = {
      ...{ crew, outsiders: new OutsiderSearch(), mappings: new MappingsReader(), waits, pids },
      ...{ parent: undefined, writtenBytes: 0, tracking, refuse },
    };
    return new Save(requestOf(root, outside), prepared).look(({ tree, survey }, remarks) => {
      const restart = lookAtTree(tree, survey.descriptors, host);
      return { ...restart, problems, remarks: [...tree.remarks, ...remarks, ...restart.remarks] };
    });
  } catch (error) {
    if (!(error instanceof QuicksaveError) || error.code === 'no-such-process') throw error;
    const { code, message, remedy } = error;
    const isKnown = error instanceof RefusedError || problems.some((one) => one.code === code);
    const own = isKnown ? [] : [{ code, path: [`pid ${root}`], message, remedy }];
    return { problems: [...problems, ...own], restartProblems: [], remarks: [] };
  } finally {
    crew.dismiss();
    tracking.close();
  }
}

const nobodyWatches = (): void => {
  // No page is moved.
};

const requestOf = (pid: Pid, outside: OutsidePolicy): CheckpointRequest => ({
  pid,
  savesItself: false,
  output: discardingOutput,
  kill: outside.ends ?? false,
  tcp: outside.tcp ?? 'established',
  outside,
  compression: undefined,
  access: {},
  protection: unprotected,
  track: false,
  onPages: nobodyWatches,
});
