/** Descriptor tables and directories that tasks share: an image says who does, and the image of what it brings back says the same. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Difference } from '../../src/report/diff.ts';
import type { Inspection } from '../../src/report/inspect.ts';
import { bringBack, compiled, mustRun, newFolder, said, saveAndEnd, start } from '../support/harness.ts';

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
