/** How a job stands, from its folder alone: nobody is asked and nothing is changed. */
import { QuicksaveError } from '../support/errors.ts';
import { JobFolder } from './job-folder.ts';
import type { HistoryRecord, JobEnd } from './job-records.ts';

/**
 * `running`: somebody takes care of it. `interrupted`: it was killed, or the machine has stopped; the next start goes on from
 * the newest save.
 */
export type JobPhase = 'starting' | 'running' | 'leaving' | 'preempted' | 'ended' | 'interrupted' | 'new';

export interface JobStatus {
  readonly folder: string;
  readonly command: readonly string[];
  readonly phase: JobPhase;
  /** Milliseconds since 1970: when it entered this phase. */
  readonly since: number;
  readonly run: number;
  /** As seen in the pid namespace of the supervisor. Only while it is under care. */
  readonly supervisor?: number;
  readonly program?: number;
  readonly end?: JobEnd;
  readonly everyMs?: number;
  readonly keep?: number;
  readonly saves: readonly { readonly name: string; readonly savedAt: number; readonly sizeBytes: number }[];
  /** If the last thing that happened was a save that failed. */
  readonly lastFailure?: string;
}

export function lookAtJob(path: string): JobStatus {
  const folder = jobFolderAt(path);
  const job = folder.job();
  const state = folder.state();
  const lock = folder.tryLock(false);
  lock?.release();
  const cared = lock === undefined;
  const saves = folder.saves().map(({ name, savedAt, sizeBytes }) => ({ name, savedAt, sizeBytes }));
  const failure = folder.history().findLast(({ event }) => event === 'saved' || event === 'not saved');
  const common = {
    folder: path,
    command: job?.command ?? [],
    saves,
    ...(failure?.event === 'not saved' ? { lastFailure: failure.message } : {}),
  };
  if (state === undefined) return { ...common, phase: 'new', since: job?.createdAt ?? 0, run: 0 };
  const settled = state.phase === 'preempted' || state.phase === 'ended';
  const { run, since, everyMs, keep, supervisor, program, end } = state;
  return {
    ...common,
    phase: cared || settled ? state.phase : 'interrupted',
    since,
    run,
    everyMs,
    keep,
    ...(cared ? { supervisor } : {}),
    ...(cared && program !== undefined ? { program } : {}),
    ...(end === undefined ? {} : { end }),
  };
}

export const historyOfJob = (path: string): HistoryRecord[] => jobFolderAt(path).history();

function jobFolderAt(path: string): JobFolder {
  const folder = new JobFolder(path);
  if (folder.exists) return folder;
  throw new QuicksaveError('no-job', `There is no job in ${path}.`, {
    remedy: 'Give the folder that quicksave run was given with --dir.',
  });
}
