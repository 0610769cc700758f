/**
 * Who has a number that a saved thread needs. A number is taken as long as any task has it as its id, and also as long as
 * a process is in the group or the session of that number, whose leader may have ended long ago (credentials(7), setsid(2)).
 */
import { existsSync } from 'node:fs';
import { describeProcess } from '../procfs/cmdline.ts';
import { listProcesses, unlessMissing } from '../procfs/proc-file.ts';
import { readStat } from '../procfs/stat.ts';
import { asPid, type Pid } from '../support/brand.ts';
import type { Problem } from '../support/errors.ts';

export function takenPids(tids: readonly number[]): Problem[] {
  const free = new Set(tids.filter((tid) => !existsSync(`/proc/${tid}`)));
  const members = free.size === 0 ? new Map<number, Member>() : membersOf(free);
  return tids.flatMap((tid) => {
    const member = members.get(tid);
    if (member !== undefined) return [takenByGroup(tid, member)];
    return free.has(tid) ? [] : [takenByTask(tid)];
  });
}

interface Member {
  readonly pid: Pid;
  readonly of: 'process group' | 'session';
}

/** One process of each group and session that has one of these numbers. */
function membersOf(numbers: ReadonlySet<number>): Map<number, Member> {
  const found = new Map<number, Member>();
  for (const pid of listProcesses()) {
    const stat = unlessMissing(() => readStat(pid));
    if (stat === undefined) continue;
    if (numbers.has(stat.session)) found.set(stat.session, { pid, of: 'session' });
    if (numbers.has(stat.processGroup)) found.set(stat.processGroup, { pid, of: 'process group' });
  }
  return found;
}

const takenByGroup = (tid: number, { pid, of }: Member): Problem => ({
  code: 'pid-in-use',
  path: [`pid ${tid}`],
  message: `The number is still in use as a ${of}: ${describeProcess(pid)} is in it.`,
  remedy: 'End that process, or restart on another host.',
});

function takenByTask(tid: number): Problem {
  const state = unlessMissing(() => readStat(asPid(tid)))?.state;
  const dead = state === 'Z' || state === 'X';
  const parent = unlessMissing(() => readStat(asPid(tid)).ppid);
  return {
    code: 'pid-in-use',
    path: [`pid ${tid}`],
    message: dead
      ? `The number is still taken by process ${describeProcess(asPid(tid))}, which has ended but has not been reaped by ${describeProcess(asPid(parent ?? 1))}.`
      : `The number is in use by ${describeProcess(asPid(tid))}.`,
    remedy: dead
      ? 'Wait until its parent reaps it, or end the parent.'
      : 'End that process, or restart on another host.',
  };
}
