/**
 * The script of a job under care: lock the folder -> go on from the newest save, or start -> save again and again -> end.
 *
 * Saves and restarts run in processes of their own (see library/pipeline.ts), so whatever happens to them the supervisor
 * stays. If the supervisor is killed, its program goes on; the next start finds it, saves it and takes it over.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { type CheckpointOptions, checkpoint } from '../library/checkpoint.ts';
import type { RestartOptions } from '../library/restart.ts';
import { unlessMissing } from '../procfs/proc-file.ts';
import { readStatus } from '../procfs/status.ts';
import { asPid } from '../support/brand.ts';
import type { ErrorCode } from '../support/error-pages/catalogue.ts';
import { ImageError, QuicksaveError, RefusedError } from '../support/errors.ts';
import { baseFor } from './increments.ts';
import { JobFolder, type SaveFile } from './job-folder.ts';
import type { HistoryRecord, JobEnd, JobRecord, StateRecord } from './job-records.ts';
import { Mailbox } from './mailbox.ts';
import {
  endGently,
  endLeftovers,
  isOfJob,
  type Program,
  reapStrangers,
  resumeProgram,
  type Streams,
  standardStreams,
  startProgram,
} from './program.ts';

export interface JobRequest {
  readonly folder: string;
  readonly command: readonly string[];
  readonly everyMs: number;
  /** How many saves stay. */
  readonly keep: number;
  /** From the notice that the program has to go until it is ended. */
  readonly graceMs: number;
  /** Saves have only what differs from an earlier one of this start, where that pays. */
  readonly incremental: boolean;
  /** zstd level, 0 for none; undefined: as much as the disk is slower than compressing. */
  readonly compress: number | undefined;
  /** Start over, whatever saves there are. */
  readonly fresh: boolean;
  readonly acceptChangedFiles: boolean;
  readonly protection: JobProtection;
  /** Where the program's output goes, if not to ours. */
  readonly log: string | undefined;
  /** A line for a person. */
  readonly say: (line: string) => void;
  /** Whether a save can only be gone on from in a namespace that the caller has to make. Default: no. */
  readonly needsNamespace?: () => boolean;
}

export interface JobProtection {
  readonly ofSave: Pick<CheckpointOptions, 'encrypt' | 'sign'>;
  readonly ofRestart: Pick<RestartOptions, 'keys' | 'verifyKey' | 'trust'>;
}

export type JobOutcome =
  | { readonly kind: 'ended'; readonly end: JobEnd }
  /** The program had to go. `saved`: nothing of its work is lost. */
  | { readonly kind: 'preempted'; readonly saved: boolean }
  /** It has ended well in an earlier start. */
  | { readonly kind: 'finished'; readonly at: number }
  /** It has to be gone on from in a namespace of its own: nothing of it runs here any more, and nobody takes care of it yet. */
  | { readonly kind: 'elsewhere' };

type Letter = { readonly kind: 'ended'; readonly end: JobEnd } | { readonly kind: 'leave' | 'save' };

const LEAVE = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1'] as const;
const SAVE_NOW = 'SIGUSR2';

/** Signals become letters from here on, also those that come before there is a program. */
export async function superviseJob(request: JobRequest): Promise<JobOutcome> {
  const mailbox = new Mailbox<Letter>();
  const leaving = new AbortController();
  const leave = (): void => {
    if (leaving.signal.aborted) return;
    leaving.abort();
    mailbox.post({ kind: 'leave' });
  };
  const save = (): void => mailbox.post({ kind: 'save' });
  for (const signal of LEAVE) process.on(signal, leave);
  process.on(SAVE_NOW, save);
  const folder = new JobFolder(request.folder);
  folder.make();
  const lock = await lockFolder(folder);
  try {
    folder.tidy();
    const job = claim(folder, request);
    const before = folder.state();
    if (!request.fresh && before?.phase === 'ended' && before.end !== undefined && isSuccess(before.end)) {
      return { kind: 'finished', at: before.since };
    }
    const care = new Care(request, folder, job, before, mailbox, leaving.signal);
    if (request.needsNamespace?.() === true && (await care.leavesForNamespace())) return { kind: 'elsewhere' };
    return await care.toEnd();
  } finally {
    lock.release();
    for (const signal of LEAVE) process.off(signal, leave);
    process.off(SAVE_NOW, save);
  }
}

