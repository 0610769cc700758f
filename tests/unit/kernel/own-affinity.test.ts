import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { tryOnProcessor } from '../../../src/kernel/calls/own-affinity.ts';

/** Of the thread that asks: tests may run in a worker. */
const allowed = (): string =>
  /^Cpus_allowed:\s*(\S+)$/m.exec(readFileSync('/proc/thread-self/status', 'utf8'))?.[1] ?? '';
const processor = (): number => {
  const text = readFileSync('/proc/thread-self/stat', 'utf8');
  return Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[36]);
};

test('something runs on one processor, and afterwards where it could run before', () => {
  const before = allowed();
  const list = /^Cpus_allowed_list:\s*(\d+)/m.exec(readFileSync('/proc/thread-self/status', 'utf8'))?.[1];
  const first = Number(list);
  expect(tryOnProcessor(first, () => processor())).toBe(first);
  expect(allowed()).toBe(before);
  const fail = (): never => {
    throw new Error('as it happens');
  };
  expect(() => tryOnProcessor(first, fail)).toThrow('as it happens');
  expect(allowed()).toBe(before);
});

test('on a processor that is not there nothing runs', () => {
  for (const absent of [8191, 100_000]) expect(tryOnProcessor(absent, () => true)).toBeUndefined();
});
