/**
 * An interest list: epoll(7). Read from fdinfo (proc_pid_fdinfo(5)), one `tfd:` line for each entry: the number that it was
 * made with, its events, the program's own data. An entry belongs to the open file description that the number stood for
 * then; which one that is now is proven with kcmp(2) (KCMP_EPOLL_TFD, Linux 4.13). How it polls network devices: EPIOCGPARAMS.
 *
 * Entries are made inside the process, when every descriptor is in its place. What is ready is found anew: an
 * edge that the program has seen already is reported once more if what it told of still holds. Lost: the order in which
 * what is ready is reported. An entry whose description the process has under no number is refused.
 *
 * A one-shot entry that has fired has no events left (`EPOLLONESHOT`). Only firing can bring an entry there, because
 * epoll_ctl(2) adds EPOLLERR and EPOLLHUP to whatever it is given: so it is made for everything, and fires before the others
 * are made. If its file has nothing to report, it comes back with those two events, which is told.
 */
import * as v from 'valibot';
import { boundedArray, integerBetween, u8, u16, u32, u64 } from '../../image/schema.ts';
import { ERRNO } from '../../kernel/abi/errno.ts';
import { FCNTL, OPEN } from '../../kernel/abi/fcntl.ts';
import { POLL } from '../../kernel/abi/poll.ts';
import { STAT } from '../../kernel/abi/stat.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import { duplicateFrom, fcntl, tryOpenPidfd } from '../../kernel/calls/descriptors.ts';
import { busyPollingOf, hasEvents, isWatchedBy, makeEpoll, setBusyPolling } from '../../kernel/calls/events.ts';
import { check } from '../../kernel/errors.ts';
import { type Fdinfo, fdinfoLines, readFdinfo } from '../../procfs/fdinfo.ts';
import { unlessMissing } from '../../procfs/proc-file.ts';
import { malformed } from '../../procfs/proc-text.ts';
import { type Pid, type RemoteFd, remoteFd } from '../../support/brand.ts';
import { type Problem, QuicksaveError } from '../../support/errors.ts';
import type { CallBatch, PendingCall } from '../../tracee/call-batch.ts';
import { heldOutside } from '../held-outside.ts';
import type { DescriptorKind, DescriptorView, RebuiltProcess } from '../resource.ts';
import { STATUS_FLAGS } from '../status-flags.ts';

const descriptorNumber = integerBetween(0, 2 ** 30);
const MAX_ENTRIES = 1 << 24;

const schema = v.strictObject({
  flags: u32,
  entries: boundedArray(
    v.strictObject({
      /** The number that it was made with, by which the program knows it. */
      fd: descriptorNumber,
      /** A descriptor of what it watches: the same, unless that number has been closed or used again. */
      watches: descriptorNumber,
      events: u32,
      data: u64,
      /** Of one that has fired for good: what it watches had something to report, so that it can fire again. */
      mayFire: v.boolean(),
    }),
    MAX_ENTRIES,
  ),
  busyPolling: v.strictObject({ microseconds: u32, budget: u16, preferred: u8 }),
});
type Epoll = v.InferOutput<typeof schema>;
type Entry = Epoll['entries'][number];

export const epoll: DescriptorKind<Epoll> = {
  kind: 'epoll',
  schema,
  recognise: ({ descriptor }) => descriptor.kind === 'anon_inode' && descriptor.name === 'eventpoll',
  obstacles: (view) => [...heldOutside(view, 'an epoll'), ...unknownEntries(view)],
  collect: (open) => ({
    flags: (open.info.flags & ~OPEN.O_CLOEXEC) >>> 0,
    entries: parseEntries(open.info)
      .map((line) => describeEntry(open, line))
      .sort((a, b) => a.fd - b.fd || a.watches - b.watches),
    busyPolling: busyPollingOf(open.own),
  }),
  descriptorsOf: ({ entries }) => entries.map(({ watches }) => watches),
  highestNumber: ({ entries }) => entries.reduce((highest, { fd }) => Math.max(highest, fd), 0),
  restore: ({ flags, busyPolling }) => {
    const made = makeEpoll();
    fcntl(made.number, FCNTL.F_SETFL, flags & STATUS_FLAGS, 'set the flags of an epoll');
    if (Object.values(busyPolling).some((value) => value !== 0)) setBusyPolling(made.number, busyPolling);
    return made;
  },
  finish: ({ entries }, process, fd) => {
    const hasFired = entries.filter((entry) => isSpent(entry) && entry.mayFire);
    makeEntries(hasFired, process, fd);
    if (hasFired.length > 0) fire(hasFired.length, process.batch, fd);
    makeEntries(
      entries.filter((entry) => !hasFired.includes(entry)),
      process,
      fd,
    );
  },
  remark: ({ entries }, fd, host) => {
    const armed = entries.filter((entry) => isSpent(entry) && !entry.mayFire).map((entry) => entry.fd);
    if (armed.length > 0) {
      return `the one-shot entries of ${armed.join(', ')} in epoll ${fd} had fired: a restart has them report errors and hang-ups`;
    }
    const wakes = entries.some(({ events }) => (events & POLL.EPOLLWAKEUP) !== 0);
    if (!wakes || host === undefined || (host.status.capEffective & CAP_BLOCK_SUSPEND) !== 0n) return undefined;
    return `epoll ${fd} kept the system awake (EPOLLWAKEUP), which needs CAP_BLOCK_SUSPEND`;
  },
};

