/** Pages that relatives share copy-on-write: in the image once, whatever it is made with, in memory once afterwards, and right for everybody. */
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  bringBack,
  childrenOf,
  compiled,
  full,
  gone,
  mustRun,
  newFolder,
  remember,
  run,
  said,
  saveAndEnd,
  start,
  type Target,
} from '../support/harness.ts';

const MEBIBYTE = 2 ** 20;
const MIB = full ? 500 : 24;
const CHILDREN = full ? 10 : 4;
/** Each process has some pages of its own: those that it has changed, its stack, data of its libraries. */
const OWN_MIB = full ? 6 : 1;
/** What the processes may take more when they have come back. */
const SLACK_MIB = 2 + CHILDREN / 2;
const MOST_MIB = MIB + (CHILDREN + 2) * OWN_MIB;

async function started(folder: string): Promise<Target> {
  const target = start(folder, compiled('copy-on-write'), [String(MIB), String(CHILDREN)]);
  await said(target.output, 'ready');
  return target;
}

const descendantsOf = (pid: number): number[] => childrenOf(pid).flatMap((child) => [child, ...descendantsOf(child)]);

async function passes(folder: string, { pid, output }: Target): Promise<void> {
  for (const one of descendantsOf(pid)) remember(one);
  writeFileSync(join(folder, 'go'), '');
  await said(output, 'ok\n');
  expect(readFileSync(output, 'utf8')).toBe('ready\nok\n');
}

/** What a process and its descendants take of the memory of this machine: proc_pid_smaps(5). */
function takenMiB(pid: number): number {
  const own = [pid, ...descendantsOf(pid)].map((one) =>
    Number(/^Pss: +(\d+) kB$/m.exec(readFileSync(`/proc/${one}/smaps_rollup`, 'utf8'))?.[1]),
  );
  return own.reduce((sum, kibibytes) => sum + kibibytes, 0) / 1024;
}

const sizeMiB = (image: string): number => statSync(image).size / MEBIBYTE;

test('the program passes without a checkpointer', async () => {
  const folder = newFolder();
  await passes(folder, await started(folder));
});

describe('a parent and its forked children', () => {
  test('are one memory in the image, and come back three times, from a file and from a pipe', async () => {
    const folder = newFolder();
    const target = await started(folder);
    const { pid } = target;
    const image = join(folder, 'image');
    const before = takenMiB(pid);
    expect(before).toBeGreaterThan(MIB);
    await mustRun('checkpoint', String(pid), '-o', image);
    // A save does not make copies of what is shared.
    expect(takenMiB(pid)).toBeLessThan(before + SLACK_MIB);
    expect(sizeMiB(image)).toBeLessThan(MOST_MIB);
    expect((await mustRun('verify', image)).stdout.toString()).toMatch(/ pages .*and \d+ of relatives, /);
    for (const [compress, most, from] of [
      ['none', MOST_MIB, 'file'],
      ['zstd', MIB / 2, 'pipe'],
      ['none', MOST_MIB, 'file'],
    ] as const) {
      await mustRun('checkpoint', String(pid), '-o', image, '--kill', '--compress', compress);
      await gone(pid);
      expect(sizeMiB(image)).toBeLessThan(most);
      if (from === 'pipe') await bringBackFromPipe(image);
      else await bringBack(image);
      expect(descendantsOf(pid)).toHaveLength(CHILDREN + 1);
      expect(takenMiB(pid)).toBeLessThan(before + SLACK_MIB);
    }
    await passes(folder, target);
  });

  test('are so in chains of images, tracked or not, and in what is merged of them', async () => {
    const folder = newFolder();
    const target = await started(folder);
    const { pid } = target;
    const image = (number: number): string => join(folder, `image.${number}`);
    const save = (number: number, ...more: string[]) =>
      mustRun('checkpoint', String(pid), '-o', image(number), '--compress', 'none', ...more);
    const before = takenMiB(pid);
    await save(0, '--track');
    await save(1, '--parent', image(0), '--track');
    await save(2, '--parent', image(1), '--kill');
    await gone(pid);
    for (const number of [1, 2]) expect(sizeMiB(image(number))).toBeLessThan((CHILDREN + 2) * OWN_MIB);
    const merged = join(folder, 'merged');
    await mustRun('merge', image(2), '-o', merged, '--compress', 'none');
    expect(sizeMiB(merged)).toBeLessThan(MOST_MIB);
    const difference = JSON.parse((await mustRun('diff', image(2), merged, '--json')).stdout.toString());
    expect(difference.memory).toEqual([]);
    await bringBack(image(2));
    expect(takenMiB(pid)).toBeLessThan(before + SLACK_MIB);
    await saveAndEnd(pid, image(3));
    expect(sizeMiB(image(3))).toBeLessThan(MOST_MIB);
    for (const number of [0, 1, 2, 3]) rmSync(image(number));
    await bringBack(merged);
    expect(takenMiB(pid)).toBeLessThan(before + SLACK_MIB);
    await passes(folder, target);
  });
});

async function bringBackFromPipe(image: string): Promise<void> {
  const { status, stdout, stderr } = await run(['restart', '-', '--detach'], { stdin: readFileSync(image) }).done;
  expect(status, stderr).toBe(0);
  remember(Number(stdout.toString().trim()));
}
