/** The program of a job: started anew or brought back, our child either way. */
import { spawn } from 'node:child_process';
import { fstatSync, openSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { SIGNAL } from '../kernel/abi/signal.ts';
import { keepFromChildren } from '../kernel/calls/own-descriptors.ts';
import { sendSignal } from '../kernel/calls/task-attributes.ts';
import { tryWaitForTask } from '../kernel/calls/wait.ts';
import { type RestartOptions, restart } from '../library/restart.ts';
import { listProcesses, unlessMissing } from '../procfs/proc-file.ts';
import { readStat } from '../procfs/stat.ts';
import { childrenOf } from '../procfs/tasks.ts';
import { asPid, asTid } from '../support/brand.ts';
import { QuicksaveError, RefusedError } from '../support/errors.ts';
import { OUTSIDE_STATUS } from '../support/outside-status.ts';
import type { JobEnd } from './job-records.ts';

export interface Program {
  readonly pid: number;
  readonly ended: Promise<JobEnd>;
}

export type Streams = readonly [number, number, number];

/** The variable that every program of a job has in its environment: its job's id. */
export const JOB_VARIABLE = 'QUICKSAVE_JOB';

/**
 * Starts it such that it can be saved: a session of its own, and none of the descriptors that we happen to have been
 * started with beside the standard ones, which would stand in the way of every save.
 */
export function startProgram(command: readonly string[], id: string, streams: Streams): Promise<Program> {
  keepFromChildren();
  const [file = '', ...args] = command;
  const child = spawn(file, args, {
    stdio: [...streams],
    detached: true,
    env: { ...process.env, [JOB_VARIABLE]: id, [OUTSIDE_STATUS]: undefined },
  });
  const ended = new Promise<JobEnd>((resolve) => {
    child.once('exit', (status, signal) => {
      resolve(signal === null ? { status: status ?? 0 } : { signal: constants.signals[signal] });
    });
  });
  return new Promise((resolve, reject) => {
    child.once('error', (cause) => reject(cannotStart(file, cause)));
    child.once('spawn', () => resolve({ pid: child.pid ?? 0, ended }));
  });
}

function cannotStart(file: string, cause: Error): QuicksaveError {
  const { code = 'unknown error' } = cause as NodeJS.ErrnoException;
  const why = code === 'ENOENT' ? 'it is not found' : code;
  return new QuicksaveError('cannot-start', `${file} cannot be started: ${why}.`, { cause });
}

const ATTEMPTS = 8;

/**
 * Brings it back. The processes that do this have numbers too: in a young pid namespace (a container) they may be just those
 * that the program needs. The next attempt has other ones.
 */
export async function resumeProgram(
  image: string,
  streams: Streams,
  options: Omit<RestartOptions, 'streams'>,
): Promise<Program & { readonly remarks: readonly string[] }> {
  for (let attempt = 1; ; attempt++) {
    try {
      const { pid, exited, remarks } = await restart(image, { ...options, streams });
      return { pid, remarks, ended: exited() };
    } catch (error) {
      if (attempt === ATTEMPTS || !isPidInUse(error)) throw error;
    }
  }
}

const isPidInUse = (error: unknown): boolean =>
  error instanceof RefusedError && error.problems.every(({ code }) => code === 'pid-in-use');

/**
 * The standard streams of the program: ours, but a log file instead of what cannot be saved (a socket, as that of systemd's
 * journal) or is closed, and where the user wants one.
 */
export function standardStreams(logPath: string, wantsLog: boolean): { streams: Streams; logged: boolean } {
  const canBeKept = [0, 1, 2].map((fd) => {
    const stat = tryFstat(fd);
    return stat !== undefined && !stat.isSocket();
  });
  const input = canBeKept[0] ? 0 : openSync('/dev/null', 'r');
  const logged = wantsLog || !canBeKept[1] || !canBeKept[2];
  const log = logged ? openSync(logPath, 'a', 0o600) : -1;
  const output = wantsLog || !canBeKept[1] ? log : 1;
  const errors = wantsLog || !canBeKept[2] ? log : 2;
  return { streams: [input, output, errors], logged };
}

function tryFstat(fd: number): ReturnType<typeof fstatSync> | undefined {
  try {
    return fstatSync(fd);
  } catch {
    return undefined;
  }
}

/** Does this process run, and does it belong to that job? */
export function isOfJob(pid: number, id: string): boolean {
  try {
    const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
    return environment.includes(`${JOB_VARIABLE}=${id}`) && !isZombie(pid);
  } catch {
    return false;
  }
}

const isZombie = (pid: number): boolean => ['Z', 'X'].includes(readStat(asPid(pid)).state);

const GONE_WITHIN_MS = 10_000;
const LOOK_EVERY_MS = 10;

/**
 * Ends what an earlier life of the job has left: when its program was killed, its children went on, with the numbers that theirs have to
 * have again. Gives their number.
 */
export async function endLeftovers(id: string): Promise<number> {
  const own = ancestors();
  const left = listProcesses().filter((pid) => !own.has(pid) && isOfJob(pid, id));
  for (const pid of left) sendSignal(pid, SIGNAL.SIGKILL);
  const deadline = Date.now() + GONE_WITHIN_MS;
  while (left.some((pid) => isOfJob(pid, id)) && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
  return left.length;
}

/** We and whoever has started us. */
function ancestors(): Set<number> {
  const found = new Set<number>();
  for (let pid = process.pid; pid > 0 && !found.has(pid); pid = unlessMissing(() => readStat(asPid(pid)))?.ppid ?? 0) {
    found.add(pid);
  }
  return found;
}

/** The program's own way to end, as long as there is time. */
export async function endGently(program: Program, deadline: number): Promise<void> {
  signalGroup(program.pid, 'SIGTERM');
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), Math.max(0, deadline - Date.now()));
  });
  if ((await Promise.race([program.ended, late])) === 'late') signalGroup(program.pid, 'SIGKILL');
  clearTimeout(timer);
}

/** It leads a session, and so a group. */
function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // It has ended.
  }
}

/**
 * Where we are the first process of a pid namespace (a container), or a subreaper, snapshots and orphans of the program become
 * our children when they have ended. Node waits only for those that it knows.
 */
export function reapStrangers(program: number): void {
  for (const pid of unlessMissing(() => childrenOf(asPid(process.pid))) ?? []) {
    if (pid === program || unlessMissing(() => readStat(pid))?.state !== 'Z') continue;
    tryWaitForTask(asTid(pid));
  }
}
