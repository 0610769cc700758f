/** Calls with a relative timeout: a save and a restart neither cut it short nor begin it anew. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  bringBack,
  compiled,
  mustRun,
  newFolder,
  readIfThere,
  said,
  saveAndEnd,
  start,
  waitFor,
} from '../support/harness.ts';

const SHORTEST_TIMEOUT_S = 5;
/** On a busy machine a thread runs that much after its time. */
const TOLERANCE_MS = 500;
/** The kernel does not keep the end of these, nor can they be told to wait less. */
const beginAnew: ReadonlySet<string> = new Set(['sigtimedwait', 'semtimedop']);

const pauseFor = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** How long each call took, in milliseconds. The program itself says "not ok" of one that ended early or otherwise. */
async function durationsIn(output: string): Promise<Map<string, number>> {
  const text = await waitFor(
    'a verdict',
    () => {
      const all = readIfThere(output) ?? '';
      return /^(ok|not ok.*)$/m.test(all) ? all : undefined;
    },
    90_000,
  );
  expect(text).toMatch(/^ok$/m);
  const lines = [...readFileSync(output, 'utf8').matchAll(/^(\S+) (\d+\.\d{3})$/gm)];
  return new Map(lines.map(([, name = '', seconds]) => [name, Number(seconds) * 1000]));
}

function tooLong(durations: ReadonlyMap<string, number>, limitMs: number): string[] {
  expect(durations.size).toBe(11);
  return [...durations]
    .filter(([name, ms]) => !beginAnew.has(name) && ms > limitMs)
    .map(([name, ms]) => `${name} took ${ms} ms of ${limitMs}`);
}

async function saidReady(
  flags: readonly string[],
  seconds: number,
): Promise<{ pid: number; output: string; image: string }> {
  const folder = newFolder();
  const target = start(folder, compiled('timed-waits', flags), [String(seconds)]);
  await said(target.output, 'ready');
  return { ...target, image: join(folder, 'image') };
}

async function overAfterRestart(flags: readonly string[], seconds: number): Promise<string[]> {
  const { pid, output, image } = await saidReady(flags, seconds);
  await pauseFor(seconds * 500);
  const saved = performance.now();
  await saveAndEnd(pid, image);
  await bringBack(image);
  const away = performance.now() - saved;
  return tooLong(await durationsIn(output), seconds * 1000 + away + TOLERANCE_MS);
}

async function overAfterSaves(flags: readonly string[], seconds: number): Promise<string[]> {
  const { pid, output, image } = await saidReady(flags, seconds);
  let paused = 0;
  for (let save = 0; save < 2; save++) {
    await pauseFor(seconds * 200);
    const { stderr } = await mustRun('checkpoint', String(pid), '--output', image);
    // Those that start again do not wait while the program stands still.
    paused += Number(/pause (\d+\.\d) ms/.exec(stderr)?.[1]);
  }
  return tooLong(await durationsIn(output), seconds * 1000 + paused + TOLERANCE_MS);
}

test.each([
  { what: 'a 64-bit program', flags: [] },
  { what: 'a 32-bit program', flags: ['-m32'] },
])(
  'timeouts of $what are over at their time after saves, and go on with what was left after a restart',
  async ({ flags }) => {
    // The calls must still wait when the command comes, however busy the machine is.
    const begun = performance.now();
    await mustRun('check');
    const seconds = SHORTEST_TIMEOUT_S + Math.ceil((performance.now() - begun) / 150);
    // Side by side: they spend their time waiting.
    const [restarted, saved] = await Promise.all([overAfterRestart(flags, seconds), overAfterSaves(flags, seconds)]);
    expect(restarted).toEqual([]);
    expect(saved).toEqual([]);
  },
);
