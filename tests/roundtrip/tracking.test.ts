/** Saves that only look at what was written since the last one: what tells them that is never seen by the program, and never left behind. */
import { readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  bringBack,
  childrenOf,
  compiled,
  footprint,
  gone,
  isAlive,
  mustRun,
  newFolder,
  quicksave,
  readIfThere,
  run,
  said,
  start,
  type Target,
  waitFor,
} from '../support/harness.ts';

const verdict = (output: string): Promise<string> =>
  waitFor(`a verdict in ${output}`, () => /^(ok|not ok.*)$/m.exec(readIfThere(output) ?? '')?.[0]);

/** Keepers of a process, as anybody can find them. */
const keepersOf = (pid: number): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => readIfThere(`/proc/${name}/cmdline`)?.startsWith(`quicksave-keeper\0${pid}\0`))
    .map(Number)
    .filter(isAlive);

const tracked = (pid: number): number => [...readFileSync(`/proc/${pid}/smaps`, 'utf8').matchAll(/ uw\b/g)].length;

async function started(folder: string, ballastMiB = 24): Promise<{ target: Target; step: () => Promise<void> }> {
  const target = start(folder, compiled('changes-memory'), [], { ballastMiB });
  await said(target.output, 'ready');
  let steps = 0;
  const step = async (): Promise<void> => {
    process.kill(target.pid, 'SIGUSR1');
    await said(target.output, `step ${++steps}\n`);
  };
  return { target, step };
}

const save = ({ pid }: Target, image: string, ...options: string[]): Promise<{ stderr: string }> =>
  mustRun('checkpoint', String(pid), '--output', image, ...options);

async function crash({ pid }: Target): Promise<void> {
  process.kill(pid, 'SIGKILL');
  await gone(pid);
}

async function passes(folder: string, { output }: Target): Promise<void> {
  writeFileSync(join(folder, 'go'), '');
  expect(await verdict(output)).toBe('ok');
}

describe.each(['none', 'zstd'])('with --compress %s', (compress) => {
  test('memory that is written, dropped, moved, forked and made anew is right in every image of a chain', async () => {
    const folder = newFolder();
    const { target, step } = await started(folder);
    const image = (number: number): string => join(folder, `image.${number}`);
    await save(target, image(0), '--track', '--compress', compress);
    for (let number = 1; number < 5; number++) {
      await step();
      await save(target, image(number), '--parent', image(number - 1), '--track', '--compress', compress);
      expect(statSync(image(number)).size).toBeLessThan(statSync(image(0)).size / 5);
    }
    // What a save finds that compares every page is what tracking has found.
    await save(target, join(folder, 'whole'), '--compress', compress);
    const { stdout } = await mustRun('diff', image(4), join(folder, 'whole'), '--json');
    const changed = (JSON.parse(stdout.toString()) as { memory: { name: string; changedBytes: number }[] }).memory;
    // The program sleeps meanwhile: a few words of its stack.
    expect(changed.reduce((sum, { changedBytes }) => sum + changedBytes, 0)).toBeLessThan(4096);
    for (let cycle = 0; cycle < 3; cycle++) {
      await crash(target);
      expect(await bringBack(image(4 + cycle))).toBe(target.pid);
      await save(target, image(5 + cycle), '--parent', image(4 + cycle), '--track');
    }
    await step();
    await passes(folder, target);
  });
});

test('the program sees no descriptor, no child, no other map; a save without --track ends it', async () => {
  const folder = newFolder();
  const { target, step } = await started(folder);
  const before = footprint(target.pid);
  const [first, second] = [join(folder, 'first'), join(folder, 'second')];
  await save(target, first, '--track');
  expect(footprint(target.pid)).toEqual(before);
  expect(childrenOf(target.pid)).toEqual([]);
  expect(tracked(target.pid)).toBeGreaterThan(5);
  const [keeper] = keepersOf(target.pid);
  expect(
    readdirSync(`/proc/${keeper}/fd`)
      .map((fd) => readlinkSync(`/proc/${keeper}/fd/${fd}`))
      .sort(),
  ).toEqual(['anon_inode:[pidfd]', 'anon_inode:[userfaultfd]']);
  const checked = (await mustRun('check', String(target.pid))).stdout.toString();
  expect(checked).toContain(`by process ${keeper}`);
  expect(checked).not.toContain('userfaultfd');
  await step();
  await save(target, second, '--parent', first);
  expect(keepersOf(target.pid)).toEqual([]);
  expect(tracked(target.pid)).toBe(0);
  await passes(folder, target);
});