const CAP_BLOCK_SUSPEND = 1n << 36n;
/** EP_PRIVATE_BITS of fs/eventpoll.c: how an entry reports, not what. */
const HOW = POLL.EPOLLET + POLL.EPOLLONESHOT + POLL.EPOLLEXCLUSIVE + POLL.EPOLLWAKEUP;
const EVERYTHING = POLL.EPOLLIN | POLL.EPOLLPRI | POLL.EPOLLOUT | POLL.EPOLLRDHUP;

const isSpent = ({ events }: Entry): boolean => (events & ~HOW) === 0;

/** One line of fdinfo. `offset`: how many lines above it have the same number. */
interface EntryLine {
  readonly fd: RemoteFd;
  readonly offset: number;
  readonly events: number;
  readonly data: bigint;
}

/** "5 events:       1d data:                5  pos:0 ino:4eb2 sdev:e" */
function parseEntries(info: Fdinfo): EntryLine[] {
  const seen = new Map<number, number>();
  return fdinfoLines(info, 'tfd').map((line) => {
    const match = /^(\d+) events: *([0-9a-f]+) data: *([0-9a-f]+)(?: |$)/.exec(line);
    if (match === null) throw malformed('fdinfo', 'an entry of an epoll', line);
    const fd = remoteFd(Number(match[1]));
    const offset = seen.get(fd) ?? 0;
    seen.set(fd, offset + 1);
    return { fd, offset, events: Number.parseInt(match[2] ?? '', 16), data: BigInt(`0x${match[3]}`) };
  });
}

/** Those of one process. */
const numbersIn = (pid: Pid, { holders }: DescriptorView): RemoteFd[] =>
  holders.filter((holder) => holder.pid === pid).map((holder) => holder.fd);

/** A number that stands for what the entry watches; its own first. */
function watchedBy(view: DescriptorView, { fd, offset }: EntryLine): RemoteFd | undefined {
  const numbers = view.siblings.flatMap((sibling) => {
    const own = numbersIn(view.pid, sibling);
    return own.find((number) => number === fd) ?? own.slice(0, 1);
  });
  return [fd, ...numbers].find((number) => isWatchedBy(view.pid, number, view.fd, fd, offset));
}

/** A running program may change its list under us: what is not found counts only if the entry is still the same. */
function unknownEntries(view: DescriptorView): Problem[] {
  const unknown = parseEntries(view.info).filter((line) => watchedBy(view, line) === undefined);
  if (unknown.length === 0) return [];
  const now = unlessMissing(() => parseEntries(readFdinfo(view.pid, view.fd))) ?? [];
  const isThere = (line: EntryLine): boolean =>
    now.some((other) => other.fd === line.fd && other.offset === line.offset && other.data === line.data);
  return unknown
    .filter((line) => isThere(line) && watchedBy(view, line) === undefined)
    .map(({ fd }) => ({
      code: 'unknown-epoll-entry',
      path: [`pid ${view.pid}`, `fd ${view.fd}`, view.descriptor.target],
      message: `It watches what was descriptor ${fd} once, and has that under no number any more.`,
      remedy: 'Save it when whoever holds the file has closed it.',
    }));
}

function describeEntry(view: DescriptorView, line: EntryLine): Entry {
  const { fd, events, data } = line;
  const watches = watchedBy(view, line);
  if (watches === undefined) {
    throw new QuicksaveError('unknown-epoll-entry', `Descriptor ${fd} that epoll ${view.fd} watches has disappeared.`);
  }
  const mayFire = (events & ~HOW) === 0 && isReady(view, watches);
  return { fd, watches, events, data, mayFire };
}

