/**
 * The three interval timers: getitimer(2), microseconds. What was left when the process stood still is what is left when
 * it goes on. POSIX timers (timer_create(2)) are refused.
 */
import * as v from 'valibot';
import { i64 } from '../../image/schema.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import { readTimers } from '../../procfs/timers.ts';
import type { Problem } from '../../support/errors.ts';
import type { ProcessAspect, ProcessView } from '../resource.ts';

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
  obstacles: refusePosixTimers,
  collect: ({ batch }) => {
    const asked = timerNames.map((name, which) => {
      const data = batch.data(ITIMERVAL_SIZE);
      batch.call('read an interval timer', SYS.getitimer, which, data.address);
      return { name, data };
    });
    return () => Object.fromEntries(asked.map(({ name, data }) => [name, decode(data.bytes)])) as Timers;
  },
  restore: (state, { batch }) => {
    timerNames.forEach((name, which) => {
      const wanted = state[name];
      if (wanted.leftSec === 0n && wanted.leftUsec === 0n) return;
      batch.call('set an interval timer', SYS.setitimer, which, batch.bytes(encode(wanted)).address, 0);
    });
  },
};

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

function refusePosixTimers({ pid }: ProcessView): Problem[] {
  return readTimers(pid).map((entry) => ({
    code: 'posix-timer',
    path: [`pid ${pid}`, `timer ${entry.id}`],
    message: 'It has a timer made with timer_create(), which cannot be saved yet.',
    remedy: 'Save it when the timer has been deleted.',
  }));
}
