/**
 * A tree that works all the time is saved, ended and brought back again and again, each time from the newest save: what it computes is
 * right throughout, and neither it nor its images grow. `npm run soak` does it a thousand times and writes bench/SOAK.md.
 */
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { locksLeft } from '../support/connections.ts';
import {
  bringBack,
  childrenOf,
  compiled,
  mustRun,
  newFolder,
  readIfThere,
  said,
  saveAndEnd,
  start,
  waitFor,
} from '../support/harness.ts';

const rounds = Number(process.env['QUICKSAVE_SOAK_ROUNDS'] ?? 4);
const LIMIT_MS = 120_000 + rounds * 10_000;
/** The first generations, in which the allocator still finds its size. */
const SETTLING = Math.ceil(rounds / 10);
/** What the program has allocated is of random size. */
const MAX_RATIO = 1.1;
/** It works on while it is looked at, so that a few blocks are others than in the one that was never saved. */
const MAX_MORE_KIB = 96;

interface Generation {
  readonly saveMs: number;
  readonly restartMs: number;
  readonly imageBytes: number;
  readonly residentKiB: number;
  /** RssAnon of proc_pid_status(5): without pages of files, which come as they are needed. */
  readonly anonymousKiB: number;
  readonly mappings: number;
  readonly descriptors: number;
  readonly threads: number;
  readonly hostProcesses: number;
}

const changed = (number: number, by: number): number => (Math.imul(number ^ by, 16_777_619) + by) >>> 0;

/** What the number is after so many rounds, by those before: tests/programs/soaks.c. */
class Expected {
  #rounds = 0;
  #number = 1;

  after(count: number): number {
    for (; this.#rounds < count; this.#rounds++) {
      for (const by of [1, 2, 3]) this.#number = changed(this.#number, by);
    }
    return this.#number;
  }
}

interface Answer {
  readonly rounds: number;
  readonly number: number;
  readonly ticks: number;
  readonly signals: number;
}

async function ask(folder: string, output: string): Promise<Answer> {
  mkdirSync(join(folder, 'ask'));
  await waitFor('an answer', () => {
    if (readIfThere(output)?.includes('not ok'))
      throw new Error(`it says: ${readFileSync(output, 'utf8').slice(-300)}`);
    return !readdirSync(folder).includes('ask');
  });
  const answers = /round (\d+) number (\d+) ticks (\d+) signals (\d+)\n$/.exec(readFileSync(output, 'utf8'));
  const [counted, number, ticks, signals] = (answers ?? []).slice(1).map(Number);
  if (counted === undefined || number === undefined || ticks === undefined || signals === undefined) {
    throw new Error(`it answers: ${readFileSync(output, 'utf8').slice(-300)}`);
  }
  return { rounds: counted, number, ticks, signals };
}

function sizeOf(
  pid: number,
): Pick<Generation, 'residentKiB' | 'anonymousKiB' | 'mappings' | 'descriptors' | 'threads' | 'hostProcesses'> {
  const members = [pid, ...childrenOf(pid)];
  const sum = (of: (member: number) => number): number => members.reduce((total, member) => total + of(member), 0);
  const statusOf = (field: string): number =>
    sum((one) =>
      Number(new RegExp(`^${field}:\\s*(\\d+)`, 'm').exec(readFileSync(`/proc/${one}/status`, 'utf8'))?.[1]),
    );
  return {
    residentKiB: statusOf('VmRSS'),
    anonymousKiB: statusOf('RssAnon'),
    mappings: sum((one) => readFileSync(`/proc/${one}/maps`, 'utf8').split('\n').length - 1),
    descriptors: sum((one) => readdirSync(`/proc/${one}/fd`).length),
    threads: sum((one) => readdirSync(`/proc/${one}/task`).length),
    hostProcesses: readdirSync('/proc').filter((entry) => /^\d+$/.test(entry)).length,
  };
}

/** Of one that was never saved, after so many rounds. */
async function sizeOfTwin(count: number): Promise<number> {
  const folder = newFolder();
  const twin = start(folder, compiled('soaks'), [String(count)]);
  await waitFor('the twin to have done as much', () => readIfThere(twin.output)?.includes('enough'), LIMIT_MS);
  const { anonymousKiB } = sizeOf(twin.pid);
  writeFileSync(join(folder, 'go'), '');
  await said(twin.output, 'ok');
  return anonymousKiB;
}

