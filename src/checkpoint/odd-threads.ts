/**
 * What Linux lets a thread have of its own, and a restart would give it from its process: credentials, seccomp, namespaces,
 * working directory and descriptor table. Refused by name. A seccomp filter would also meet the calls that we make in the
 * thread, and may kill the program for them.
 */
import { readlinkSync } from 'node:fs';
import { KCMP } from '../kernel/abi/fs.ts';
import { compareTasks } from '../kernel/calls/descriptors.ts';
import { unlessMissing } from '../procfs/proc-file.ts';
import { readTaskStat } from '../procfs/stat.ts';
import type { ProcessStatus } from '../procfs/status.ts';
import { readTaskStatus } from '../procfs/status.ts';
import type { ProcessView } from '../resources/resource.ts';
import { asTid, type Pid, type Tid } from '../support/brand.ts';
import type { Problem } from '../support/errors.ts';

const NAMESPACES = ['cgroup', 'ipc', 'mnt', 'net', 'pid_for_children', 'time_for_children', 'user', 'uts'];
const SHARED = [
  { what: 'a working directory, root and umask', type: KCMP.KCMP_FS },
  { what: 'a descriptor table', type: KCMP.KCMP_FILES },
];

export function oddThreads({ pid, status, tids }: ProcessView): Problem[] {
  const leader = asTid(pid);
  const expected = rightsOf(status);
  const namespaces = namespacesOf(pid, leader);
  const others = tids
    .filter((tid) => tid !== leader)
    .flatMap((tid) => {
      const own = unlessMissing(() => readTaskStatus(pid, tid));
      if (own === undefined) return [];
      const odd = [
        ...(rightsOf(own) === expected ? [] : ['credentials or capabilities']),
        ...(namespacesOf(pid, tid) === namespaces ? [] : ['a namespace']),
        ...SHARED.filter(({ type }) => !compareTasks(leader, tid, type)).map(({ what }) => what),
      ];
      const found = [...seccompObstacles(tid, own), ...odd.map((what) => refusal(pid, tid, what))];
      return found.length > 0 && isEnding(pid, tid) ? [] : found;
    });
  return [...seccompObstacles(pid, status), ...others];
}

/** include/linux/sched.h */
const PF_EXITING = 0x4;

/** A thread on its way out has given its tables and namespaces back already. Only one of a running process can be. */
function isEnding(pid: Pid, tid: Tid): boolean {
  const stat = unlessMissing(() => readTaskStat(pid, tid));
  return stat === undefined || (stat.flags & PF_EXITING) !== 0;
}

/** Strict mode and filters: seccomp(2). */
export function seccompObstacles(tid: number, { seccompMode = 0 }: ProcessStatus): Problem[] {
  if (seccompMode === 0) return [];
  return [
    {
      code: 'seccomp',
      path: [`thread ${tid}`],
      message: 'It runs under a seccomp filter, which cannot be saved yet.',
      remedy: 'Start the program without its sandbox.',
    },
  ];
}

const rightsOf = (status: ProcessStatus): string =>
  JSON.stringify(
    [
      status.uid,
      status.gid,
      status.groups,
      status.capInheritable,
      status.capPermitted,
      status.capEffective,
      status.capBounding,
      status.capAmbient,
    ],
    (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value),
  );

function namespacesOf(pid: Pid, tid: Tid): string {
  return NAMESPACES.map((name) => {
    try {
      return readlinkSync(`/proc/${pid}/task/${tid}/ns/${name}`);
    } catch {
      return '';
    }
  }).join();
}

const refusal = (pid: Pid, tid: Tid, what: string): Problem => ({
  code: 'odd-thread',
  path: [`pid ${pid}`, `thread ${tid}`],
  message: `This thread has ${what} of its own, which cannot be saved yet.`,
});
