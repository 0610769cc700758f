/** Clocks that go on: time_namespaces(7), Linux 5.6. */
import { CLOCK } from '../kernel/abi/itimer.ts';
import { makeTimeNamespace } from '../kernel/calls/time-namespace.ts';
import { timeOf } from '../kernel/calls/timers.ts';
import { type ClockPair, readTimeOffsets, timeOffsetsText } from '../procfs/time-offsets.ts';
import { asPid } from '../support/brand.ts';

/** The next process that we make, and all that come of it, have clocks that stand where `wanted` says at this moment. */
export function continueClocks(wanted: ClockPair): void {
  const own = readTimeOffsets(asPid(process.pid));
  const hostOf = (clockId: number, offset: bigint): bigint => timeOf(clockId) - offset;
  makeTimeNamespace(
    timeOffsetsText({
      monotonicNs: wanted.monotonicNs - hostOf(CLOCK.CLOCK_MONOTONIC, own.monotonicNs),
      boottimeNs: wanted.boottimeNs - hostOf(CLOCK.CLOCK_BOOTTIME, own.boottimeNs),
    }),
  );
}
