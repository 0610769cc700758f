/**
 * A timer behind a descriptor: timerfd_create(2). Read from fdinfo (Linux 3.17): clock, setting, what is left, and how often it has
 * expired unread. One that was set to a time of CLOCK_REALTIME or CLOCK_TAI expires at that time; any other when what was left
 * at the save has passed.
 */
import * as v from 'valibot';
import { i64, u32, u64 } from '../../image/schema.ts';
import { FCNTL, OPEN } from '../../kernel/abi/fcntl.ts';
import { CLOCK, TFD } from '../../kernel/abi/itimer.ts';
import { fcntl } from '../../kernel/calls/descriptors.ts';
import { makeTimerfd, setTicks, setTimerfd, timeOf } from '../../kernel/calls/timers.ts';
import { type Fdinfo, fdinfoField } from '../../procfs/fdinfo.ts';
import { malformed, parseDecimal, parseExact, parseOctal } from '../../procfs/proc-text.ts';
import type { Problem } from '../../support/errors.ts';
import { heldOutside } from '../held-outside.ts';
import type { DescriptorKind, HostView } from '../resource.ts';
import { STATUS_FLAGS } from '../status-flags.ts';

const { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM, CLOCK_TAI } =
  CLOCK;
const { TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET } = TFD;

const CLOCKS: readonly number[] = [
  CLOCK_REALTIME,
  CLOCK_MONOTONIC,
  CLOCK_BOOTTIME,
  CLOCK_REALTIME_ALARM,
  CLOCK_BOOTTIME_ALARM,
];
/** Those that tell the same time on another host, or after a reboot. */
const WALL_CLOCKS: readonly number[] = [CLOCK_REALTIME, CLOCK_REALTIME_ALARM, CLOCK_TAI];
const ALARMS: readonly number[] = [CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM];
/** linux/capability.h */
const CAP_WAKE_ALARM = 35n;

const nanoseconds = v.pipe(i64, v.minValue(0n));
const schema = v.strictObject({
  clockId: v.pipe(
    u32,
    v.check((clock) => CLOCKS.includes(clock), 'must be a clock of timerfd_create(2)'),
  ),
  /** TFD_TIMER_ABSTIME 1, TFD_TIMER_CANCEL_ON_SET 2: as it was set. */
  settings: v.pipe(u32, v.maxValue(3)),
  ticks: u64,
  intervalNs: nanoseconds,
  /** Until it expires; of a wall clock that was set to a time: that time. 0: it is not armed, or has expired and is to be read. */
  valueNs: nanoseconds,
  flags: u32,
});
type Timerfd = v.InferOutput<typeof schema>;

export const timerfd: DescriptorKind<Timerfd> = {
  kind: 'timerfd',
  schema,
  recognise: ({ descriptor }) => descriptor.kind === 'anon_inode' && descriptor.name === 'timerfd',
  obstacles: (view) => heldOutside(view, 'a timerfd'),
  collect: ({ info }) => {
    const clockId = parseDecimal(FILE, 'clockid', fdinfoField(info, 'clockid'));
    const settings = parseOctal(FILE, 'settime flags', fdinfoField(info, 'settime flags'));
    const leftNs = timeIn(info, 'it_value');
    const isAbsolute = leftNs > 0n && isOfWallClock(clockId, settings);
    return {
      clockId,
      settings: settings & (TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET),
      ticks: BigInt(parseExact(FILE, 'ticks', fdinfoField(info, 'ticks'))),
      intervalNs: timeIn(info, 'it_interval'),
      valueNs: isAbsolute ? timeOf(baseOf(clockId)) + leftNs : leftNs,
      flags: (info.flags & ~OPEN.O_CLOEXEC) >>> 0,
    };
  },
  plan: ({ clockId }, host, path) => (ALARMS.includes(clockId) && !mayWakeUp(host) ? [noAlarm(path)] : []),
  restore: (state) => {
    const { clockId, settings, ticks, intervalNs, valueNs, flags } = state;
    const made = makeTimerfd(clockId);
    if (valueNs > 0n) {
      setTimerfd(made.number, { intervalNs, valueNs }, isOfWallClock(clockId, settings) ? settings : 0);
    } else if (intervalNs > 0n && ticks > 0n) {
      // It has expired, and begins its next interval when it is read.
      setTimerfd(made.number, { intervalNs, valueNs: 1n }, 0);
    }
    if (ticks > 0n) setTicks(made.number, ticks);
    fcntl(made.number, FCNTL.F_SETFL, flags & STATUS_FLAGS, 'set the flags of a timerfd');
    return made;
  },
};

const FILE = 'fdinfo';

const isOfWallClock = (clockId: number, settings: number): boolean =>
  WALL_CLOCKS.includes(clockId) && (settings & TFD_TIMER_ABSTIME) !== 0;

/** An alarm's clock is that without the alarm. */
const baseOf = (clockId: number): number => (clockId === CLOCK_REALTIME_ALARM ? CLOCK_REALTIME : clockId);

/** "(12, 345678900)": seconds and nanoseconds. */
function timeIn(info: Fdinfo, key: string): bigint {
  const text = fdinfoField(info, key);
  const [, seconds, ns] = /^\((\d+), (\d+)\)$/.exec(text) ?? [];
  if (seconds === undefined || ns === undefined) throw malformed(FILE, key, text);
  return BigInt(seconds) * 1_000_000_000n + BigInt(ns);
}

const mayWakeUp = ({ status }: HostView): boolean => ((status.capEffective >> CAP_WAKE_ALARM) & 1n) === 1n;

const noAlarm = (path: readonly string[]): Problem => ({
  code: 'not-enough-rights',
  path,
  message: 'It is a timer that wakes up the machine, which you may not make.',
  remedy: 'Restart it as root, or give quicksave CAP_WAKE_ALARM.',
});
