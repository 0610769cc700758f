import { expect, test } from 'vitest';
import { progressText } from '../../../src/cli/progress.ts';

const MEBIBYTE = 1024 * 1024;
const at = (done: number, elapsedMs: number): string => progressText(done * MEBIBYTE, 300 * MEBIBYTE, elapsedMs);

test('progress has its rate, and the time that is left', () => {
  expect(at(120, 2000)).toBe('40 %, 120 of 300 MiB, 60 MiB/s, 3 s left');
  expect(at(10, 20_000)).toBe('3 %, 10 of 300 MiB, 1 MiB/s, 9 min 40 s left');
});

test('nothing is said of the time that is left before something is done, and when nothing is left', () => {
  expect(at(0, 100)).toBe('0 %, 0 of 300 MiB');
  expect(at(1, 60_000)).toBe('0 %, 1 of 300 MiB');
  expect(at(300, 5000)).toBe('100 %, 300 of 300 MiB, 60 MiB/s');
});
