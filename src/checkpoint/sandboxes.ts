/**
 * Seccomp: what of it stands in the way of a save. While a task is traced its filters are suspended, and that ends with our own end; so they
 * are also asked what would become of our calls then (call-guard.ts). Strict mode lets no way home through.
 */
import { SECCOMP } from '../kernel/abi/seccomp.ts';
import type { ProcessStatus } from '../procfs/status.ts';
import { readStatus, readTaskStatus } from '../procfs/status.ts';
import { maySuspendSeccomp } from '../resources/seccomp-rights.ts';
import { asPid, type Pid, type Tid } from '../support/brand.ts';
import { type Problem, QuicksaveError } from '../support/errors.ts';
import { type CallGuard, forbiddenCalls } from '../tracee/call-guard.ts';
import { forbiddenToAgent, forbiddenToThread } from '../tracee/own-calls.ts';
import type { StoppedTask } from '../tracee/stopped-task.ts';

/** Asked once, because it is asked of each thread. */
let mayRead: boolean | undefined;

/** Seen from outside: what its filters are, only the task that stands still shows. */
export function seccompObstacles(tid: number, { seccompMode = 0 }: ProcessStatus): Problem[] {
  if (seccompMode === SECCOMP.SECCOMP_MODE_DISABLED) return [];
  if (seccompMode === SECCOMP.SECCOMP_MODE_STRICT) return [strict(tid)];
  return maySuspendSeccomp(readStatus(asPid(process.pid))) ? [] : [unseen(tid)];
}

/** Of a process that stands still, before anything is done in it. Threads without filters are looked at by {@link seccompObstacles}, before they are asked. */
export const frozenSeccompObstacles = ({ pid, tasks }: { pid: Pid; tasks: readonly StoppedTask[] }): Problem[] =>
  tasks.flatMap(({ tid, guard }, index) => {
    const isLeader = index === 0;
    if (guard !== undefined) return guardObstacles(tid, guard, isLeader ? forbiddenToAgent : forbiddenToThread);
    return isLeader ? seccompObstacles(tid, readTaskStatus(pid, tid)) : [];
  });

/** Throws if filters that we should see could not be read. */
export function refuseUnseenFilters(pid: Pid, tid: Tid): void {
  mayRead ??= maySuspendSeccomp(readStatus(asPid(process.pid)));
  if (!mayRead || readTaskStatus(pid, tid).seccompMode !== SECCOMP.SECCOMP_MODE_FILTER) return;
  throw new QuicksaveError('seccomp', `The seccomp filters of thread ${tid} cannot be read on this kernel.`, {
    remedy: 'Use a kernel with CONFIG_CHECKPOINT_RESTORE.',
  });
}

function guardObstacles(tid: number, guard: CallGuard, forbidden: (guard: CallGuard) => string[]): Problem[] {
  const names = forbidden(guard);
  return [
    ...(guard.mayAskSupervisor() ? [supervised(tid)] : []),
    ...(names.length > 0 ? [forbiddenCalls(tid, names)] : []),
  ];
}

const strict = (tid: number): Problem => ({
  code: 'seccomp',
  path: [`thread ${tid}`],
  message:
    'It runs in the strict mode of seccomp, which would kill it if quicksave were killed while it is being saved.',
  remedy: 'Save the program before it enters that mode.',
});

const unseen = (tid: number): Problem => ({
  code: 'seccomp',
  path: [`thread ${tid}`],
  message:
    'It runs under a seccomp filter, which only a process with CAP_SYS_ADMIN and without such a filter of its own may read and suspend.',
  remedy: 'Run quicksave as root, outside of any sandbox or container.',
});

const supervised = (tid: number): Problem => ({
  code: 'seccomp',
  path: [`thread ${tid}`],
  message:
    'Its seccomp filter hands calls to a supervisor (SECCOMP_RET_USER_NOTIF), which could not be given them again.',
  remedy: 'Start the program without that supervisor.',
});
