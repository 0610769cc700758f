/** Who has a pipe, a socket or a file open: found by reading every link in /proc/PID/fd. */

import { type Pid, type RemoteFd, remoteFd } from '../support/brand.ts';
import type { ErrorCode } from '../support/error-pages/catalogue.ts';
import { listProcesses, listProcNumbers, readProcLink, unlessMissing, VANISHED } from './proc-file.ts';
import { commOf } from './tasks.ts';

export interface Holder {
  readonly pid: Pid;
  readonly comm: string;
  readonly fd: RemoteFd;
}

/** A message names a few of them; a listener of a busy server may have thousands. */
const DEFAULT_LIMIT = 64;

/**
 * The holders of `target` (the text of the link: 'pipe:[1234]', '/tmp/log'), outside `exceptPids`. Processes that we
 * may not look into are passed over: run as root to see them all.
 */
export const findHolders = (target: string, exceptPids: ReadonlySet<number>, limit = DEFAULT_LIMIT): Holder[] =>
  findHoldersOfEach(new Set([target]), exceptPids, limit).get(target) ?? [];

/**
 * As `findHolders` for many targets in one scan; at most `limit` for each. A target that nobody else holds is not in
 * the map.
 */
export function findHoldersOfEach(
  targets: ReadonlySet<string>,
  exceptPids: ReadonlySet<number>,
  limit = DEFAULT_LIMIT,
): Map<string, Holder[]> {
  const found = new Map<string, Holder[]>();
  if (targets.size === 0) return found;
  for (const pid of listProcesses()) {
    if (!exceptPids.has(pid)) ifVisible(() => scanProcess(pid, targets, limit, found));
  }
  return found;
}

/** Whether what was seen by {@link findHolders} is so now. */
export const stillHolds = ({ pid, fd }: Holder, target: string): boolean =>
  ifVisible(() => readProcLink(pid, `fd/${fd}`)) === target;

function scanProcess(pid: Pid, targets: ReadonlySet<string>, limit: number, found: Map<string, Holder[]>): void {
  for (const fd of listProcNumbers(pid, 'fd')) {
    const target = ifVisible(() => readProcLink(pid, `fd/${fd}`));
    if (target === undefined || !targets.has(target)) continue;
    const holders = found.get(target) ?? [];
    if (holders.length < limit) holders.push({ pid, comm: commOf(pid), fd: remoteFd(fd) });
    found.set(target, holders);
  }
}

const INVISIBLE: readonly ErrorCode[] = [...VANISHED, 'not-permitted'];

/** The value of `read`, or undefined if the process is gone or not ours to see. */
const ifVisible = <T>(read: () => T): T | undefined => unlessMissing(read, INVISIBLE);
