/**
 * The only place where /proc is read. A process may go away between any two reads (proc(5)), so that every failure
 * becomes a typed error here: 'no-such-process' if /proc/PID is gone as well, else what is missing in it.
 */
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { Pid } from '../support/brand.ts';
import type { ErrorCode } from '../support/error-pages/catalogue.ts';
import { QuicksaveError } from '../support/errors.ts';
import { remedyForLack } from '../support/lacking.ts';

const errnoOf = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;

export const noSuchProcess = (pid: number, cause?: unknown): QuicksaveError =>
  new QuicksaveError('no-such-process', `There is no process ${pid}.`, { cause });

/**
 * ESRCH is also said of a zombie's or a kernel thread's auxv (it has no memory any more), EINVAL of a zombie's
 * mountinfo (it has no mount namespace). Both are then still listed in /proc.
 */
const MISSING = ['ENOENT', 'ESRCH', 'EINVAL'];

/** Turns what node:fs threw for `/proc/PID/path` into the error for the user. */
export function procError(error: unknown, pid: number, path: string): QuicksaveError {
  const errno = errnoOf(error);
  if (errno !== undefined && MISSING.includes(errno)) return missingError(error, pid, path);
  if (errno === 'EACCES' || errno === 'EPERM') {
    return new QuicksaveError('not-permitted', `Reading /proc/${pid}/${path} is not permitted.`, {
      remedy: 'Run quicksave as root, or as the user who owns the process.',
      cause: error,
    });
  }
  const remedy = errno === undefined ? undefined : remedyForLack(errno);
  if (remedy !== undefined)
    return new QuicksaveError('no-room', `/proc/${pid}/${path} could not be read (${errno}).`, {
      remedy,
      cause: error,
    });
  const reason = error instanceof Error ? error.message : String(error);
  return new QuicksaveError('proc-unreadable', `/proc/${pid}/${path} could not be read: ${reason}.`, { cause: error });
}

function missingError(cause: unknown, pid: number, path: string): QuicksaveError {
  if (!existsSync(`/proc/${pid}`)) return noSuchProcess(pid, cause);
  const task = /^task\/(\d+)(\/|$)/.exec(path)?.[1];
  if (task !== undefined && !existsSync(`/proc/${pid}/task/${task}`)) {
    return new QuicksaveError('no-such-task', `Process ${pid} has no task ${task}.`, { cause });
  }
  return new QuicksaveError('no-proc-file', `There is no /proc/${pid}/${path}.`, { cause });
}

/** A process, a task or one file of it is gone: what a scan over a living system passes over. */
export const VANISHED: readonly ErrorCode[] = ['no-such-process', 'no-such-task', 'no-proc-file'];

function withProcErrors<T>(pid: number, path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw procError(error, pid, path);
  }
}

/** The text of `/proc/PID/path`. Bytes that are not UTF-8 become U+FFFD: see `isLossyText`. */
export const readProcText = (pid: Pid, path: string): string =>
  withProcErrors(pid, path, () => readFileSync(`/proc/${pid}/${path}`, 'utf8'));

export const readProcBytes = (pid: Pid, path: string): Uint8Array =>
  withProcErrors(pid, path, () => readFileSync(`/proc/${pid}/${path}`));

export const readProcLink = (pid: Pid, path: string): string =>
  withProcErrors(pid, path, () => readlinkSync(`/proc/${pid}/${path}`));

/** The entries of a /proc directory whose names are numbers (tasks, descriptors), in ascending order. */
export const listProcNumbers = (pid: Pid, path: string): number[] =>
  withProcErrors(pid, path, () => numericNames(readdirSync(`/proc/${pid}/${path}`)));

/** Every process of our pid namespace, in ascending order. */
export const listProcesses = (): Pid[] => numericNames(readdirSync('/proc')) as Pid[];

const numericNames = (names: readonly string[]): number[] =>
  names
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .sort((a, b) => a - b);

/**
 * A Linux path is bytes; one that is not UTF-8 was decoded with U+FFFD in it and does not name the file any more.
 * Whoever saves a path asks this first and refuses.
 */
export const isLossyText = (text: string): boolean => text.includes('\uFFFD');

/** The value of `read`, or undefined if it fails with one of these codes. */
export function unlessMissing<T>(read: () => T, codes: readonly ErrorCode[] = VANISHED): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof QuicksaveError && codes.includes(error.code)) return undefined;
    throw error;
  }
}

/** /proc/sys/kernel/pid_max, proc_sys_kernel(5): one more than the highest number of a task. */
export const readPidMax = (): number => Number(readFileSync('/proc/sys/kernel/pid_max', 'utf8'));

/** /proc/sys/kernel/overflowuid, proc_sys_kernel(5): whom users look like that a user namespace has no number for. */
export const readOverflowUid = (): number => Number(readFileSync('/proc/sys/kernel/overflowuid', 'utf8'));

/**
 * The group that all groups look like which our user namespace has no number for (/proc/sys/kernel/overflowgid). Undefined if it is a group of this
 * namespace: /proc/PID/gid_map, user_namespaces(7).
 */
export function readNamelessGroup(): number | undefined {
  const overflow = Number(readFileSync('/proc/sys/kernel/overflowgid', 'utf8'));
  return isMapped(readFileSync('/proc/self/gid_map', 'utf8'), overflow) ? undefined : overflow;
}

/** The text of a map of ids: first id inside, first id outside, and how many, in each line. */
export const isMapped = (map: string, id: number): boolean =>
  map.split('\n').some((line) => {
    const [first = 0, , count = 0] = line.trim().split(/\s+/).map(Number);
    return id >= first && id < first + count;
  });
