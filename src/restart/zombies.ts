/**
 * A process that was just ended keeps its number until its parent has reaped it, and some parents take their time: worth
 * waiting for, within a limit. Whoever is alive is not waited for.
 */
import { unlessMissing } from '../procfs/proc-file.ts';
import { readStat } from '../procfs/stat.ts';
import { asPid } from '../support/brand.ts';

const LIMIT_MS = 10_000;
const LOOK_EVERY_MS = 2;
const pause = new Int32Array(new SharedArrayBuffer(4));

export function awaitReaping(tids: readonly number[]): void {
  const deadline = performance.now() + LIMIT_MS;
  while (tids.some(isZombie) && performance.now() < deadline) Atomics.wait(pause, 0, 0, LOOK_EVERY_MS);
}

function isZombie(tid: number): boolean {
  const state = unlessMissing(() => readStat(asPid(tid)))?.state;
  return state === 'Z' || state === 'X';
}
