/** How a process has ended, from the code that waitpid(2) gives. */
import { describe, expect, it } from 'vitest';
import type { ExitedRecord } from '../../../src/image/tree.ts';
import { exitStatus, hasDumpedCore, killedBy, refuseOddEnd } from '../../../src/restart/exited.ts';

const ended = (exitCode: number): ExitedRecord => ({
  ...{ pid: 11, parent: 10, comm: 'gone', session: 7, processGroup: 7, exitSignal: 17, exitCode },
});

const CORE = 0x80;

describe('an end', () => {
  it.each<[string, number, object]>([
    ['by itself', 0, { signal: 0, status: 0, core: false }],
    ['by itself with a status', 3 << 8, { signal: 0, status: 3, core: false }],
    ['by itself with the highest status', 255 << 8, { signal: 0, status: 255, core: false }],
    ['by SIGKILL', 9, { signal: 9, status: 0, core: false }],
    ['by SIGSEGV with a core file', 11 | CORE, { signal: 11, status: 0, core: true }],
    ['by the last real-time signal', 64, { signal: 64, status: 0, core: false }],
  ])('%s is read from its code', (_, exitCode, expected) => {
    const one = ended(exitCode);
    expect({ signal: killedBy(one), status: exitStatus(one), core: hasDumpedCore(one) }).toEqual(expected);
    expect(() => refuseOddEnd(one)).not.toThrow();
  });

  it.each<[string, number]>([
    ['a core file of one that has exited', CORE],
    ['a signal behind the last', 65],
    ['the mark of one that is stopped', 0x7f],
    ['a stop by SIGSTOP', (19 << 8) | 0x7f],
    ['a signal and a status', (1 << 8) | 9],
    ['SIGCHLD, which ends nobody', 17],
    ['SIGCONT, which ends nobody', 18],
    ['SIGSTOP, which ends nobody', 19],
    ['SIGTSTP, which ends nobody', 20],
    ['SIGTTIN, which ends nobody', 21],
    ['SIGTTOU, which ends nobody', 22],
    ['SIGURG, which ends nobody', 23],
    ['SIGWINCH, which ends nobody', 28],
  ])('with the code of %s is refused', (_, exitCode) => {
    expect(() => refuseOddEnd(ended(exitCode))).toThrow(
      `EXITED record of process 11: nothing ends with code ${exitCode}.`,
    );
  });
});
