/** What can be seen of a process from outside, and whether it is one that can be saved at all. */

import { describeProcess } from '../procfs/cmdline.ts';
import { is32BitProgram } from '../procfs/exe.ts';
import { readStat } from '../procfs/stat.ts';
import { readStatus } from '../procfs/status.ts';
import { childrenOf, livingTasks } from '../procfs/tasks.ts';
import type { ProcessView } from '../resources/resource.ts';
import { asPid, type Pid } from '../support/brand.ts';
import type { Problem } from '../support/errors.ts';
import { QuicksaveError } from '../support/errors.ts';
import { frozenCgroupObstacles } from './frozen-cgroups.ts';
import { oddThreads } from './odd-threads.ts';

/** PF_KTHREAD, include/linux/sched.h. */
const PF_KTHREAD = 0x00200000;

export function viewProcess(pid: Pid): ProcessView {
  const { speaker, tids, endedLeader } = livingTasks(pid);
  const stat = readStat(speaker);
  return {
    pid,
    speaker,
    status: readStatus(speaker),
    stat: endedLeader === undefined ? stat : { ...stat, comm: endedLeader.comm },
    tids,
    is32Bit: is32BitProgram(speaker),
    ...(endedLeader === undefined ? {} : { leaderStatus: endedLeader.exitCode >> 8 }),
  };
}

/** Throws for what is no savable process whatever its state. `savesItself`: it is our parent, and runs us for that. */
export function refuseUnsavable(pid: Pid, savesItself = false): void {
  const status = readStatus(pid);
  const stat = readStat(pid);
  if (pid === process.pid) {
    throw new QuicksaveError('own-process', 'quicksave cannot save itself.', {
      remedy: 'Give the pid of another process.',
    });
  }
  if ((stat.flags & PF_KTHREAD) !== 0) {
    throw new QuicksaveError('kernel-thread', `${pid} (${stat.comm}) is a kernel thread, not a program.`);
  }
  if (status.pid !== status.tgid) {
    throw new QuicksaveError('not-a-process', `${pid} is a thread of process ${status.tgid}.`, {
      remedy: `Save the process: quicksave checkpoint ${status.tgid}`,
    });
  }
  const hasEnded = stat.state === 'Z' && status.threads <= 1;
  if (hasEnded || stat.state === 'X') {
    const waiting = describeProcess(stat.ppid);
    throw new QuicksaveError(
      'dead-process',
      `Process ${pid} (${stat.comm}) has ended; ${waiting} has not reaped it yet.`,
    );
  }
  if (status.tracerPid !== 0) {
    throw new QuicksaveError(
      'already-traced',
      `Process ${pid} is being traced by ${describeProcess(asPid(status.tracerPid))}, and only one tracer is possible.`,
      { remedy: 'End the debugger or the other save first.' },
    );
  }
  if (!savesItself && isOwnAncestor(pid)) {
    throw new QuicksaveError('own-ancestor', `Process ${pid} (${stat.comm}) started this command and waits for it.`, {
      remedy: 'Run quicksave from another terminal, or let the process save itself: quicksave checkpoint --self',
    });
  }
}

const endedLeaderObstacles = ({ pid, stat, leaderStatus }: ProcessView): Problem[] =>
  leaderStatus !== undefined && stat.state === 'T' ? [stoppedWithoutLeader(pid)] : [];

/** A leader that is to end would stop instead. Where all stand still for a save, only the freeze has seen the stop. */
export const stoppedWithoutLeader = (pid: Pid): Problem => ({
  code: 'leader-ended',
  path: [`pid ${pid}`],
  message:
    'Its first thread has ended while others go on, and it is stopped by a signal, which cannot be saved yet together.',
  remedy: 'Save it when it has been continued.',
});

function isOwnAncestor(pid: Pid): boolean {
  for (let ancestor = asPid(process.ppid); ancestor > 1; ancestor = readStat(ancestor).ppid) {
    if (ancestor === pid) return childrenOf(pid).length > 0;
  }
  return false;
}

/** Obstacles that belong to no single resource. */
export function processObstacles(view: ProcessView): Problem[] {
  const { pid, status } = view;
  const path = [`pid ${pid}`];
  const found = [...oddThreads(view), ...endedLeaderObstacles(view), ...frozenCgroupObstacles(pid, view.tids)];
  if ((status.x86ThreadFeatures ?? []).length > 0) {
    found.push({
      code: 'shadow-stack',
      path,
      message: `It uses ${status.x86ThreadFeatures?.join(', ')}, which cannot be saved yet.`,
      remedy: 'Start it with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off.',
    });
  }
  if (status.untagMask !== undefined && status.untagMask !== ALL_BITS) {
    found.push({
      code: 'address-tags',
      path,
      message: 'It has tags in its addresses (ARCH_ENABLE_TAGGED_ADDR), which cannot be saved yet.',
      remedy: 'Start it without linear address masking.',
    });
  }
  return found;
}

/** The bits of an address that count: proc_pid_status(5), untag_mask. */
const ALL_BITS = 2n ** 64n - 1n;
