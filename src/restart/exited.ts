/** Processes that have ended and wait for their parents: how they end once more. */
import type { ExitedRecord } from '../image/tree.ts';
import { ImageError } from '../support/errors.ts';

/** Signals whose default action ends nobody (signal(7)): SIGCHLD, SIGCONT, the four that stop, SIGURG, SIGWINCH. */
const HARMLESS: readonly number[] = [17, 18, 19, 20, 21, 22, 23, 28];
const LAST_SIGNAL = 64;

/** 0 for one that has exited by itself. */
export const killedBy = ({ exitCode }: ExitedRecord): number => exitCode & 0x7f;

export const exitStatus = ({ exitCode }: ExitedRecord): number => exitCode >> 8;

/** That it has left a core file cannot be made again. */
export const hasDumpedCore = ({ exitCode }: ExitedRecord): boolean => (exitCode & 0x80) !== 0;

/** No process ends in such a way. */
export function refuseOddEnd(one: ExitedRecord): void {
  const signal = killedBy(one);
  const isOdd = signal === 0 ? hasDumpedCore(one) : signal > LAST_SIGNAL || exitStatus(one) !== 0;
  if (!isOdd && !HARMLESS.includes(signal)) return;
  throw new ImageError('bad-record', `EXITED record of process ${one.pid}: nothing ends with code ${one.exitCode}.`);
}
