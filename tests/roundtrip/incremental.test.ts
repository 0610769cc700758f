/** Images that have only what changed since another, whole again at a restart or by `merge`. */
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  bringBack,
  compiled,
  gone,
  mustRun,
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

const verdict = (output: string): Promise<string> =>
  waitFor(`a verdict in ${output}`, () => /^(ok|not ok.*)$/m.exec(readIfThere(output) ?? '')?.[0]);

let steps = 0;

async function started(folder: string, ballastMiB?: number): Promise<Target> {
  steps = 0;
  const target = start(folder, compiled('changes-memory'), [], ballastMiB === undefined ? {} : { ballastMiB });
  await said(target.output, 'ready');
  return target;
}

/** Lets it change its memory once more. */
async function step({ pid, output }: Target): Promise<void> {
  process.kill(pid, 'SIGUSR1');
  await said(output, `step ${++steps}\n`);
}

const save = (target: Target, image: string, ...options: string[]): Promise<unknown> =>
  mustRun('checkpoint', String(target.pid), '--output', image, ...options);

async function crash({ pid }: Target): Promise<void> {
  process.kill(pid, 'SIGKILL');
  await gone(pid);
}

async function passes(folder: string, { output }: Target): Promise<void> {
  writeFileSync(join(folder, 'go'), '');
  expect(await verdict(output)).toBe('ok');
}

test('the program passes without a checkpointer', async () => {
  const folder = newFolder();
  const target = await started(folder);
  for (let number = 0; number < 6; number++) await step(target);
  await passes(folder, target);
});

describe.each([
  { form: 'as they are', compress: 'none' },
  { form: 'compressed', compress: 'zstd' },
])('pages $form', ({ compress }) => {
  test.each([{ ballastMiB: undefined }, { ballastMiB: 24 }])(
    'a chain of five comes back, ballast $ballastMiB',
    async ({ ballastMiB }) => {
      const folder = newFolder();
      const target = await started(folder, ballastMiB);
      const image = (number: number): string => join(folder, `image.${number}`);
      await save(target, image(0), '--compress', compress);
      for (let number = 1; number < 5; number++) {
        await step(target);
        await save(target, image(number), '--parent', image(number - 1), '--compress', compress);
        expect(statSync(image(number)).size).toBeLessThan(statSync(image(0)).size / 2);
      }
      for (let cycle = 0; cycle < 3; cycle++) {
        await crash(target);
        expect(await bringBack(image(4 + cycle))).toBe(target.pid);
        await save(target, image(5 + cycle), '--parent', image(4 + cycle), '--compress', compress);
      }
      await step(target);
      await passes(folder, target);
    },
  );
});

test('what has changed is what an image has', async () => {
  const folder = newFolder();
  const target = await started(folder, 64);
  const [first, second] = [join(folder, 'first'), join(folder, 'second')];
  await save(target, first, '--compress', 'none');
  await step(target);
  const { stderr } = (await save(target, second, '--parent', first, '--compress', 'none')) as { stderr: string };
  expect(Number(/\((\d+) of the parent\)/.exec(stderr)?.[1])).toBeGreaterThan(64 * 256);
  expect(statSync(second).size).toBeLessThan(statSync(first).size * 0.02);
  const { sizes, header } = JSON.parse((await mustRun('inspect', second, '--json')).stdout.toString());
  const { header: parent } = JSON.parse((await mustRun('inspect', first, '--json')).stdout.toString());
  expect(header.parentId).toBe(parent.imageId);
  expect(sizes.pages.parentPages).toBeGreaterThan(64 * 256);
  expect((await mustRun('inspect', second)).stdout.toString()).toMatch(/\d+ of the parent/);
  expect((await mustRun('verify', second)).stdout.toString()).toMatch(/^intact: .* \d+ of its parent/);
});

test('a merged image needs nobody, and is what a whole save would be', async () => {
  const folder = newFolder();
  const target = await started(folder);
  const [first, second, third, merged] = ['1', '2', '3', 'merged'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
    string,
  ];
  await save(target, first);
  await step(target);
  await save(target, second, '--parent', first, '--compress', 'zstd');
  await step(target);
  await saveAndEnd(target.pid, join(folder, 'unused'));
  await bringBack(join(folder, 'unused'));
  await save(target, third, '--parent', second);
  expect((await mustRun('merge', third, '--output', merged, '--compress', 'zstd')).stderr).toMatch(/^merged the image/);
  const difference = JSON.parse((await mustRun('diff', third, merged, '--json')).stdout.toString());
  expect(difference.memory).toEqual([]);
  expect(difference.content).toEqual([]);
  const looksOf = async (image: string): Promise<unknown> => {
    const core = join(folder, 'core');
    await mustRun('export', '--format', 'core', image, '-o', core);
    const { stdout } = await mustRun('inspect', image, '--task', String(target.pid), '--json');
    const [{ command, threads }] = JSON.parse(stdout.toString()).processes;
    return { command, threads, core: createHash('sha256').update(readFileSync(core)).digest('hex') };
  };
  const looks = await looksOf(merged);
  expect(looks).toMatchObject({ command: [expect.any(String)], threads: [{ place: expect.stringMatching(/libc/) }] });
  expect(await looksOf(third)).toEqual(looks);
  for (const path of [first, second]) rmSync(path);
  const alone = await mustRun('inspect', third, '--task', String(target.pid));
  expect(alone.stdout.toString()).toMatch(
    /not told +arguments and stacks: the image that this one builds on is not here/,
  );
  rmSync(third);
  await crash(target);
  expect(await bringBack(merged)).toBe(target.pid);
  await passes(folder, target);
});

