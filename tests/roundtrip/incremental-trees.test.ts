/** Incremental images of trees: each process goes by the memory that it had in the parent image, and by no other. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  bringBack,
  childrenOf,
  compiled,
  gone,
  mustRun,
  newFolder,
  readIfThere,
  said,
  start,
  type Target,
  waitFor,
} from '../support/harness.ts';

const verdict = (output: string): Promise<string> =>
  waitFor(`a verdict in ${output}`, () => /^(ok|not ok.*)$/m.exec(readIfThere(output) ?? '')?.[0]);

const isTracked = (pid: number): boolean => / uw\b/.test(readFileSync(`/proc/${pid}/smaps`, 'utf8'));

async function started(folder: string, ballastMiB: number | undefined) {
  const target = start(folder, compiled('changes-tree'), [], ballastMiB === undefined ? {} : { ballastMiB });
  await said(target.output, 'ready');
  let steps = 0;
  const step = async (): Promise<void> => {
    process.kill(target.pid, 'SIGUSR1');
    await said(target.output, `step ${++steps}\n`);
  };
  return { target, step };
}

async function passes(folder: string, { output }: Target): Promise<void> {
  writeFileSync(join(folder, 'go'), '');
  expect(await verdict(output)).toBe('ok');
}

interface SavedProcess {
  readonly pid: number;
  readonly mappings: readonly { readonly pages: { readonly parentPages?: number } }[];
}

async function parentPagesOf(image: string): Promise<Map<number, number>> {
  const { processes } = JSON.parse((await mustRun('inspect', image, '--json')).stdout.toString());
  const sumOf = ({ mappings }: SavedProcess): number =>
    mappings.reduce((sum, { pages }) => sum + (pages.parentPages ?? 0), 0);
  return new Map((processes as SavedProcess[]).map((one) => [one.pid, sumOf(one)]));
}

test('the tree passes without a checkpointer', async () => {
  const folder = newFolder();
  const { target, step } = await started(folder, undefined);
  for (let number = 0; number < 4; number++) await step();
  await passes(folder, target);
});

describe.each([
  { ballastMiB: undefined, options: [] },
  { ballastMiB: undefined, options: ['--track'] },
  { ballastMiB: 24, options: ['--track', '--compress', 'zstd'] },
])('saved with $options, ballast $ballastMiB', ({ ballastMiB, options }) => {
  test('a chain of a tree comes back, with a process that its parent does not have and without one that it has', async () => {
    const folder = newFolder();
    const { target, step } = await started(folder, ballastMiB);
    const { pid } = target;
    const image = (number: number): string => join(folder, `image.${number}`);
    const save = (number: number, ...more: string[]) =>
      mustRun(
        'checkpoint',
        String(pid),
        '-o',
        image(number),
        ...(number === 0 ? [] : ['--parent', image(number - 1)]),
        ...more,
      );
    await save(0, ...options);
    for (let number = 1; number < 4; number++) {
      const before = new Set([pid, ...childrenOf(pid)]);
      await step();
      await save(number, ...(number === 3 ? ['--kill'] : options));
      for (const [one, pages] of await parentPagesOf(image(number))) {
        if (before.has(one)) expect(pages, `of process ${one}`).toBeGreaterThan(450);
        else expect(pages).toBe(0);
      }
      if (number < 3 && options.length > 0) expect([pid, ...childrenOf(pid)].every(isTracked)).toBe(true);
    }
    await gone(pid);
    expect(await bringBack(image(3))).toBe(pid);
    await step();
    await mustRun('checkpoint', String(pid), '-o', image(4), '--parent', image(3), '--kill');
    await gone(pid);
    const merged = join(folder, 'merged');
    await mustRun('merge', image(4), '-o', merged);
    const difference = JSON.parse((await mustRun('diff', image(4), merged, '--json')).stdout.toString());
    expect(difference.memory).toEqual([]);
    expect((await mustRun('verify', merged)).stdout.toString()).toMatch(/^intact: .*2 descendants/);
    for (let number = 0; number < 5; number++) rmSync(image(number));
    await bringBack(merged);
    await passes(folder, target);
  });
});
