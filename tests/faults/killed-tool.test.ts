import { copyFileSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { expect, test } from 'vitest';
import {
  bringBack,
  compiled,
  footprint,
  full,
  gone,
  isAlive,
  mustRun,
  newFolder,
  quicksave,
  readIfThere,
  remember,
  run,
  said,
  saveAndEnd,
  start,
  waitFor,
} from '../support/harness.ts';

const pauseFor = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** How long the command takes here, so that the moments of killing spread over its whole life. */
async function lifeOf(args: string[]): Promise<number> {
  const begun = performance.now();
  await mustRun(...args);
  return performance.now() - begun;
}

const targets: { what: string; flags: string[] }[] = [
  { what: 'a target', flags: [] },
  { what: 'a 32-bit target', flags: ['-m32', '-msse2'] },
];
interface Unharmed {
  readonly what: string;
  readonly flags: readonly string[];
  /** Default: busy-threads. */
  readonly program?: string;
  readonly args?: readonly string[];
  readonly ballastMiB?: number;
  readonly moments: number;
}

/** Of the large ones a snapshot is made. All but little is forbidden in the sandbox. */
const sandbox = { flags: [], program: 'sandboxed', args: ['errors'], moments: 8 };
const unharmed: readonly Unharmed[] = [
  ...targets.map((target) => ({ ...target, moments: 24 })),
  { what: 'a large target', flags: [], ballastMiB: 24, moments: 14 },
  { what: 'a sandboxed target', ...sandbox },
  { what: 'a large sandboxed target', ...sandbox, ballastMiB: 24, moments: 6 },
];

/** Processes that run this: a target, its snapshot, or what is left of one. */
const processesOf = (program: string): string[] =>
  readdirSync('/proc').filter((entry) => /^\d+$/.test(entry) && linkIfThere(`/proc/${entry}/exe`) === program);

function linkIfThere(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

test.each(unharmed)(
  '$what goes on unharmed whenever the saving tool is killed',
  async ({ flags, program: name = 'busy-threads', args = [], ballastMiB, moments: few }) => {
    const folder = newFolder();
    const program = compiled(name, flags);
    const target = start(folder, program, args, ballastMiB === undefined ? {} : { ballastMiB });
    await said(target.output, 'ready');
    const save = ['checkpoint', String(target.pid), '--output', join(folder, 'image')];
    await mustRun(...save);
    const life = await lifeOf(save);
    const before = footprint(target.pid);
    const moments = full ? few * 5 : few;
    let cutShort = 0;
    // A tool that has done its work before it is killed does not count.
    for (let attempt = 0; cutShort < moments && attempt < 4 * moments; attempt++) {
      const tool = run(save);
      await pauseFor((life * (attempt % moments)) / moments);
      tool.kill('SIGKILL');
      if ((await tool.done).signal === 'SIGKILL') cutShort++;
      expect(isAlive(target.pid), `alive after the kill at moment ${cutShort}`).toBe(true);
    }
    expect(cutShort).toBe(moments);
    // It goes home as soon as it is scheduled again.
    const isAsBefore = (): boolean => JSON.stringify(footprint(target.pid)) === JSON.stringify(before);
    await waitFor('nothing of ours to be left in it', isAsBefore).catch(() => undefined);
    expect(footprint(target.pid)).toEqual(before);
    await waitFor('nothing of ours to be left beside it', () => processesOf(program).length === 1);
    await mustRun(...save);
    writeFileSync(join(folder, 'go'), '');
    await said(target.output, 'ok');
    expect(await target.ended).toEqual({ status: 0, signal: null });
  },
  full ? 900_000 : 300_000,
);

test.each(targets)(
  'no half-made process of $what stays whenever the restarting tool is killed',
  async ({ flags }) => {
    const folder = newFolder();
    const program = compiled('busy-threads', flags);
    const name = `${basename(program).slice(0, 15)}\n`;
    const target = start(folder, program);
    await said(target.output, 'ready');
    const image = join(folder, 'image');
    await saveAndEnd(target.pid, image);
    const probe = await bringBack(image);
    process.kill(probe, 'SIGKILL');
    await gone(probe);
    const moments = full ? 50 : 12;
    let none = 0;
    for (let moment = 0; moment < moments; moment++) {
      const tool = run(['restart', image]);
      await pauseFor(20 + moment * (200 / moments));
      tool.kill('SIGKILL');
      await tool.done;
      // What is left is either nothing, as soon as the kernel has killed it, or the whole program, on its own.
      const comm = (): string | undefined => readIfThere(`/proc/${target.pid}/comm`);
      await waitFor('the end of what was half made', () => !isAlive(target.pid) || comm() === name);
      if (!isAlive(target.pid)) {
        none++;
        await gone(target.pid);
        continue;
      }
      remember(target.pid);
      process.kill(target.pid, 'SIGKILL');
      await gone(target.pid);
    }
    expect(none).toBeGreaterThan(0);
    await bringBack(image);
    writeFileSync(join(folder, 'go'), '');
    await said(target.output, 'ok');
  },
  full ? 600_000 : undefined,
);

test('an image that cannot be written leaves the target and the folder as they were', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('busy-threads'));
  await said(target.output, 'ready');
  const result = await quicksave('checkpoint', String(target.pid), '--output', join(folder, 'missing', 'image'));
  expect(result.status).toBe(1);
  expect(result.stderr).toContain('does not exist');
  const full = await quicksave('checkpoint', String(target.pid), '--output', '/dev/full');
  expect(full.status).toBe(1);
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
});

test('a name that is taken is replaced only by a complete image', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('busy-threads'));
  await said(target.output, 'ready');
  const image = join(folder, 'image');
  await mustRun('checkpoint', String(target.pid), '--output', image);
  copyFileSync(image, join(folder, 'first'));
  await mustRun('checkpoint', String(target.pid), '--output', image);
  await mustRun('verify', image);
  await mustRun('verify', join(folder, 'first'));
});
