/**
 * Room for tasks in cgroups: pids.max of the group and of all above it (cgroup-v2.rst, "PID"). A task that is put into a full group is taken, but
 * clone3(2) of it is not: found before any process is made.
 */
import type { Pid, Tid } from '../support/brand.ts';
import type { Problem } from '../support/errors.ts';
import { type CgroupHome, chainOf, readSetting } from './cgroup-folders.ts';

/** How many tasks it will have. */
export interface TaskCount {
  readonly pid: Pid;
  readonly threads: readonly { readonly tid: Tid }[];
  readonly endedLeader: object | undefined;
  readonly saver: object | undefined;
}

export function tooManyTasks(
  processes: readonly TaskCount[],
  homes: ReadonlyMap<number, readonly CgroupHome[]>,
): Problem[] {
  const needed = new Map<string, number>();
  for (const { pid, threads, endedLeader, saver } of processes) {
    const tasks = threads.length + (endedLeader === undefined ? 0 : 1) + (saver === undefined ? 0 : 1);
    for (const { folder, mount } of homes.get(pid) ?? []) {
      for (const one of chainOf(folder, mount.mountPoint)) needed.set(one, (needed.get(one) ?? 0) + tasks);
    }
  }
  return [...needed].flatMap(([folder, tasks]) => {
    const limit = Number(readSetting(folder, 'pids.max') ?? 'max');
    const current = Number(readSetting(folder, 'pids.current') ?? 0);
    // "max" is no number.
    if (Number.isNaN(limit) || current + tasks <= limit) return [];
    const message = `It has ${tasks} processes and threads for ${folder}, which may have ${limit} and has ${current}.`;
    return [
      { code: 'cgroup-full', path: ['host'], message, remedy: `Raise ${folder}/pids.max, or give --no-cgroups.` },
    ];
  });
}
