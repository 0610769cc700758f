/**
 * What Linux lets a thread have of its own, and a restart would give it from its process: credentials and namespaces. Refused by name, as are
 * threads whose seccomp cannot be dealt with.
 */
import { readlinkSync } from 'node:fs';
import { unlessMissing } from '../procfs/proc-file.ts';
import type { ProcessStatus } from '../procfs/status.ts';
import { readTaskStatus } from '../procfs/status.ts';
import type { ProcessView } from '../resources/resource.ts';
import { asTid, type Pid, type Tid } from '../support/brand.ts';
import type { Problem } from '../support/errors.ts';
import { isEnding } from './parts.ts';
import { seccompObstacles } from './sandboxes.ts';

const NAMESPACES = ['cgroup', 'ipc', 'mnt', 'net', 'pid_for_children', 'time_for_children', 'user', 'uts'];
export function oddThreads({ pid, speaker, status, tids }: ProcessView): Problem[] {
  const leader = asTid(speaker);
  const expected = rightsOf(status);
  const others = tids.filter((tid) => tid !== leader);
  const namespaces = others.length === 0 ? '' : namespacesOf(pid, leader);
  const ofOthers = others.flatMap((tid) => {
    const own = unlessMissing(() => readTaskStatus(pid, tid));
    if (own === undefined) return [];
    const odd = [
      ...(rightsOf(own) === expected ? [] : ['credentials or capabilities']),
      ...(namespacesOf(pid, tid) === namespaces ? [] : ['a namespace']),
    ];
    const found = [...seccompObstacles(tid, own), ...odd.map((what) => refusal(pid, tid, what))];
    return found.length > 0 && isEnding(pid, tid) ? [] : found;
  });
  return [...seccompObstacles(pid, status), ...ofOthers];
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
