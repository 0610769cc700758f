/**
 * /proc/PID/task, /proc/PID/task/TID/children, /proc/PID/comm: proc_pid_task(5), proc_tid_children(5),
 * proc_pid_comm(5).
 */
import { asPid, asTid, type Pid, type Tid } from '../support/brand.ts';
import { listProcNumbers, readProcText, unlessMissing } from './proc-file.ts';
import { parseDecimals } from './proc-text.ts';
import { type ProcessStat, readTaskStat } from './stat.ts';

/** The threads of a process, ascending. */
export const listTasks = (pid: Pid): Tid[] => listProcNumbers(pid, 'task').map(asTid);

/** PF_IO_WORKER and PF_USER_WORKER of linux/sched.h: threads that the kernel has made in a process for itself (io_uring(7), vhost). */
const KERNELS_OWN = 0x10 | 0x4000;

/** {@link listTasks} without those that the kernel has made there for itself: they have no registers, and come again when they are needed. */
export const listThreads = (pid: Pid): Tid[] => listTasks(pid).filter((tid) => !isKernelsOwn(pid, tid));

/** No leader is. */
export const isKernelsOwn = (pid: Pid, tid: Tid): boolean =>
  tid !== asTid(pid) && ((unlessMissing(() => readTaskStat(pid, tid))?.flags ?? 0) & KERNELS_OWN) !== 0;

/**
 * The living threads of a process, ascending, and the leader if that has ended before them: it is a zombie until they have all ended. /proc/PID shows then
 * nothing of what threads share; /proc/TID of one that lives does.
 */
export function livingTasks(pid: Pid): {
  readonly speaker: Pid;
  readonly tids: Tid[];
  readonly endedLeader?: ProcessStat;
} {
  const tids = listThreads(pid);
  const endedLeader = readTaskStat(pid, asTid(pid));
  if (endedLeader.state !== 'Z') return { speaker: pid, tids };
  const living = tids.filter((tid) => tid !== asTid(pid));
  const [first] = living;
  return first === undefined ? { speaker: pid, tids } : { speaker: asPid(first), tids: living, endedLeader };
}

/** {@link livingTasks}, the one by whose number /proc shows what they share. */
export const speakerOf = (pid: Pid): Pid => livingTasks(pid).speaker;

/**
 * The children of a process, of all its threads, ascending. Complete only while the process and its children are
 * frozen: a child that exits in mid-read may hide another (proc_tid_children(5)). Needs CONFIG_PROC_CHILDREN.
 */
export function childrenOf(pid: Pid): Pid[] {
  // The process's own file decides whether there is such a process and such a file; a thread may have ended since.
  const leader = childrenOfTask(pid, asTid(pid));
  const others = listTasks(pid).filter((tid) => tid !== asTid(pid));
  return [leader, ...others.map((tid) => unlessMissing(() => childrenOfTask(pid, tid)) ?? [])]
    .flat()
    .sort((a, b) => a - b);
}

export const parseChildren = (text: string): Pid[] => parseDecimals('children', 'a list of pids', text).map(asPid);

/** Those that one thread has made. */
export const childrenOfTask = (pid: Pid, tid: Tid): Pid[] => parseChildren(readProcText(pid, `task/${tid}/children`));

/**
 * The name of a task, which may be empty and may hold any character but NUL: a person sees it through
 * `describeProcess`.
 */
export const commOf = (task: Pid | Tid): string => readProcText(asPid(task), 'comm').replace(/\n$/, '');
