/**
 * /proc/PID/stat and /proc/PID/task/TID/stat: proc_pid_stat(5). Left out are the fields that are always 0 today and the
 * signal masks, which hold 31 signals only (status has them whole).
 *
 * Without PTRACE_MODE_READ the kernel prints 0 (or 1) for addresses and the exit code, and no error.
 */
import { asPid, type Pid, type Tid } from '../support/brand.ts';
import { readProcText } from './proc-file.ts';
import { type ExactInteger, malformed, parseDecimal, parseExact } from './proc-text.ts';

export interface ProcessStat {
  /** Of the task: in a thread's own file it is the tid. */
  readonly pid: number;
  readonly comm: string;
  /** One letter: R S D T t X Z P I. */
  readonly state: string;
  readonly ppid: Pid;
  readonly processGroup: number;
  readonly session: number;
  /** The device number of the controlling terminal; 0 if there is none. */
  readonly ttyNumber: number;
  /** -1 if there is no controlling terminal. */
  readonly foregroundGroup: number;
  /** PF_* of include/linux/sched.h. */
  readonly flags: number;
  readonly minorFaults: number;
  readonly childMinorFaults: number;
  readonly majorFaults: number;
  readonly childMajorFaults: number;
  readonly userTimeTicks: number;
  readonly systemTimeTicks: number;
  readonly childUserTimeTicks: number;
  readonly childSystemTimeTicks: number;
  readonly priority: number;
  readonly nice: number;
  readonly threadCount: number;
  /** After boot, in clock ticks; with the pid it tells one process from a later one of the same number. */
  readonly startTimeTicks: number;
  readonly virtualSizeBytes: number;
  readonly residentPages: number;
  readonly residentLimitBytes: ExactInteger;
  readonly startCode: number;
  readonly endCode: number;
  readonly startStack: number;
  readonly exitSignal: number;
  readonly processor: number;
  readonly realtimePriority: number;
  readonly policy: number;
  readonly blockIoDelayTicks: number;
  readonly guestTimeTicks: number;
  readonly childGuestTimeTicks: number;
  readonly startData: number;
  readonly endData: number;
  readonly startBrk: number;
  readonly argStart: number;
  readonly argEnd: number;
  readonly envStart: number;
  readonly envEnd: number;
  /** In the form of waitpid(2). */
  readonly exitCode: number;
}

const FILE = 'stat';
/** Fields by proc(5)'s numbers, up to exit_code (Linux 3.5). */
const LAST_FIELD = 52;

export const readStat = (pid: Pid): ProcessStat => parseStat(readProcText(pid, 'stat'));

export const readTaskStat = (pid: Pid, tid: Tid): ProcessStat => parseStat(readProcText(pid, `task/${tid}/stat`));

export function parseStat(text: string): ProcessStat {
  // A name may hold parentheses, blanks and newlines, here unescaped; no field behind it holds a parenthesis.
  const [open, close] = [text.indexOf(' ('), text.lastIndexOf(') ')];
  if (open < 0 || close < open) throw malformed(FILE, 'a name in parentheses', text);
  const fields = text
    .slice(close + 2)
    .trimEnd()
    .split(' ');
  const field = (number: number): string | undefined => fields[number - 3];
  if (field(LAST_FIELD) === undefined) throw malformed(FILE, `${LAST_FIELD} fields`, text);
  return {
    pid: parseDecimal(FILE, 'pid', text.slice(0, open)),
    comm: text.slice(open + 2, close),
    state: parseState(field(3)),
    ...parseFields((name, number) => parseDecimal(FILE, name, field(number))),
    residentLimitBytes: parseExact(FILE, 'rsslim', field(25)),
  };
}

function parseState(text: string | undefined): string {
  if (text === undefined || !/^[A-Za-z]$/.test(text)) throw malformed(FILE, 'state', text);
  return text;
}

function parseFields(
  decimal: (name: string, number: number) => number,
): Omit<ProcessStat, 'pid' | 'comm' | 'state' | 'residentLimitBytes'> {
  return {
    ppid: asPid(decimal('ppid', 4)),
    processGroup: decimal('pgrp', 5),
    session: decimal('session', 6),
    ttyNumber: decimal('tty_nr', 7),
    foregroundGroup: decimal('tpgid', 8),
    flags: decimal('flags', 9),
    minorFaults: decimal('minflt', 10),
    childMinorFaults: decimal('cminflt', 11),
    majorFaults: decimal('majflt', 12),
    childMajorFaults: decimal('cmajflt', 13),
    userTimeTicks: decimal('utime', 14),
    systemTimeTicks: decimal('stime', 15),
    childUserTimeTicks: decimal('cutime', 16),
    childSystemTimeTicks: decimal('cstime', 17),
    priority: decimal('priority', 18),
    nice: decimal('nice', 19),
    threadCount: decimal('num_threads', 20),
    startTimeTicks: decimal('starttime', 22),
    virtualSizeBytes: decimal('vsize', 23),
    residentPages: decimal('rss', 24),
    startCode: decimal('startcode', 26),
    endCode: decimal('endcode', 27),
    startStack: decimal('startstack', 28),
    exitSignal: decimal('exit_signal', 38),
    processor: decimal('processor', 39),
    realtimePriority: decimal('rt_priority', 40),
    policy: decimal('policy', 41),
    blockIoDelayTicks: decimal('delayacct_blkio_ticks', 42),
    guestTimeTicks: decimal('guest_time', 43),
    childGuestTimeTicks: decimal('cguest_time', 44),
    startData: decimal('start_data', 45),
    endData: decimal('end_data', 46),
    startBrk: decimal('start_brk', 47),
    argStart: decimal('arg_start', 48),
    argEnd: decimal('arg_end', 49),
    envStart: decimal('env_start', 50),
    envEnd: decimal('env_end', 51),
    exitCode: decimal('exit_code', 52),
  };
}
