/** /proc/PID/timers: proc_pid_timers(5). Needs CONFIG_CHECKPOINT_RESTORE. */
import type { Pid } from '../support/brand.ts';
import { readProcText } from './proc-file.ts';
import { lines, malformed, parseDecimal, parseMask } from './proc-text.ts';

export interface PosixTimer {
  readonly id: number;
  readonly signal: number;
  /** sigev_value, as the program gave it. */
  readonly value: bigint;
  readonly notify: 'signal' | 'none' | 'thread';
  /** Whom it notifies: the process, or one thread (SIGEV_THREAD_ID). */
  readonly target: { readonly kind: 'pid' | 'tid'; readonly id: number };
  /** CLOCK_* of clock_gettime(2); negative for the clock of one process or thread. */
  readonly clockId: number;
}

const FILE = 'timers';
const NOTIFY: readonly PosixTimer['notify'][] = ['signal', 'none', 'thread'];

export const readTimers = (pid: Pid): PosixTimer[] => parseTimers(readProcText(pid, 'timers'));

/** Each timer is four lines that begin with its ID. */
export function parseTimers(text: string): PosixTimer[] {
  const all = lines(text);
  return Array.from({ length: Math.ceil(all.length / 4) }, (_, index) =>
    parseTimer(all.slice(4 * index, 4 * index + 4)),
  );
}

function parseTimer(block: readonly string[]): PosixTimer {
  const [signal, value, ...rest] = valueAfter(block[1], 'signal').split('/');
  if (rest.length > 0) throw malformed(FILE, 'signal', block[1]);
  return {
    id: parseDecimal(FILE, 'ID', valueAfter(block[0], 'ID')),
    signal: parseDecimal(FILE, 'signal', signal),
    value: parseMask(FILE, 'signal', value),
    ...parseNotify(valueAfter(block[2], 'notify')),
    clockId: parseDecimal(FILE, 'ClockID', valueAfter(block[3], 'ClockID')),
  };
}

function valueAfter(line: string | undefined, key: string): string {
  if (!line?.startsWith(`${key}:`)) throw malformed(FILE, key, line);
  return line.slice(key.length + 1).trim();
}

/** "signal/pid.4490" */
function parseNotify(text: string): Pick<PosixTimer, 'notify' | 'target'> {
  const [, notifyText, kind, id] = /^([a-z]+)\/(pid|tid)\.(\d+)$/.exec(text) ?? [];
  const notify = NOTIFY.find((known) => known === notifyText);
  if (notify === undefined) throw malformed(FILE, 'notify', text);
  return { notify, target: { kind: kind === 'tid' ? 'tid' : 'pid', id: parseDecimal(FILE, 'notify', id) } };
}
