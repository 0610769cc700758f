/**
 * Timers of timer_create(2), with their numbers. Which there are is told by /proc/PID/timers (CONFIG_CHECKPOINT_RESTORE), what is left of
 * each by timer_gettime(2) in the process. What was left when the process stood still is left when it goes on. Lost: overruns
 * so far, and that a timer was set to a time: it is set to what was left until then.
 */
import * as v from 'valibot';
import { boundedArray, i64, integerBetween, u64 } from '../../image/schema.ts';
import { CLOCK } from '../../kernel/abi/itimer.ts';
import { PR } from '../../kernel/abi/prctl.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import { decodeTimerSetting, encodeTimerSetting } from '../../kernel/calls/timers.ts';
import { readTimers } from '../../procfs/timers.ts';
import type { Problem } from '../../support/errors.ts';
import type { CallBatch } from '../../tracee/call-batch.ts';
import type { HostView, ProcessAspect } from '../resource.ts';
import { awaitExpiry } from '../soon.ts';

const SIGEVENT_SIZE = 64;
const ITIMERSPEC_SIZE = 32;
/** SIGEV_* of asm-generic/siginfo.h. SIGEV_THREAD of libc is SIGEV_THREAD_ID to a thread of its own. */
const NOTIFY = { signal: 0, none: 1, thread: 2 } as const;
const SIGEV_THREAD_ID = 4;
const MAX_ID = 2 ** 31 - 1;
/** On a kernel where numbers cannot be chosen: timers are made and deleted until the number comes. */
const MAX_ID_BY_COUNTING = 100_000;
const MAX_TIMERS = 1 << 20;

const nanoseconds = v.pipe(i64, v.minValue(0n));
const timer = v.strictObject({
  id: integerBetween(0, MAX_ID),
  clockId: integerBetween(-(2 ** 31), 2 ** 31 - 1),
  notify: v.picklist(['signal', 'none', 'thread']),
  signal: integerBetween(0, 64),
  value: u64,
  /** The thread that gets the signal; 0: the process. */
  tid: integerBetween(0, 2 ** 22),
  intervalNs: nanoseconds,
  leftNs: nanoseconds,
});
type Timer = v.InferOutput<typeof timer>;
const schema = v.optional(
  v.pipe(
    boundedArray(timer, MAX_TIMERS),
    v.check((timers) => new Set(timers.map(({ id }) => id)).size === timers.length, 'must have no number twice'),
  ),
  [],
);
type Timers = v.InferOutput<typeof schema>;

export const posixTimers: ProcessAspect<Timers> = {
  name: 'posixTimers',
  schema,
  stage: 'late',
  collect: ({ pid, batch }) => {
    const asked = readTimers(pid).map((one) => {
      if (!batch.hasRoomFor(1, ITIMERSPEC_SIZE)) batch.run();
      const data = batch.data(ITIMERSPEC_SIZE);
      batch.call(`read timer ${one.id}`, SYS.timer_gettime, one.id, data.address);
      return { one, data };
    });
    const asking = performance.now();
    return () => asked.map(({ one, data }) => describe(one, data.bytes, asking));
  },
  plan: (timers, host) => (timers.some(({ id }) => id > MAX_ID_BY_COUNTING) ? numbersProblem(host) : []),
  restore: (timers, { batch }) => {
    if (timers.length === 0) return;
    const chosen = batch.tryCall('choose the numbers of timers', SYS.prctl, PR.PR_TIMER_CREATE_RESTORE_IDS, 1);
    batch.run();
    const inOrder = [...timers].sort((a, b) => a.id - b.id);
    if (chosen.failed) makeByCounting(inOrder, batch);
    else makeChosen(inOrder, batch);
    for (const one of inOrder) arm(one, batch);
  },
};

function describe(one: ReturnType<typeof readTimers>[number], bytes: Buffer, askedAtMs: number): Timer {
  const { intervalNs, valueNs } = decodeTimerSetting(bytes);
  const hasExpired = !isCpuClock(one.clockId) && awaitExpiry(askedAtMs, valueNs);
  return {
    id: one.id,
    clockId: one.clockId,
    notify: one.notify,
    signal: one.signal,
    value: one.value,
    tid: one.target.kind === 'tid' ? one.target.id : 0,
    intervalNs,
    leftNs: hasExpired ? intervalNs : valueNs,
  };
}

/** Those stand still with the process. */
const isCpuClock = (clockId: number): boolean =>
  clockId < 0 || clockId === CLOCK.CLOCK_PROCESS_CPUTIME_ID || clockId === CLOCK.CLOCK_THREAD_CPUTIME_ID;

function numbersProblem(host: HostView): Problem[] {
  if (host.maySetTimerNumbers) return [];
  return [
    {
      code: 'no-timer-numbers',
      path: ['host'],
      message: `It has timers with numbers above ${MAX_ID_BY_COUNTING}, which this kernel does not let one choose (Linux 6.15).`,
      remedy: 'Restart it on a newer kernel.',
    },
  ];
}

function makeChosen(timers: readonly Timer[], batch: CallBatch): void {
  for (const one of timers) {
    if (!batch.hasRoomFor(1, SIGEVENT_SIZE + 8)) batch.run();
    make(one, batch, one.id);
  }
  batch.call('choose no numbers any more', SYS.prctl, PR.PR_TIMER_CREATE_RESTORE_IDS, 0);
  batch.run();
}

/** A new process counts from 0, and never takes a number twice before it has gone through all. */
function makeByCounting(timers: readonly Timer[], batch: CallBatch): void {
  let next = 0;
  for (const one of timers) {
    for (; next < one.id; next++) {
      if (!batch.hasRoomFor(2, SIGEVENT_SIZE + 8)) batch.run();
      make({ ...one, notify: 'none', clockId: CLOCK.CLOCK_MONOTONIC, tid: 0 }, batch, 0);
      batch.call('pass over a number', SYS.timer_delete, next);
    }
    if (!batch.hasRoomFor(1, SIGEVENT_SIZE + 8)) batch.run();
    make(one, batch, 0);
    next++;
  }
  batch.run();
}

function make(one: Timer, batch: CallBatch, id: number): void {
  const event = Buffer.alloc(SIGEVENT_SIZE);
  event.writeBigUInt64LE(one.value, 0);
  event.writeInt32LE(one.signal, 8);
  event.writeInt32LE(NOTIFY[one.notify] | (one.tid === 0 ? 0 : SIGEV_THREAD_ID), 12);
  event.writeInt32LE(one.tid, 16);
  const number = Buffer.alloc(4);
  number.writeInt32LE(id);
  const { address } = batch.bytes(event);
  batch.call(`make timer ${one.id}`, SYS.timer_create, one.clockId, address, batch.bytes(number).address);
}

function arm({ id, intervalNs, leftNs }: Timer, batch: CallBatch): void {
  if (leftNs === 0n) return;
  if (!batch.hasRoomFor(1, ITIMERSPEC_SIZE)) batch.run();
  const { address } = batch.bytes(encodeTimerSetting({ intervalNs, valueNs: leftNs }));
  batch.call(`set timer ${id}`, SYS.timer_settime, id, 0, address, 0);
}
