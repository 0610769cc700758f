import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { JobFolder } from '../../../src/jobs/job-folder.ts';
import type { JobRecord } from '../../../src/jobs/job-records.ts';
import { Mailbox } from '../../../src/jobs/mailbox.ts';

let base = '';
let folder: JobFolder;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'quicksave-test-'));
  folder = new JobFolder(join(base, 'job'));
  folder.make();
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

const job: JobRecord = { version: 1, id: 'one', command: ['true'], folder: '/', createdAt: 1 };
const save = (run: number, number: number): void => writeFileSync(folder.savePath(run, number), 'x');

test('records are read as they were written, and nothing half-written stays beside them', () => {
  expect(folder.job()).toBeUndefined();
  folder.writeJob(job);
  expect(folder.job()).toEqual(job);
  expect(readdirSync(folder.path).sort()).toEqual(['job.json', 'saves']);
});

test('a record that is none is refused by its name', () => {
  writeFileSync(join(folder.path, 'state.json'), '{"version": 2}');
  expect(() => folder.state()).toThrow(/state\.json is not what quicksave run writes/);
});

test('an event after a line that was cut is on a line of its own', () => {
  const event = { at: 1, run: 1, event: 'started', pid: 5 } as const;
  folder.note(event);
  appendFileSync(join(folder.path, 'history.jsonl'), '{"at": 2, "ru');
  folder.note({ ...event, at: 3 });
  expect(folder.history()).toEqual([event, { ...event, at: 3 }]);
});

test('saves are in the order of starts and numbers, whatever their names look like', () => {
  for (const [run, number] of [
    [2, 1],
    [1, 1_000_000],
    [1, 999_999],
  ] as const)
    save(run, number);
  writeFileSync(join(folder.saveFolder, 'notes.txt'), '');
  expect(folder.saves().map(({ run, number }) => [run, number])).toEqual([
    [1, 999_999],
    [1, 1_000_000],
    [2, 1],
  ]);
});

test('the newest saves are kept, and damaged ones as long as an older good one is there', () => {
  for (let number = 1; number <= 5; number++) save(1, number);
  for (const number of [1, 4]) {
    const one = folder.saves().find((found) => found.number === number);
    if (one !== undefined) folder.setAside(one);
  }
  folder.retain(2);
  expect(readdirSync(folder.saveFolder).sort()).toEqual([
    '000001-000003.qs',
    '000001-000004.qs.damaged',
    '000001-000005.qs',
  ]);
});

test('what a killed save left is tidied away, and of a long history the newer half stays', () => {
  writeFileSync(join(folder.saveFolder, '.quicksave.abc.partial'), 'half');
  const line = `${JSON.stringify({ at: 1, run: 1, event: 'started', pid: 5 })}\n`;
  writeFileSync(join(folder.path, 'history.jsonl'), line.repeat(30_000));
  folder.tidy();
  expect(readdirSync(folder.saveFolder)).toEqual([]);
  const lines = readFileSync(join(folder.path, 'history.jsonl'), 'utf8').split('\n').slice(0, -1);
  expect(lines.length).toBeGreaterThan(14_000);
  expect(lines.length).toBeLessThan(16_000);
  expect(new Set(lines)).toEqual(new Set([line.trimEnd()]));
});

test('the lock excludes a second holder and is free again after the first', () => {
  const first = folder.tryLock(true);
  expect(first).toBeDefined();
  expect(folder.tryLock(true)).toBeUndefined();
  expect(folder.tryLock(false)).toBeUndefined();
  first?.release();
  const second = folder.tryLock(true);
  expect(second).toBeDefined();
  second?.release();
});

test('a mailbox gives letters in their order, one that comes while it is waited for, and nothing when the time is over', async () => {
  const box = new Mailbox<number>();
  box.post(1);
  box.post(2);
  expect(await box.take(0)).toBe(1);
  expect(await box.take(0)).toBe(2);
  expect(await box.take(0)).toBeUndefined();
  setImmediate(() => box.post(3));
  expect(await box.take(Date.now() + 60_000)).toBe(3);
});
