/**
 * What a job's folder says about it: `job.json` (what is to run), `state.json` (how it stands), `history.jsonl` (what has
 * happened, a line each). They are read by people and their scripts too, so fields may be added but keep their meaning.
 */
import * as v from 'valibot';

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
/** Milliseconds since 1970, UTC. */
const time = v.pipe(v.number(), v.minValue(0));

export const JobRecord = v.object({
  version: v.literal(1),
  /** Stands in the environment of the program as QUICKSAVE_JOB, so that it can be found again. */
  id: v.string(),
  command: v.pipe(v.array(v.string()), v.minLength(1)),
  folder: v.string(),
  createdAt: time,
});
export type JobRecord = v.InferOutput<typeof JobRecord>;

/** How the program has ended. */
export const JobEnd = v.union([v.object({ status: count }), v.object({ signal: count })]);
export type JobEnd = v.InferOutput<typeof JobEnd>;

export const StateRecord = v.object({
  version: v.literal(1),
  /** Number of the start that this is about, from 1 on. */
  run: count,
  /** Saves of earlier starts are not gone on from. */
  firstRun: count,
  /**
   * `running` until it is known better: a folder that says so without anybody who holds its lock belongs to a job that was
   * killed.
   */
  phase: v.picklist(['starting', 'running', 'leaving', 'preempted', 'ended']),
  /** Of the supervisor and of the program, in its own pid namespace. */
  supervisor: count,
  program: v.optional(count),
  since: time,
  end: v.optional(JobEnd),
  everyMs: count,
  keep: count,
  graceMs: count,
});
export type StateRecord = v.InferOutput<typeof StateRecord>;

const common = { at: time, run: count };
const save = v.string();

export const HistoryRecord = v.variant('event', [
  v.object({ ...common, event: v.literal('started'), pid: count }),
  v.object({ ...common, event: v.literal('resumed'), pid: count, save }),
  v.object({ ...common, event: v.literal('found running'), pid: count }),
  v.object({
    ...common,
    event: v.literal('saved'),
    pid: count,
    save,
    sizeBytes: count,
    /** Missing for a save that ended the program. */
    pauseMs: v.optional(v.number()),
    totalMs: v.number(),
  }),
  v.object({ ...common, event: v.literal('not saved'), code: v.string(), message: v.string() }),
  v.object({ ...common, event: v.literal('damaged'), save, message: v.string() }),
  v.object({ ...common, event: v.literal('preempted'), saved: v.boolean() }),
  v.object({ ...common, event: v.literal('ended'), end: JobEnd }),
]);
export type HistoryRecord = v.InferOutput<typeof HistoryRecord>;