const isSuccess = (end: JobEnd): boolean => 'status' in end && end.status === 0;

const LOCK_ATTEMPTS = 20;
const LOCK_AGAIN_MS = 50;

/** `status` holds the lock for a moment, when it looks whether somebody else does. */
async function lockFolder(folder: JobFolder): Promise<{ release: () => void }> {
  for (let attempt = 0; attempt < LOCK_ATTEMPTS; attempt++) {
    const lock = folder.tryLock(true);
    if (lock !== undefined) return lock;
    await new Promise((resolve) => setTimeout(resolve, LOCK_AGAIN_MS));
  }
  throw new QuicksaveError('job-runs', `The job in ${folder.path} is under care already.`, {
    remedy: `See quicksave status ${folder.path}, or give another folder with --dir.`,
  });
}

/** A folder belongs to one command. */
function claim(folder: JobFolder, { command }: JobRequest): JobRecord {
  const known = folder.job();
  if (known !== undefined) {
    if (JSON.stringify(known.command) === JSON.stringify(command)) return known;
    throw new QuicksaveError(
      'other-job',
      `The folder ${folder.path} belongs to another job: ${known.command.join(' ')}`,
      {
        remedy: 'Give another folder with --dir.',
      },
    );
  }
  const job: JobRecord = {
    version: 1,
    id: randomUUID(),
    command: [...command],
    folder: process.cwd(),
    createdAt: Date.now(),
  };
  folder.writeJob(job);
  return job;
}

type Event = HistoryRecord extends infer One ? (One extends HistoryRecord ? Omit<One, 'at' | 'run'> : never) : never;

class Care {
  readonly #request: JobRequest;
  readonly #folder: JobFolder;
  readonly #job: JobRecord;
  readonly #mailbox: Mailbox<Letter>;
  readonly #leaving: AbortSignal;
  #state: StateRecord;
  #saves = 0;
  /** What the last save that failed said: it is not said again and again. */
  #lastFailure = '';

