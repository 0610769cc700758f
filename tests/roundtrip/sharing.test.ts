/** Memory, descriptor tables and directories that tasks share: an image says who does, and the image of what it brings back says the same. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Difference } from '../../src/report/diff.ts';
import type { Inspection } from '../../src/report/inspect.ts';
import { bringBack, compiled, mustRun, newFolder, remember, said, saveAndEnd, start } from '../support/harness.ts';

const inspected = async (image: string): Promise<Inspection> =>
  JSON.parse((await mustRun('inspect', image, '--json')).stdout.toString()) as Inspection;

async function twoImages(program: string): Promise<[first: string, second: string]> {
  const folder = newFolder();
  const target = start(folder, compiled(program));
  await said(target.output, 'ready');
  const [first, second] = [join(folder, 'first'), join(folder, 'second')];
  await saveAndEnd(target.pid, first);
  expect(await bringBack(first)).toBe(target.pid);
  await saveAndEnd(target.pid, second);
  return [first, second];
}

async function expectEqual(first: string, second: string): Promise<void> {
  const found = JSON.parse((await mustRun('diff', first, second, '--json')).stdout.toString()) as Difference;
  expect({ ...found, threads: [], memory: [] }).toMatchObject({
    ...{ header: [], processes: [], mappings: [], descriptors: [], content: [] },
  });
}

test('processes that share tables and directories are told by an image, and by that of the restarted ones', async () => {
  const [first, second] = await twoImages('shared-tables');
  const { processes } = await inspected(first);
  const [root] = processes;
  const sharing = processes.map(({ descriptorTableOf, fileSystemOf }) => [descriptorTableOf, fileSystemOf]);
  expect(sharing.filter(([table]) => table === root?.pid)).toHaveLength(3);
  expect(sharing.filter(([, place]) => place === root?.pid)).toHaveLength(3);
  expect(
    sharing.filter(([table, place]) => table !== undefined && table === place && table !== root?.pid),
  ).toHaveLength(1);
  await expectEqual(first, second);
});

test('processes that share their memory are told by an image, which has it once, and by that of the restarted ones', async () => {
  const [first, second] = await twoImages('shared-memory-processes');
  const { processes } = await inspected(first);
  const [root] = processes;
  const owners = processes.filter(({ memoryOf }) => memoryOf === undefined);
  const guests = processes.filter(({ memoryOf }) => memoryOf !== undefined);
  expect(guests.filter(({ memoryOf }) => memoryOf === root?.pid)).toHaveLength(4);
  expect(owners.map(({ mappings }) => mappings.length > 0)).toEqual([true, true]);
  expect(guests.map(({ mappings }) => mappings.length)).toEqual([0, 0, 0, 0, 0]);
  expect(processes.filter(({ handlersOf }) => handlersOf === root?.pid)).toHaveLength(2);
  await expectEqual(first, second);
});

test.each([undefined, 24])(
  'memory that processes share is tracked, with a ballast of %s MiB, and merged',
  async (ballastMiB) => {
    const folder = newFolder();
    const ballast = ballastMiB === undefined ? {} : { ballastMiB };
    const target = start(folder, compiled('shared-memory-processes'), [], ballast);
    await said(target.output, 'ready');
    const [first, second, third, whole] = ['first', 'second', 'third', 'whole'].map((name) => join(folder, name));
    const pid = String(target.pid);
    await mustRun('checkpoint', pid, '-o', `${first}`, '--track');
    await mustRun('checkpoint', pid, '-o', `${second}`, '--parent', `${first}`, '--track');
    const { pages } = (await inspected(`${second}`)).sizes;
    expect(pages.parentPages ?? 0).toBeGreaterThan(pages.dataPages);
    await mustRun('checkpoint', pid, '-o', `${third}`, '--parent', `${second}`, '--kill');
    await target.ended;
    await mustRun('merge', `${third}`, '--output', `${whole}`);
    await bringBack(`${whole}`);
    writeFileSync(join(folder, 'go'), '');
    await said(target.output, 'ok');
  },
);

test('memory that processes share is there before a lazy restart runs', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('shared-memory-processes'), [], { ballastMiB: 24 });
  await said(target.output, 'ready');
  const image = join(folder, 'image');
  await saveAndEnd(target.pid, image);
  await mustRun('restart', image, '--detach', '--lazy');
  remember(target.pid);
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
});

test('threads with tables and directories of their own are told by an image, and by that of the restarted ones', async () => {
  const [first, second] = await twoImages('threads-apart');
  const { processes } = await inspected(first);
  const apart = processes[0]?.apart ?? [];
  const tables = apart.flatMap(({ tid, descriptorTableOf, descriptors = [] }) =>
    descriptorTableOf === tid ? [descriptors.length] : [],
  );
  // The others have that of the leader, or of a thread before.
  expect(tables.sort((a, b) => a - b)).toEqual([0, 4, 8]);
  expect(apart).toHaveLength(5);
  await expectEqual(first, second);
});
