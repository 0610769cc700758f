/** `quicksave diff`: what a program has changed between two saves, found exactly. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { childrenOf, compiled, mustRun, newFolder, quicksave, remember, run, said, start } from '../support/harness.ts';

interface Difference {
  readonly same: boolean;
  readonly descriptors: readonly { path: string; a?: unknown; b?: unknown }[];
  readonly mappings: readonly { path: string; a?: unknown; b?: unknown }[];
  readonly memory: readonly Memory[];
  readonly content: readonly Memory[];
}

interface Inspected {
  readonly processes: readonly {
    readonly threads: readonly {
      readonly aspects: {
        readonly threadPointers: { readonly rseq: { readonly address: number | string; readonly sizeBytes: number } };
      };
    }[];
  }[];
}

interface Memory {
  readonly pid?: number;
  readonly start: string;
  readonly name: string;
  readonly changedPages: number;
  readonly changedBytes: number;
  readonly ranges: readonly { start: string; bytes: number }[];
}

test.each([
  ['as it is', []],
  ['compressed', ['--compress', 'zstd']],
])('finds each change, in images %s', async (_, options) => {
  const folder = newFolder();
  const target = start(folder, compiled('changes-itself'));
  await said(target.output, 'ready');
  const [a, b, c] = ['a', 'b', 'c'].map((name) => join(folder, name));
  const save = (image = '') => mustRun('checkpoint', String(target.pid), '--output', image, ...options);
  await save(a);
  writeFileSync(join(folder, 'change'), '');
  await said(target.output, 'changed');
  await save(b);
  await save(c);
  const [, room = '', shared = ''] = /room (\S+) shared (\S+)/.exec(readFileSync(target.output, 'utf8')) ?? [];
  const at = (base: string, offset: number): string => `0x${(BigInt(base) + BigInt(offset)).toString(16)}`;

  const found = JSON.parse((await mustRun('diff', a ?? '', b ?? '', '--json')).stdout.toString()) as Difference;
  expect(found.same).toBe(false);
  const ofRoom = found.memory.find(({ start }) => start === room);
  expect(ofRoom).toMatchObject({
    changedPages: 3,
    changedBytes: 1 + 2 + 4096,
    ranges: [
      { start: at(room, 5), bytes: 1 },
      { start: at(room, 3 * 4096), bytes: 1 },
      { start: at(room, 3 * 4096 + 100), bytes: 1 },
      { start: at(room, 7 * 4096), bytes: 4096 },
    ],
  });
  expect(found.content).toEqual([
    {
      start: '0x0',
      end: '0x2000',
      name: `mapping ${shared}`,
      changedPages: 1,
      changedBytes: 1,
      ranges: [{ start: '0x1009', bytes: 1 }],
    },
  ]);
  expect(found.descriptors.map(({ path, a: was, b: is }) => [path.split('.')[0], was, is])).toContainEqual(['4', 7, 9]);
  expect(found.descriptors.some(({ path, a: was }) => path === '5' && was === undefined)).toBe(true);
  expect(found.mappings.some(({ path, a: was }) => was === undefined && /^0x[0-9a-f]+$/.test(path))).toBe(true);

  const piped = await run(['diff', a ?? '', '-', '--json'], { stdin: readFileSync(b ?? '') }).done;
  expect(JSON.parse(piped.stdout.toString())).toEqual(found);
  expect(await quicksave('diff', '-', '-')).toMatchObject({ status: 1, stderr: expect.stringContaining('Only one') });

  const text = (await mustRun('diff', a ?? '', b ?? '')).stdout.toString();
  expect(text).toContain(`${room}-`);
  expect(text).toContain('4.0 KiB in 3 pages');
});

const parentAndChild = `
import os, time
block = bytearray(1 << 20)
if os.fork() == 0:
    while not os.path.exists('change'): time.sleep(0.01)
    block[5000] = 1
    os.write(1, b'changed\\n')
os.write(1, b'ready\\n')
time.sleep(600)
`;

test('of a tree it is told which process has changed what, and has which descriptors', async () => {
  const folder = newFolder();
  const target = start(folder, 'python3', ['-c', parentAndChild]);
  await said(target.output, 'ready');
  const [child = 0] = childrenOf(target.pid);
  remember(child);
  const [a, b] = [join(folder, 'a'), join(folder, 'b')];
  await mustRun('checkpoint', String(target.pid), '--output', a);
  writeFileSync(join(folder, 'change'), '');
  await said(target.output, 'changed');
  await mustRun('checkpoint', String(target.pid), '--output', b);
  const { memory } = JSON.parse((await mustRun('diff', a, b, '--json')).stdout.toString()) as Difference;
  expect(memory.filter(({ pid }) => pid !== target.pid && pid !== child)).toEqual([]);
  expect(memory.some(({ pid }) => pid === child)).toBe(true);
  expect((await mustRun('diff', a, b)).stdout.toString()).toMatch(
    new RegExp(`^ {2}0x.* of ${child}: \\d+ bytes? in`, 'm'),
  );
  const tables = (await mustRun('inspect', a, '--fds')).stdout.toString();
  for (const pid of [target.pid, child]) expect(tables).toContain(`descriptors of process ${pid} (python3)\n`);
});

test('two saves of a program that does nothing do not differ in its memory', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('at-rest'));
  await said(target.output, 'ready');
  const [a, b] = [join(folder, 'a'), join(folder, 'b')];
  for (const image of [a, b]) await mustRun('checkpoint', String(target.pid), '--output', image);
  const found = JSON.parse((await mustRun('diff', a, b, '--json')).stdout.toString()) as Difference;
  expect([found.content, found.mappings]).toEqual([[], []]);
  // The kernel notes there on which processor each thread runs (rseq(2)).
  const { processes } = JSON.parse((await mustRun('inspect', a, '--json')).stdout.toString()) as Inspected;
  const noted = processes.flatMap(({ threads }) => threads.map(({ aspects }) => aspects.threadPointers.rseq));
  const isNoted = (start: number): boolean =>
    noted.some(({ address, sizeBytes }) => start >= Number(address) && start < Number(address) + sizeBytes);
  const others = found.memory.flatMap(({ ranges }) => ranges).filter(({ start }) => !isNoted(Number(start)));
  expect(others).toEqual([]);
  const itself = await mustRun('diff', a, a);
  expect(itself.stdout.toString()).toContain('No difference.');
});

test('what cannot be compared is refused', async () => {
  const folder = newFolder();
  writeFileSync(join(folder, 'text'), 'no image');
  const { status, stderr } = await quicksave('diff', join(folder, 'text'), join(folder, 'text'));
  expect(stderr).toContain('not a quicksave image');
  expect(status).toBe(1);
  const piped = await quicksave('diff', '/dev/null', '/dev/null');
  expect(piped.stderr).toContain('the file is empty');
  expect(piped.status).toBe(1);
});