test('a keeper ends with its program', async () => {
  const folder = newFolder();
  const { target } = await started(folder);
  await save(target, join(folder, 'image'), '--track');
  expect(keepersOf(target.pid)).toHaveLength(1);
  await crash(target);
  await waitFor('the keeper to end', () => keepersOf(target.pid).length === 0);
});

test('without its keeper a program is compared page by page, and so it is since another image', async () => {
  const folder = newFolder();
  const { target, step } = await started(folder);
  const image = (number: number): string => join(folder, `image.${number}`);
  await save(target, image(0), '--track');
  await step();
  await save(target, image(1), '--parent', image(0), '--track');
  await step();
  await save(target, image(2), '--parent', image(0), '--track');
  await step();
  const [keeper] = keepersOf(target.pid);
  process.kill(keeper ?? Number.NaN, 'SIGKILL');
  await waitFor('the protection to end', () => tracked(target.pid) === 0);
  await save(target, image(3), '--parent', image(2));
  await crash(target);
  await bringBack(image(3));
  await passes(folder, target);
});

test('what a program executes is saved whole', async () => {
  const folder = newFolder();
  const script = [
    'import os, time',
    'print("waiting", flush=True)',
    'while not os.path.exists("run"): time.sleep(0.01)',
    `os.execv("${compiled('changes-memory')}", ["changes-memory"])`,
  ].join('\n');
  const target = start(folder, 'python3', ['-c', script]);
  await said(target.output, 'waiting');
  const first = join(folder, 'first');
  await save(target, first, '--track');
  expect(tracked(target.pid)).toBeGreaterThan(5);
  writeFileSync(join(folder, 'run'), '');
  await said(target.output, 'ready');
  expect(tracked(target.pid)).toBe(0);
  const second = join(folder, 'second');
  await save(target, second, '--parent', first, '--track');
  await crash(target);
  await bringBack(second);
  await passes(folder, target);
});

describe('nothing is left', () => {
  test('of a save that fails, wherever it does', async () => {
    const folder = newFolder();
    const { target, step } = await started(folder);
    const first = join(folder, 'first');
    await save(target, first, '--track');
    await step();
    const sized = `ulimit -f 2000; exec "$0" "$@"`;
    const { spawnSync } = await import('node:child_process');
    const { command } = await import('../support/harness.ts');
    const failed = spawnSync(
      'bash',
      [
        '-c',
        sized,
        command,
        'checkpoint',
        String(target.pid),
        '-o',
        join(folder, 'x'),
        '--track',
        '--compress',
        'none',
      ],
      { encoding: 'utf8' },
    );
    expect(failed.status).toBe(1);
    expect(keepersOf(target.pid)).toEqual([]);
    expect(tracked(target.pid)).toBe(0);
    // Its marks are gone: the next save with the same parent compares.
    const second = join(folder, 'second');
    await save(target, second, '--parent', first);
    await crash(target);
    await bringBack(second);
    await passes(folder, target);
  });

  test('of a tool that is killed, at moments spread over a save', async () => {
    const folder = newFolder();
    const { target, step } = await started(folder);
    const image = join(folder, 'image');
    const begun = performance.now();
    await save(target, image, '--track');
    const wholeMs = performance.now() - begun;
    const descriptors = readdirSync(`/proc/${target.pid}/fd`);
    for (let moment = 1; moment <= 5; moment++) {
      const tool = run(['checkpoint', String(target.pid), '-o', join(folder, 'x'), '--parent', image, '--track']);
      await new Promise((resolve) => setTimeout(resolve, (wholeMs * moment) / 6));
      tool.kill('SIGKILL');
      await tool.done;
      await step();
      expect(readdirSync(`/proc/${target.pid}/fd`)).toEqual(descriptors);
      // Either the old keeper is there still, or the new one already, or none: then nothing is protected any more.
      if (keepersOf(target.pid).length === 0) expect(tracked(target.pid)).toBe(0);
      expect(keepersOf(target.pid).length).toBeLessThan(2);
    }
    await save(target, join(folder, 'last'), '--parent', image);
    await crash(target);
    await bringBack(join(folder, 'last'));
    await passes(folder, target);
  });
});

test('what is ended writes nothing: --kill and --track are refused together', async () => {
  const folder = newFolder();
  const { target } = await started(folder);
  const { status, stderr } = await quicksave(
    ...['checkpoint', String(target.pid), '-o', join(folder, 'image'), '--kill', '--track'],
  );
  expect(status).toBe(1);
  expect(stderr).toContain('--kill or --track');
  expect(isAlive(target.pid)).toBe(true);
});
