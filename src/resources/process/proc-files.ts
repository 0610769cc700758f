/**
 * Settings that are files in /proc/PID: oom_score_adj (proc_pid_oom_score_adj(5)) and coredump_filter (core(5)).
 * Lowering oom_score_adj below where it has been set by a privileged process needs CAP_SYS_RESOURCE.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import * as v from 'valibot';
import { integerBetween, u32 } from '../../image/schema.ts';
import type { Pid } from '../../support/brand.ts';
import type { Problem } from '../../support/errors.ts';
import { QuicksaveError } from '../../support/errors.ts';
import type { HostView, ProcessAspect } from '../resource.ts';

const schema = v.strictObject({
  oomScoreAdjustment: integerBetween(-1000, 1000),
  coredumpFilter: u32,
});
type ProcFiles = v.InferOutput<typeof schema>;

export const procFiles: ProcessAspect<ProcFiles> = {
  name: 'procFiles',
  schema,
  stage: 'early',
  collect: ({ speaker }) => {
    const state = read(speaker);
    return () => state;
  },
  ofCommand: ({ ownPid }) => read(ownPid),
  plan: refuseLowerScore,
  restore: (state, { pid }) => {
    const now = read(pid);
    if (now.oomScoreAdjustment !== state.oomScoreAdjustment) write(pid, 'oom_score_adj', `${state.oomScoreAdjustment}`);
    if (now.coredumpFilter !== state.coredumpFilter) {
      write(pid, 'coredump_filter', `0x${state.coredumpFilter.toString(16)}`);
    }
  },
};

function read(pid: Pid): ProcFiles {
  return {
    oomScoreAdjustment: Number.parseInt(readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8'), 10),
    coredumpFilter: Number.parseInt(readFileSync(`/proc/${pid}/coredump_filter`, 'utf8'), 16),
  };
}

function write(pid: Pid, file: string, value: string): void {
  try {
    writeFileSync(`/proc/${pid}/${file}`, value);
  } catch (cause) {
    throw new QuicksaveError('proc-file', `Could not set ${file} of process ${pid} to ${value}.`, { cause });
  }
}

const CAP_SYS_RESOURCE = 24n;

function refuseLowerScore(state: ProcFiles, host: HostView, pid: Pid): Problem[] {
  if ((host.status.capEffective >> CAP_SYS_RESOURCE) & 1n) return [];
  const own = read(host.ownPid).oomScoreAdjustment;
  if (state.oomScoreAdjustment >= own) return [];
  return [
    {
      code: 'oom-score-too-low',
      path: [`pid ${pid}`, 'oom_score_adj'],
      message: `Its oom_score_adj is ${state.oomScoreAdjustment}, below this command's own ${own}, which only CAP_SYS_RESOURCE may set.`,
      remedy: `Run the restart from a process whose oom_score_adj is ${state.oomScoreAdjustment}.`,
    },
  ];
}
