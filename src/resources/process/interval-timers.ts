/**
 * The three interval timers: getitimer(2), microseconds. What was left when the process stood still is what is left when
 * it goes on.
 */
import * as v from 'valibot';
import { i64 } from '../../image/schema.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import type { ProcessAspect } from '../resource.ts';
import { awaitExpiry } from '../soon.ts';

const timerNames = ['real', 'virtual', 'profiling'] as const;
const ITIMERVAL_SIZE = 32;

const timer = v.strictObject({ intervalSec: i64, intervalUsec: i64, leftSec: i64, leftUsec: i64 });
const schema = v.strictObject({ real: timer, virtual: timer, profiling: timer });
type Timer = v.InferOutput<typeof timer>;
type Timers = v.InferOutput<typeof schema>;

export const intervalTimers: ProcessAspect<Timers> = {
  name: 'intervalTimers',
  schema,
  stage: 'late',
  collect: ({ batch }) => {
    const asked = timerNames.map((name, which) => {
      const data = batch.data(ITIMERVAL_SIZE);
      batch.call('read an interval timer', SYS.getitimer, which, data.address);
      return { name, data };
    });
    const asking = performance.now();
    return () => {
      const timers = Object.fromEntries(asked.map(({ name, data }) => [name, decode(data.bytes)])) as Timers;
      return { ...timers, real: settled(timers.real, asking) };
    };
  },
  restore: (state, { batch }) => {
    timerNames.forEach((name, which) => {
      const wanted = state[name];
      if (wanted.leftSec === 0n && wanted.leftUsec === 0n) return;
      batch.call('set an interval timer', SYS.setitimer, which, batch.bytes(encode(wanted)).address, 0);
    });
  },
};

/** ITIMER_REAL goes on while the process stands still. */
function settled(timer: Timer, askedAtMs: number): Timer {
  const leftNs = (timer.leftSec * 1_000_000n + timer.leftUsec) * 1000n;
  if (!awaitExpiry(askedAtMs, leftNs)) return timer;
  return { ...timer, leftSec: timer.intervalSec, leftUsec: timer.intervalUsec };
}

function decode(bytes: Buffer): Timer {
  return {
    intervalSec: bytes.readBigInt64LE(0),
    intervalUsec: bytes.readBigInt64LE(8),
    leftSec: bytes.readBigInt64LE(16),
    leftUsec: bytes.readBigInt64LE(24),
  };
}

function encode(value: Timer): Buffer {
  const bytes = Buffer.alloc(ITIMERVAL_SIZE);
  bytes.writeBigInt64LE(value.intervalSec, 0);
  bytes.writeBigInt64LE(value.intervalUsec, 8);
  bytes.writeBigInt64LE(value.leftSec, 16);
  bytes.writeBigInt64LE(value.leftUsec, 24);
  return bytes;
}
