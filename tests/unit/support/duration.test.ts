import { expect, test } from 'vitest';
import { durationText, elapsedText, parseDuration, preciseText } from '../../../src/support/duration.ts';

test('a length of time is a number with a unit, several of them, or seconds', () => {
  expect(parseDuration('90s')).toBe(90_000);
  expect(parseDuration('1h30m')).toBe(5_400_000);
  expect(parseDuration('0.5s')).toBe(500);
  expect(parseDuration('250ms')).toBe(250);
  expect(parseDuration('12')).toBe(12_000);
  expect(parseDuration('2d')).toBe(172_800_000);
});

test('anything else is no length of time', () => {
  for (const text of ['', 'soon', '-1s', '1x', '10m ', 'm', '1e3', '1h-5m'])
    expect(parseDuration(text)).toBeUndefined();
});

test('a length of time is shown with its two largest units', () => {
  const shown = [0, 999, 12_000, 185_000, 3_600_000, 7_800_000, 273_600_000].map(durationText);
  expect(shown).toEqual(['0 ms', '999 ms', '12 s', '3 min 5 s', '1 h', '2 h 10 min', '3 d 4 h']);
});

test('a short length of time is shown with three digits', () => {
  const shown = [0, 999, 1000, 14_540, 463_200, 999_999, 1_240_000, 59_900_000, 185_000_000].map(preciseText);
  expect(shown).toEqual(['0 µs', '999 µs', '1 ms', '14.5 ms', '463 ms', '1000 ms', '1.24 s', '59.9 s', '3 min 5 s']);
});

test('what something took is shown in whole milliseconds up to a second', () => {
  expect([45.4, 999.4, 1240, 130_433].map(elapsedText)).toEqual(['45 ms', '999 ms', '1.24 s', '2 min 10 s']);
});