  constructor(
    request: JobRequest,
    folder: JobFolder,
    job: JobRecord,
    before: StateRecord | undefined,
    mailbox: Mailbox<Letter>,
    leaving: AbortSignal,
  ) {
    this.#request = request;
    this.#folder = folder;
    this.#job = job;
    this.#mailbox = mailbox;
    this.#leaving = leaving;
    const run = (before?.run ?? 0) + 1;
    const { everyMs, keep, graceMs, fresh } = request;
    this.#state = {
      version: 1,
      run,
      firstRun: fresh ? run : (before?.firstRun ?? 1),
      phase: 'starting',
      supervisor: process.pid,
      program: before?.program,
      since: Date.now(),
      everyMs,
      keep,
      graceMs,
    };
  }

  /** Whether there is a save to go on from, with everything ended that an earlier start has left here: there it could not be seen. */
  async leavesForNamespace(): Promise<boolean> {
    if (this.#request.fresh) return false;
    if (this.#orphan() !== undefined) {
      // What is saved now belongs to a start of its own.
      this.#enter({});
      await this.#takeOver();
    }
    if (this.#resumable().length === 0) return false;
    await this.#endLeftovers();
    return true;
  }

  async toEnd(): Promise<JobOutcome> {
    this.#enter({});
    const program = await this.#begin();
    this.#enter({ phase: 'running', program: program.pid });
    void program.ended.then((end) => this.#mailbox.post({ kind: 'ended', end }));
    let due = Date.now() + this.#request.everyMs;
    for (;;) {
      const letter = await this.#mailbox.take(due);
      if (letter?.kind === 'ended') return this.#finish(letter.end);
      if (letter?.kind === 'leave') return await this.#leave(program);
      // A timer holds at most 25 days.
      if (letter === undefined && Date.now() < due) continue;
      due = Date.now() + this.#request.everyMs;
      await this.#saveAndGoOn(program);
    }
  }

  async #begin(): Promise<Program> {
    const log = this.#request.log ?? join(this.#folder.path, 'output.log');
    const { streams, logged } = standardStreams(log, this.#request.log !== undefined);
    if (logged && this.#request.log === undefined) this.#say(`its output goes to ${log}: a socket cannot be saved`);
    await this.#takeOver();
    const resumed = await this.#tryResume(streams);
    if (resumed !== undefined) return resumed;
    const program = await startProgram(this.#job.command, this.#job.id, streams);
    this.#note({ event: 'started', pid: program.pid });
    this.#say(`started process ${program.pid}: ${this.#job.command.join(' ')}`);
    return program;
  }

  /** A program whose supervisor was killed: it is saved as it is, and then brought back as our child. */
  async #takeOver(): Promise<void> {
    const pid = this.#orphan();
    if (pid === undefined) return;
    this.#note({ event: 'found running', pid });
    this.#say(`process ${pid} still runs, without anybody who takes care of it: it is saved and taken over`);
    await untilUntraced(pid);
    if (this.#request.fresh) throw stillRuns(pid, '--fresh begins anew only when it has ended');
    try {
      await this.#save(pid, { kill: true });
    } catch (error) {
      if (!isOfJob(pid, this.#job.id)) return;
      throw error instanceof RefusedError
        ? new RefusedError(stillRuns(pid, 'and it cannot be saved').message, error.problems)
        : error;
    }
  }

  #orphan(): number | undefined {
    const known = this.#folder.history().flatMap((one) => ('pid' in one ? [one.pid] : []));
    const pids = new Set([...(this.#state.program === undefined ? [] : [this.#state.program]), ...known]);
    return [...pids].find((pid) => isOfJob(pid, this.#job.id));
  }

  /** From the newest save that can be read whole. Undefined if there is none. */
  async #tryResume(streams: Streams): Promise<Program | undefined> {
    const saves = this.#resumable();
    let failure: unknown;
    if (saves.length > 0) await this.#endLeftovers();
    for (const save of saves.reverse()) {
      try {
        return await this.#resume(save, streams);
      } catch (error) {
        if (error instanceof RefusedError || isNotForUs(error)) throw error;
        if (error instanceof ImageError) this.#setAside(save, error);
        else failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
    return undefined;
  }

  /** The newest last. */
  #resumable(): SaveFile[] {
    return this.#folder.saves().filter(({ run }) => run >= this.#state.firstRun);
  }

  async #endLeftovers(): Promise<void> {
    const count = await endLeftovers(this.#job.id);
    if (count > 0)
      this.#say(
        `${count === 1 ? 'a process' : `${count} processes`} of an earlier start still ran, and had to be ended`,
      );
  }

  async #resume(save: SaveFile, streams: Streams): Promise<Program> {
    const { acceptChangedFiles, protection } = this.#request;
    const program = await resumeProgram(save.path, streams, {
      acceptChangedFiles,
      // A batch system counts what the job takes in the group of whoever runs it now.
      cgroups: 'ignore',
      ...protection.ofRestart,
    });
    this.#note({ event: 'resumed', pid: program.pid, save: save.name });
    this.#say(`process ${program.pid} goes on from the save of ${new Date(save.savedAt).toISOString()} (${save.name})`);
    for (const remark of program.remarks) this.#request.say(`  ${remark}`);
    return program;
  }

  #setAside(save: SaveFile, { message }: ImageError): void {
    this.#folder.setAside(save);
    this.#note({ event: 'damaged', save: save.name, message });
    this.#say(`the save ${save.name} is damaged, and the one before it is taken: ${message}`);
  }

  async #saveAndGoOn({ pid }: Program): Promise<void> {
    try {
      await this.#save(pid, { kill: false, signal: this.#leaving });
      this.#lastFailure = '';
    } catch (error) {
      this.#tellFailure(error, pid);
    }
  }

  async #save(pid: number, options: { kill: boolean; signal?: AbortSignal }): Promise<void> {
    this.#saves++;
    const { imageBytes, pauseMs, totalMs, killed } = await this.#write(pid, options);
    const pause = killed ? {} : { pauseMs };
    const save = this.#folder.saves().at(-1)?.name ?? '';
    this.#note({ event: 'saved', pid, save, sizeBytes: imageBytes, ...pause, totalMs });
    this.#folder.retain(this.#request.keep);
    reapStrangers(pid);
  }

  async #write(pid: number, options: { kill: boolean; signal?: AbortSignal }): ReturnType<typeof checkpoint> {
    const { run } = this.#state;
    const { compress, protection, incremental } = this.#request;
    const how = { ...options, ...protection.ofSave, ...(compress === undefined ? {} : { compress }) };
    const base = incremental ? baseFor(this.#folder.saves(), run) : undefined;
    if (base !== undefined) {
      const { keys } = protection.ofRestart;
      const parent = { parent: base.path, ...(keys === undefined ? {} : { keys }) };
      try {
        return await checkpoint(pid, this.#folder.savePath(run, this.#saves, base.number), { ...how, ...parent });
      } catch (error) {
        // A save does not fail because an earlier one cannot be read.
        if (!(error instanceof ImageError || isNotForUs(error))) throw error;
      }
    }
    return await checkpoint(pid, this.#folder.savePath(run, this.#saves), how);
  }

  /** What stands in the way of a save is said once, not at every interval. */
  #tellFailure(error: unknown, pid: number): void {
    // It has ended meanwhile, or has to: what follows says so.
    if (!isOfJob(pid, this.#job.id) || this.#leaving.aborted) return;
    const { code, message, problems } = describe(error);
    this.#note({ event: 'not saved', code, message: [message, ...problems].join(' ') });
    const text = [message, ...problems].join('\n  ');
    if (text !== this.#lastFailure) this.#say(`no save was made, and the program goes on: ${text}`);
    this.#lastFailure = text;
  }

  /** The program has to go: it is saved and ended, within the grace time. */
  async #leave(program: Program): Promise<JobOutcome> {
    const deadline = Date.now() + this.#request.graceMs;
    this.#enter({ phase: 'leaving' });
    let saved = false;
    try {
      await this.#save(program.pid, { kill: true, signal: AbortSignal.timeout(this.#request.graceMs) });
      saved = true;
    } catch (error) {
      if (!isOfJob(program.pid, this.#job.id)) return this.#finish(await program.ended);
      const { message, problems } = describe(error);
      this.#say(`it could not be saved before its end: ${[message, ...problems].join('\n  ')}`);
      await endGently(program, deadline);
    }
    await program.ended;
    this.#note({ event: 'preempted', saved });
    this.#enter({ phase: 'preempted' });
    this.#say(saved ? 'saved and ended; the next start goes on from here' : 'ended without a save of its last state');
    return { kind: 'preempted', saved };
  }

  #finish(end: JobEnd): JobOutcome {
    this.#note({ event: 'ended', end });
    this.#enter({ phase: 'ended', end });
    return { kind: 'ended', end };
  }

  #enter(change: Partial<StateRecord>): void {
    this.#state = { ...this.#state, ...change, since: Date.now() };
    this.#folder.writeState(this.#state);
  }

  #note(event: Event): void {
    this.#folder.note({ at: Date.now(), run: this.#state.run, ...event });
  }

  #say(line: string): void {
    this.#request.say(line);
  }
}

/** A save that may well be good, but not to whoever has these keys: an older one is not what was asked for. */
const NOT_FOR_US: readonly ErrorCode[] = [
  'bad-key',
  'no-key',
  'wrong-key',
  'not-signed',
  'wrong-signer',
  'bad-signature',
  'not-yours',
];

const isNotForUs = (error: unknown): boolean => error instanceof QuicksaveError && NOT_FOR_US.includes(error.code);

function describe(error: unknown): { code: ErrorCode; message: string; problems: string[] } {
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof QuicksaveError ? error.code : 'internal';
  const problems =
    error instanceof RefusedError ? error.problems.map((one) => `${one.path.join(' › ')}: ${one.message}`) : [];
  return { code, message, problems };
}

function stillRuns(pid: number, why: string): QuicksaveError {
  return new QuicksaveError('job-still-runs', `Process ${pid} of this job still runs, ${why}.`, {
    remedy: `End it (kill ${pid}) and start again.`,
  });
}

const UNTRACED_WITHIN_MS = 60_000;
const LOOK_EVERY_MS = 20;

/** A save that the killed supervisor had begun comes to its end by itself. */
async function untilUntraced(pid: number): Promise<void> {
  const deadline = Date.now() + UNTRACED_WITHIN_MS;
  while (Date.now() < deadline && (unlessMissing(() => readStatus(asPid(pid)))?.tracerPid ?? 0) !== 0) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}