test('a tree that works goes on through generation after generation, and does not grow', {
  timeout: LIMIT_MS,
}, async () => {
  const folder = newFolder();
  const target = start(folder, compiled('soaks'));
  await said(target.output, 'ready');
  const image = join(folder, 'image');
  const expected = new Expected();
  const generations: Generation[] = [];
  let before: Answer = { rounds: -1, number: 0, ticks: -1, signals: -1 };
  for (let round = 0; round < rounds; round++) {
    const begun = performance.now();
    await saveAndEnd(target.pid, image);
    const saved = performance.now();
    await bringBack(image);
    const restarted = performance.now();
    const answer = await ask(folder, target.output);
    expect(answer.number, `after ${answer.rounds} rounds, in generation ${round}`).toBe(expected.after(answer.rounds));
    expect(answer.rounds, `generation ${round} works`).toBeGreaterThan(before.rounds);
    expect(answer.ticks).toBeGreaterThanOrEqual(before.ticks);
    expect(answer.signals).toBeGreaterThanOrEqual(before.signals);
    before = answer;
    generations.push({
      saveMs: saved - begun,
      restartMs: restarted - saved,
      imageBytes: statSync(image).size,
      ...sizeOf(target.pid),
    });
  }
  const last = await ask(folder, target.output);
  const { anonymousKiB } = sizeOf(target.pid);
  expect(last.number).toBe(expected.after(last.rounds));
  const twinKiB = await sizeOfTwin(last.rounds);
  expect(Math.abs(anonymousKiB - twinKiB), `${anonymousKiB} KiB, and ${twinKiB} without saves`).toBeLessThan(
    MAX_MORE_KIB,
  );
  expect(locksLeft()).toEqual([]);
  await mustRun('verify', image);
  note(generations, last, { anonymousKiB, twinKiB });
  expectNoGrowth(generations);
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
});

const settled = (generations: readonly Generation[]): readonly Generation[] => generations.slice(SETTLING);

function expectNoGrowth(generations: readonly Generation[]): void {
  const [first, ...others] = settled(generations);
  for (const key of ['descriptors', 'threads'] as const) {
    for (const one of others) expect(one[key], key).toBe(first?.[key]);
  }
  for (const key of ['imageBytes', 'residentKiB', 'mappings', 'hostProcesses'] as const) {
    const { early, late } = medians(generations, key);
    // Of a few generations the allocator makes more than a save could.
    if (rounds >= 50) expect(late / early, `${key} at the end to ${key} at the beginning`).toBeLessThan(MAX_RATIO);
  }
}

/** Of the first and of the last third. */
function medians(generations: readonly Generation[], key: keyof Generation): { early: number; late: number } {
  const values = settled(generations).map((one) => one[key]);
  const third = Math.ceil(values.length / 3);
  return { early: median(values.slice(0, third)), late: median(values.slice(-third)) };
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

const NAMES: Readonly<Record<keyof Generation, string>> = {
  saveMs: 'save and end, ms',
  restartMs: 'restart, ms',
  imageBytes: 'image, bytes',
  residentKiB: 'resident memory, KiB',
  anonymousKiB: 'of it anonymous, KiB',
  mappings: 'mappings',
  descriptors: 'descriptors',
  threads: 'threads',
  hostProcesses: 'processes of the host',
};

/** QUICKSAVE_SOAK_REPORT in the environment: the file that is written. */
function note(
  generations: readonly Generation[],
  last: Answer,
  { anonymousKiB, twinKiB }: { anonymousKiB: number; twinKiB: number },
): void {
  const report = process.env['QUICKSAVE_SOAK_REPORT'];
  if (report === undefined) return;
  const rows = (Object.keys(NAMES) as (keyof Generation)[]).map((key) => {
    const { early, late } = medians(generations, key);
    const values = settled(generations).map((one) => one[key]);
    const [least, most] = [Math.min(...values), Math.max(...values)];
    return `| ${[NAMES[key], early, late, least, most].map((one) => (typeof one === 'number' ? Math.round(one) : one)).join(' | ')} |`;
  });
  const lines = [
    '# Soak',
    '',
    `${rounds} generations of a tree that works all the time (tests/programs/soaks.c: two processes, four threads, a pipe, a UNIX socket, a TCP`,
    'connection, two timers, 400 blocks of memory that are freed and allocated anew): each is saved with `--kill` and brought back from that save.',
    `The number that goes round was right in every generation, after ${last.rounds} rounds in all; the timers had expired ${last.ticks} and`,
    `${last.signals} times. Medians of the first and the last third, the first ${SETTLING} generations left out.`,
    '',
    '| | first third | last third | least | most |',
    '|---|---|---|---|---|',
    ...rows,
    '',
    `At the end it had ${anonymousKiB} KiB of anonymous memory. The same program that was never saved had ${twinKiB} KiB after as many rounds: what it`,
    'has grown by is its own allocator, which takes the same steps in each run.',
    '',
    `\`npm run soak -- --rounds ${rounds} --save\`; Linux ${release()}, Node ${process.version}.`,
  ];
  writeFileSync(report, `${lines.join('\n')}\n`);
}
