/** The threads that move pages beside the one that holds the target: each of their steps fails once, and is once where the tool is killed. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import {
  type CommandResult,
  compiled,
  footprint,
  full,
  gone,
  isAlive,
  newFolder,
  quicksave,
  readIfThere,
  remember,
  run,
  said,
  saveAndEnd,
  start,
  type Target,
  waitFor,
} from '../support/harness.ts';

/** Of each walk, spread over it, where not all are walked. */
const SAMPLE = 2;
const LIMIT_MS = full ? 3_600_000 : 120_000;

let folder: string;
let target: Target;

beforeEach(async () => {
  folder = newFolder();
  // Large enough for workers: src/pages/page-crew.ts.
  target = start(folder, compiled('memory-kinds'));
  await said(target.output, 'ready');
});

const withFault = (order: string, args: readonly string[]): Promise<CommandResult> =>
  run(args, { env: { QUICKSAVE_FAULT: `worker-${order}` } }).done;

async function points(action: string, args: readonly string[]): Promise<number[]> {
  const listed = await withFault(`${action}:0`, args);
  expect(listed.status, listed.stderr).toBe(0);
  // Of several workers each counts its own.
  const count = Math.max(0, ...Array.from(listed.stderr.matchAll(/^fault point (\d+): /gm), ([, at]) => Number(at)));
  expect(count).toBeGreaterThan(0);
  const all = Array.from({ length: count }, (_, index) => index + 1);
  return full || count <= SAMPLE ? all : all.filter((at) => at % Math.ceil(count / SAMPLE) === 0);
}

function expectSentence({ status, stderr }: CommandResult, what: string): void {
  expect(status, `${what}: ${stderr}`).toBe(1);
  expect(stderr, what).toMatch(/^quicksave: [A-Z].*\.$/m);
  expect(stderr, what).not.toContain('inside quicksave');
}

async function provesItself(): Promise<void> {
  writeFileSync(join(folder, 'go'), '');
  await waitFor('a verdict', () => /^(ok|not ok.*)$/m.exec(readIfThere(target.output) ?? '')?.[0]);
  expect(readFileSync(target.output, 'utf8')).toMatch(/^ok$/m);
}

test.each(['fail', 'kill'])(
  'a save whose workers %s at any step leaves the program as it was, and no image that is not whole',
  { timeout: LIMIT_MS },
  async (action) => {
    const image = join(folder, 'image');
    const save = ['checkpoint', String(target.pid), '--output', image, '--compress', 'zstd'];
    const before = footprint(target.pid);
    for (const at of await points(action, save)) {
      rmSync(image, { force: true });
      const what = `worker point ${at}`;
      const result = await withFault(`${action}:${at}`, save);
      if (result.signal === null && result.status !== 0) expectSentence(result, what);
      if (existsSync(image)) expect((await quicksave('verify', image)).status, what).toBe(0);
      else expect(result.status, what).not.toBe(0);
      await waitFor(`nothing of ours after ${what}`, () => {
        expect(isAlive(target.pid), what).toBe(true);
        return JSON.stringify(footprint(target.pid)) === JSON.stringify(before) || undefined;
      });
    }
    await provesItself();
  },
);

test.each(['fail', 'kill'])(
  'a restart whose workers %s at any step leaves all of the program or nothing',
  { timeout: LIMIT_MS },
  async (action) => {
    const image = join(folder, 'image');
    const { pid } = target;
    await saveAndEnd(pid, image);
    const restart = ['restart', image, '--detach'];
    const end = async (): Promise<void> => {
      if (isAlive(pid)) process.kill(pid, 'SIGKILL');
      await gone(pid);
    };
    const listed = await points(action, restart);
    remember(pid);
    await end();
    for (const at of listed) {
      const what = `worker point ${at}`;
      const result = await withFault(`${action}:${at}`, restart);
      if (result.status === 1) {
        expectSentence(result, what);
        expect(isAlive(pid), what).toBe(false);
      } else if (result.signal !== null)
        await waitFor(`the end of all after ${what}`, () => !isAlive(pid) || undefined);
      await end();
    }
    expect((await quicksave(...restart)).status).toBe(0);
    remember(pid);
    await provesItself();
  },
);
