import { closeSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { chooseCompression, Trial } from '../../../src/checkpoint/compression-choice.ts';
import { type Output, streamOutput } from '../../../src/checkpoint/output.ts';

const opened: number[] = [];
afterEach(() => {
  for (const fd of opened.splice(0)) closeSync(fd);
});

function outputIn(folder: string, positioned = true): Output {
  const path = join(folder, `quicksave-choice-${process.pid}`);
  const fd = openSync(path, 'w+');
  rmSync(path);
  opened.push(fd);
  return { ...streamOutput(fd), fd, positioned };
}

const large = { isWaitedFor: false, pageBytes: 2 ** 30 };

describe('compression that nobody has asked for', () => {
  it('is not done in memory, to nowhere, or while a program stands still for it', () => {
    const nowhere = openSync('/dev/null', 'w');
    opened.push(nowhere);
    expect(chooseCompression('auto', { ...large, output: outputIn('/dev/shm') })).toBeUndefined();
    expect(chooseCompression('auto', { ...large, output: streamOutput(nowhere) })).toBeUndefined();
    expect(chooseCompression('auto', { ...large, output: outputIn('/dev/shm'), isWaitedFor: true })).toBeUndefined();
  });

  it('is what was asked for, if it was', () => {
    const output = outputIn('/dev/shm');
    expect(chooseCompression(7, { ...large, output, isWaitedFor: true })).toBe(7);
    expect(chooseCompression(undefined, { ...large, output: outputIn(tmpdir()) })).toBeUndefined();
  });
});

describe('a trial', () => {
  const measured = (ms: number, storedBytes: number): { ms: number; rawBytes: number; storedBytes: number } => ({
    ms,
    rawBytes: 1000,
    storedBytes,
  });

  it('tries each level once', () => {
    const { fd } = outputIn(tmpdir());
    const trial = new Trial();
    const levels: number[] = [];
    for (let level = trial.next; level !== undefined; level = trial.next) {
      levels.push(level);
      trial.note(level, measured(1, 500), fd);
    }
    expect(levels).toEqual([1, -5]);
  });

  it('takes the level that is through first, where the disk is slow, and none where compressing is', () => {
    const { fd } = outputIn(tmpdir());
    const fast = new Trial();
    fast.note(1, measured(0, 500), fd);
    fast.note(-5, measured(1e9, 500), fd);
    expect(fast.best).toBe(1);
    const slow = new Trial();
    slow.note(1, measured(1e9, 500), fd);
    slow.note(-5, measured(1e9, 500), fd);
    expect(slow.best).toBeUndefined();
    expect(new Trial().best, 'untried').toBe(1);
  });
});
