/** /proc/PID/timens_offsets: how far the clocks of a time namespace are from the host's (time_namespaces(7), Linux 5.6). */
import type { Pid } from '../support/brand.ts';
import { readProcText, unlessMissing } from './proc-file.ts';
import { lines, malformed, parseExact, words } from './proc-text.ts';

/** Nanoseconds; CLOCK_BOOTTIME and CLOCK_MONOTONIC. */
export interface ClockPair {
  readonly monotonicNs: bigint;
  readonly boottimeNs: bigint;
}

const FILE = 'timens_offsets';
const NS_PER_SECOND = 1_000_000_000n;
/** A kernel without time namespaces has no such file. */
const NONE: ClockPair = { monotonicNs: 0n, boottimeNs: 0n };

/** Of the namespace that children of the process are born in. */
export const readTimeOffsets = (pid: Pid): ClockPair =>
  parseTimeOffsets(unlessMissing(() => readProcText(pid, FILE)) ?? '');

export function parseTimeOffsets(text: string): ClockPair {
  if (text === '') return NONE;
  const offsets = new Map(
    lines(text).map((line) => {
      const [clock = '', seconds, nanoseconds] = words(line);
      const wholeNs = BigInt(parseExact(FILE, clock, seconds)) * NS_PER_SECOND;
      return [clock, wholeNs + BigInt(parseExact(FILE, clock, nanoseconds))] as const;
    }),
  );
  const of = (clock: string): bigint => {
    const offset = offsets.get(clock);
    if (offset === undefined) throw malformed(FILE, clock, undefined);
    return offset;
  };
  return { monotonicNs: of('monotonic'), boottimeNs: of('boottime') };
}

/** What {@link parseTimeOffsets} reads: nanoseconds are never negative there. */
export const timeOffsetsText = ({ monotonicNs, boottimeNs }: ClockPair): string =>
  [`monotonic ${secondsText(monotonicNs)}`, `boottime ${secondsText(boottimeNs)}`, ''].join('\n');

function secondsText(ns: bigint): string {
  const rest = ((ns % NS_PER_SECOND) + NS_PER_SECOND) % NS_PER_SECOND;
  return `${(ns - rest) / NS_PER_SECOND} ${rest}`;
}
