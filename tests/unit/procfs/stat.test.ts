import { describe, expect, it } from 'vitest';
import { parseStat, readStat, readTaskStat } from '../../../src/procfs/stat.ts';
import { asPid, asTid } from '../../../src/support/brand.ts';

const TAIL =
  'S 4485 4486 3123 34816 -1 4194304 3079 6592 25 5 3 1 4 6 20 -5 2 0 508897 18784256 3636 18446744073709551615 ' +
  '93999767957504 93999767957845 140730274011824 0 0 0 0 16781318 0 1 0 0 17 1 50 2 7 8 9 93999767969200 ' +
  '93999767969816 94000546095104 140730274015281 140730274015327 140730274015328 140730274017231 256\n';

describe('parseStat', () => {
  it('reads every field', () => {
    expect(parseStat(`4490 (cat) ${TAIL}`)).toEqual({
      pid: 4490,
      comm: 'cat',
      state: 'S',
      ppid: 4485,
      processGroup: 4486,
      session: 3123,
      ttyNumber: 34816,
      foregroundGroup: -1,
      flags: 4194304,
      minorFaults: 3079,
      childMinorFaults: 6592,
      majorFaults: 25,
      childMajorFaults: 5,
      userTimeTicks: 3,
      systemTimeTicks: 1,
      childUserTimeTicks: 4,
      childSystemTimeTicks: 6,
      priority: 20,
      nice: -5,
      threadCount: 2,
      startTimeTicks: 508897,
      virtualSizeBytes: 18784256,
      residentPages: 3636,
      residentLimitBytes: 18446744073709551615n,
      startCode: 93999767957504,
      endCode: 93999767957845,
      startStack: 140730274011824,
      exitSignal: 17,
      processor: 1,
      realtimePriority: 50,
      policy: 2,
      blockIoDelayTicks: 7,
      guestTimeTicks: 8,
      childGuestTimeTicks: 9,
      startData: 93999767969200,
      endData: 93999767969816,
      startBrk: 94000546095104,
      argStart: 140730274015281,
      argEnd: 140730274015327,
      envStart: 140730274015328,
      envEnd: 140730274017231,
      exitCode: 256,
    });
  });

  it.each(['', ' ', 'a) R\nb\\', ') S 1 (', '((', 'tmux: server'])('reads the name %j', (comm) => {
    expect(parseStat(`4490 (${comm}) ${TAIL}`)).toMatchObject({ pid: 4490, comm, state: 'S', exitCode: 256 });
  });

  it.each([
    ['an empty text', ''],
    ['no name', `4490 ${TAIL}`],
    ['a cut text', `4490 (cat) ${TAIL.slice(0, 200)}`],
    ['a word for a number', `4490 (cat) ${TAIL.replace('4485', 'x')}`],
    ['a long state', `4490 (cat) SS${TAIL.slice(1)}`],
    ['parentheses the wrong way round', `4490 ) (${TAIL}`],
  ])('refuses %s', (_, text) => {
    expect(() => parseStat(text)).toThrow(expect.objectContaining({ code: 'malformed-proc-file' }));
  });
});

describe('readStat', () => {
  it('reads this process and its first task', () => {
    const stat = readStat(asPid(process.pid));
    expect(stat).toMatchObject({ pid: process.pid, ppid: process.ppid, exitSignal: 17 });
    expect(stat.startStack).toBeGreaterThan(stat.startBrk);
    expect(readTaskStat(asPid(process.pid), asTid(process.pid)).startTimeTicks).toBe(stat.startTimeTicks);
  });
});