/** True if what is watched has something to report, and will have it again: nobody knows that of a stream to the outside. */
function isReady(view: DescriptorView, watched: RemoteFd): boolean {
  const target = view.siblings.find((sibling) => numbersIn(view.pid, sibling).includes(watched));
  const isOutside = (target?.outsiders.length ?? 0) > 0 || ((target?.stat.mode ?? 0) & STAT.S_IFMT) === STAT.S_IFCHR;
  const pidfd = isOutside ? undefined : tryOpenPidfd(view.pid);
  if (pidfd === undefined) return false;
  try {
    const own = duplicateFrom(pidfd.number, watched, view.pid);
    try {
      return hasEvents(own.number);
    } finally {
      own.close();
    }
  } finally {
    pidfd.close();
  }
}

const EVENT_SIZE = 12;
const CALLS_PER_ENTRY = 4;

interface MadeEntry {
  readonly entry: Entry;
  readonly call: PendingCall;
}

function makeEntries(entries: readonly Entry[], { pid, batch }: RebuiltProcess, fd: RemoteFd): void {
  let made: MadeEntry[] = [];
  const run = (): void => {
    batch.run();
    for (const { entry, call } of made) checkEntry(entry, call.result, pid, fd);
    made = [];
  };
  for (const entry of entries) {
    if (!batch.hasRoomFor(CALLS_PER_ENTRY, EVENT_SIZE)) run();
    if (entry.fd === entry.watches) made.push({ entry, call: makeEntry(entry, batch, fd) });
    else {
      run();
      made.push(makeUnderAnotherNumber(entry, batch, fd));
    }
  }
  run();
}

function makeEntry(entry: Entry, batch: CallBatch, fd: RemoteFd): PendingCall {
  const { events, data, mayFire } = entry;
  const event = Buffer.alloc(EVENT_SIZE);
  event.writeUInt32LE((events | (isSpent(entry) && mayFire ? EVERYTHING : 0)) >>> 0, 0);
  event.writeBigUInt64LE(data, 4);
  const { address } = batch.bytes(event);
  return batch.tryCall(`watch descriptor ${entry.fd}`, SYS.epoll_ctl, fd, POLL.EPOLL_CTL_ADD, entry.fd, address);
}

/** The number stands for something else now, or for nothing: it is lent to what the entry watches. */
function makeUnderAnotherNumber(entry: Entry, batch: CallBatch, fd: RemoteFd): MadeEntry {
  const number = entry.fd;
  const flags = batch.tryCall('ask for a flag', SYS.fcntl, number, FCNTL.F_GETFD);
  const kept = batch.tryCall('keep a descriptor', SYS.fcntl, number, FCNTL.F_DUPFD_CLOEXEC, number + 1);
  batch.run();
  batch.call(`lend descriptor ${number}`, SYS.dup3, entry.watches, number, OPEN.O_CLOEXEC);
  const call = makeEntry(entry, batch, fd);
  if (flags.failed) {
    batch.call('close it again', SYS.close, number);
  } else {
    const closeOnExec = (flags.result & FCNTL.FD_CLOEXEC) === 0 ? 0 : OPEN.O_CLOEXEC;
    batch.call('give it back', SYS.dup3, kept.result, number, closeOnExec);
    batch.call('close where it was kept', SYS.close, kept.result);
  }
  return { entry, call };
}

function checkEntry(entry: Entry, result: number, pid: number, fd: RemoteFd): void {
  if (result === -ERRNO.EPERM) {
    throw new QuicksaveError(
      'unwatchable-stream',
      `Epoll ${fd} watches descriptor ${entry.fd}, which is now a file or device that cannot be watched.`,
      { remedy: 'Give the restart a terminal or a pipe as its standard streams.' },
    );
  }
  check('epoll_ctl', result, { doing: `watch descriptor ${entry.fd}`, pid });
}

/** What is ready is reported, which ends the events of one-shot entries. */
function fire(count: number, batch: CallBatch, fd: RemoteFd): void {
  const most = Math.min(count, MAX_REPORTED);
  for (let fired = 0; fired < count; fired += most) {
    const events = batch.data(most * EVENT_SIZE);
    batch.call('let one-shot entries fire', SYS.epoll_wait, fd, events.address, most, 0);
    batch.run();
  }
}

const MAX_REPORTED = 4096;