test('diff sees through parents', async () => {
  const folder = newFolder();
  const target = await started(folder);
  const [first, second] = [join(folder, 'first'), join(folder, 'second')];
  await save(target, first);
  await step(target);
  await save(target, second, '--parent', first);
  const whole = join(folder, 'whole');
  await mustRun('merge', second, '-o', whole);
  const [between, same] = await Promise.all([
    mustRun('diff', first, second, '--json'),
    mustRun('diff', first, whole, '--json'),
  ]);
  const memoryOf = (stdout: Buffer): unknown => JSON.parse(stdout.toString()).memory;
  expect(memoryOf(between.stdout)).toEqual(memoryOf(same.stdout));
  const piped = run(['merge', '-', '--images', folder, '-o', join(folder, 'piped')], { stdin: readFileSync(second) });
  expect(await piped.done).toMatchObject({ status: 0 });
  const again = JSON.parse((await mustRun('diff', whole, join(folder, 'piped'), '--json')).stdout.toString());
  expect(again).toMatchObject({ memory: [], content: [], threads: [] });
  expect(memoryOf(between.stdout)).not.toEqual([]);
});

describe('a parent', () => {
  async function pair(folder: string): Promise<{ target: Target; first: string; second: string }> {
    const target = await started(folder);
    const [first, second] = [join(folder, 'first'), join(folder, 'second')];
    await save(target, first);
    await step(target);
    await save(target, second, '--parent', first);
    return { target, first, second };
  }

  const refused = async (...args: string[]): Promise<string> => {
    const { status, stderr } = await quicksave(...args);
    expect(status).toBe(1);
    return stderr;
  };

  test('may be elsewhere, if one says where; a stream has no folder of its own', async () => {
    const folder = newFolder();
    const { target, first, second } = await pair(folder);
    const elsewhere = join(folder, 'elsewhere');
    mkdirSync(elsewhere);
    renameSync(first, join(elsewhere, 'renamed'));
    await crash(target);
    expect(await refused('restart', second, '--detach')).toMatch(/builds on image \S+, which is not in .*--images/s);
    expect(await refused('verify', second)).toMatch(/--images/);
    expect(await refused('export', second, '--format', 'linux-cr-v8', '-o', join(folder, 'x'))).toMatch(/--images/);
    const piped = run(['restart', '-', '--detach'], { stdin: readFileSync(second) });
    expect((await piped.done).stderr).toMatch(/only what changed since .*--images/s);
    const result = await run(['restart', '-', '--detach', '--images', elsewhere], { stdin: readFileSync(second) }).done;
    expect(result.stderr).toMatch(/^restarted/);
    remember(target.pid);
    await passes(folder, target);
  });

  test('that is another image of the same name is not taken', async () => {
    const folder = newFolder();
    const { target, first, second } = await pair(folder);
    await save(target, first);
    await crash(target);
    expect(await refused('restart', second, '--detach')).toContain('which is not in');
  });

  test('that is damaged is named', async () => {
    const folder = newFolder();
    const { target, first, second } = await pair(folder);
    const bytes = readFileSync(first);
    const at = bytes.length - 300_000;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    writeFileSync(first, bytes);
    await crash(target);
    expect(await refused('restart', second, '--detach')).toContain(`In the parent image ${first}: `);
  });

  test('of another process is refused, and so is an output that would replace it', async () => {
    const folder = newFolder();
    const { target, first, second } = await pair(folder);
    const other = start(folder, compiled('changes-memory'));
    await said(other.output, 'ready');
    const pid = String(other.pid);
    expect(await refused('checkpoint', pid, '-o', join(folder, 'x'), '--parent', first)).toContain('not of');
    const before = readFileSync(first);
    const own = String(target.pid);
    expect(await refused('checkpoint', own, '-o', first, '--parent', second)).toContain('which it builds on');
    expect(readFileSync(first).equals(before)).toBe(true);
    copyFileSync(second, join(folder, 'copy'));
    expect(await refused('checkpoint', own, '-o', second, '--parent', second)).toContain('which it builds on');
    await passes(folder, target);
  });
});
