/** /proc/PID/fdinfo/FD: proc_pid_fdinfo(5), proc_locks(5). */
import type { Pid, RemoteFd } from '../support/brand.ts';
import { readProcText } from './proc-file.ts';
import {
  type ExactInteger,
  lines,
  malformed,
  parseDecimal,
  parseExact,
  parseHex,
  parseOctal,
  words,
} from './proc-text.ts';

export interface Fdinfo {
  readonly position: ExactInteger;
  /** O_* as open(2), with O_CLOEXEC for this descriptor. */
  readonly flags: number;
  /** Of the mount; one inside the kernel (pipes, memfd) is in no mountinfo. */
  readonly mountId: number;
  /** Linux 5.14. */
  readonly inode: ExactInteger | undefined;
  readonly locks: readonly FileLock[];
  /** The lines that only this kind of file has, by key. epoll and inotify print one line for each thing watched. */
  readonly fields: ReadonlyMap<string, readonly string[]>;
}

export interface FileLock {
  readonly kind: 'POSIX' | 'FLOCK' | 'OFDLCK' | 'LEASE' | 'DELEG';
  /** Always false since Linux 5.15. */
  readonly mandatory: boolean;
  /** A lease that somebody waits for: BREAKING. */
  readonly breaking: boolean;
  readonly type: 'READ' | 'WRITE' | 'UNLCK';
  /** -1 if it belongs to the open file description (OFDLCK). */
  readonly pid: number;
  readonly major: number;
  readonly minor: number;
  readonly inode: ExactInteger;
  readonly start: ExactInteger;
  /** Exclusive; the kernel prints the last byte. */
  readonly end: ExactInteger | 'EOF';
}

const FILE = 'fdinfo';
const LOCK_KINDS: readonly FileLock['kind'][] = ['POSIX', 'FLOCK', 'OFDLCK', 'LEASE', 'DELEG'];
const LOCK_TYPES: readonly FileLock['type'][] = ['READ', 'WRITE', 'UNLCK'];
const LOCK_MODES = ['ADVISORY', 'MANDATORY', 'ACTIVE', 'BREAKING', 'BREAKER'];

export const readFdinfo = (pid: Pid, fd: RemoteFd): Fdinfo => parseFdinfo(readProcText(pid, `fdinfo/${fd}`));

export function parseFdinfo(text: string): Fdinfo {
  const fields = groupByKey(lines(text).map(splitLine));
  const locks = takeAll(fields, 'lock').map(parseLock);
  const inode = fields.has('ino') ? parseExact(FILE, 'ino', takeOne(fields, 'ino')) : undefined;
  return {
    position: parseExact(FILE, 'pos', takeOne(fields, 'pos')),
    flags: parseOctal(FILE, 'flags', takeOne(fields, 'flags')),
    mountId: parseDecimal(FILE, 'mnt_id', takeOne(fields, 'mnt_id')),
    inode,
    locks,
    fields,
  };
}

/** The only line with this key; one that is missing or repeated is an error. */
export function fdinfoField(info: Fdinfo, key: string): string {
  const [value, ...more] = fdinfoLines(info, key);
  if (value === undefined || more.length > 0) throw malformed(FILE, `one line "${key}"`, more[0]);
  return value;
}

/** Every line with this key, in order. */
export const fdinfoLines = (info: Fdinfo, key: string): readonly string[] => info.fields.get(key) ?? [];

/** inotify and fanotify put no colon behind their names; "settime flags:" (timerfd) has a blank in its key. */
function splitLine(line: string): [string, string] {
  const watch = /^(inotify|fanotify) (.*)$/.exec(line);
  if (watch !== null) return [watch[1] ?? '', (watch[2] ?? '').trim()];
  const colon = line.indexOf(':');
  // io_uring prints tables, with lines that have no key of their own: they are kept under ''.
  if (colon < 1 || /^\s/.test(line)) return ['', line];
  return [line.slice(0, colon).trimEnd(), line.slice(colon + 1).trim()];
}

function groupByKey(entries: readonly [string, string][]): Map<string, string[]> {
  const fields = new Map<string, string[]>();
  for (const [key, value] of entries) {
    const values = fields.get(key);
    if (values === undefined) fields.set(key, [value]);
    else values.push(value);
  }
  return fields;
}

function takeAll(fields: Map<string, string[]>, key: string): string[] {
  const values = fields.get(key) ?? [];
  fields.delete(key);
  return values;
}

/** The common lines come first: should a kind print the same key again, that line stays with the kind. */
function takeOne(fields: Map<string, string[]>, key: string): string | undefined {
  const [first, ...rest] = takeAll(fields, key);
  if (rest.length > 0) fields.set(key, rest);
  return first;
}

/** "1: POSIX  ADVISORY  WRITE 4490 fe:00:2155081 10 109" */
function parseLock(text: string): FileLock {
  const [number, kindText, mode, typeText, pid, file, start, end, ...rest] = words(text);
  const kind = LOCK_KINDS.find((known) => known === kindText);
  const type = LOCK_TYPES.find((known) => known === typeText);
  const [major, minor, inode, ...more] = file?.split(':') ?? [];
  const isLock = /^\d+:$/.test(number ?? '') && rest.length === 0 && more.length === 0;
  if (!isLock || kind === undefined || type === undefined || mode === undefined || !LOCK_MODES.includes(mode)) {
    throw malformed(FILE, 'a lock', text);
  }
  return {
    kind,
    mandatory: mode === 'MANDATORY',
    breaking: mode === 'BREAKING',
    type,
    pid: parseDecimal(FILE, 'a lock', pid),
    major: parseHex(FILE, 'a lock', major),
    minor: parseHex(FILE, 'a lock', minor),
    inode: parseExact(FILE, 'a lock', inode),
    start: parseExact(FILE, 'a lock', start),
    end: end === 'EOF' ? end : next(parseExact(FILE, 'a lock', end)),
  };
}

const next = (value: ExactInteger): ExactInteger =>
  typeof value === 'number' && value < Number.MAX_SAFE_INTEGER ? value + 1 : BigInt(value) + 1n;
