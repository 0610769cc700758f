/** `freeze` of the library: a tree stands still to be looked at, and goes on; and the examples. */
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import type * as Library from '../../src/index.ts';
import {
  compiled,
  full,
  has,
  isAlive,
  newFolder,
  readIfThere,
  remember,
  said,
  start,
  stateOf,
  waitFor,
} from '../support/harness.ts';
import { nodeVersions } from '../support/nodes.ts';

const entry = new URL('../../dist/index.js', import.meta.url).href;
const { freeze, QuicksaveError } = (await import(entry)) as typeof Library;
const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

test('a frozen process stands still, shows registers and memory, and goes on unharmed', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('busy-threads'));
  await said(target.output, 'ready');
  {
    await using frozen = await freeze(target.pid);
    const [process] = frozen.processes;
    expect(process).toMatchObject({ pid: target.pid, comm: 'busy-threads', addressBits: 64 });
    expect(process?.threads).toHaveLength(9);
    expect(stateOf(target.pid)).toBe('t');
    const before = readFileSync(`/proc/${target.pid}/stat`, 'utf8').split(' ')[13];
    const stack = process?.mappings.find(({ name }) => name === '[stack]');
    const pointer = Number(process?.threads[0]?.registers['rsp']);
    expect(pointer).toBeGreaterThanOrEqual(stack?.start ?? Number.POSITIVE_INFINITY);
    expect(pointer).toBeLessThan(stack?.end ?? 0);
    const image = process?.mappings.find(({ name }) => name.endsWith('busy-threads'));
    expect((await frozen.readMemory(image?.start ?? 0, 4)).toString('latin1')).toBe('\u007fELF');
    const all = await frozen.readMemory(stack?.start ?? 0, (stack?.end ?? 0) - (stack?.start ?? 0));
    expect(all).toHaveLength((stack?.end ?? 0) - (stack?.start ?? 0));
    await expect(frozen.readMemory(8, 8)).rejects.toBeInstanceOf(QuicksaveError);
    await expect(frozen.readMemory(image?.start ?? 0, 4, 1)).rejects.toMatchObject({ code: 'no-such-process' });
    expect(readFileSync(`/proc/${target.pid}/stat`, 'utf8').split(' ')[13]).toBe(before);
  }
  expect(stateOf(target.pid)).not.toBe('t');
  writeFileSync(join(folder, 'go'), '');
  expect(await target.ended).toEqual({ status: 0, signal: null });
});

test('calls that a stop would end with EINTR go on after a freeze', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('calls-in-flight'));
  await said(target.output, 'ready');
  for (let round = 0; round < 3; round++) {
    const frozen = await freeze(target.pid);
    await frozen.release();
    await expect(frozen.readMemory(8, 8)).rejects.toMatchObject({ code: 'released' });
  }
  writeFileSync(join(folder, 'go'), '');
  expect(await target.ended).toEqual({ status: 0, signal: null });
});

test('descendants stand still too, parents first', async () => {
  const folder = newFolder();
  const target = start(folder, 'bash', ['-c', '(sleep 600; :) & (sleep 600; :) & echo ready; wait']);
  await said(target.output, 'ready');
  const frozen = await waitFor('both children with their own', () => {
    const text = readIfThere(`/proc/${target.pid}/task/${target.pid}/children`) ?? '';
    const children = text.split(' ').filter(Boolean).map(Number);
    const below = children.flatMap((pid) =>
      (readIfThere(`/proc/${pid}/task/${pid}/children`) ?? '').split(' ').filter(Boolean),
    );
    return below.length === 2 ? [...children, ...below.map(Number)] : undefined;
  });
  for (const pid of frozen) remember(pid);
  await using tree = await freeze(target.pid);
  expect(tree.processes.map(({ pid }) => pid).sort()).toEqual([target.pid, ...frozen].sort());
  expect(tree.processes.map(({ parent }) => parent).slice(0, 2)).toEqual([undefined, target.pid]);
  expect(frozen.map(stateOf)).toEqual(['t', 't', 't', 't']);
});

test('a process goes on when the program that has frozen it is killed', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('busy-threads'));
  await said(target.output, 'ready');
  const script = `const { freeze } = await import(${JSON.stringify(entry)}); await freeze(${target.pid}); setInterval(() => {}, 1e6);`;
  const host = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'ignore' });
  await waitFor('the process to stand still', () => stateOf(target.pid) === 't');
  host.kill('SIGKILL');
  await waitFor('the process to go on', () => stateOf(target.pid) !== 't');
  expect(isAlive(target.pid)).toBe(true);
  writeFileSync(join(folder, 'go'), '');
  expect(await target.ended).toEqual({ status: 0, signal: null });
});

test('what cannot stand still is refused', async () => {
  await expect(freeze(process.pid)).rejects.toMatchObject({ code: 'own-ancestor' });
  await expect(freeze(999_999_999)).rejects.toBeInstanceOf(QuicksaveError);
});

/** What lies between is in other tests. */
const oldestAndNewest = [nodeVersions[0], nodeVersions.at(-1)].filter((one) => one !== undefined);

test.for(oldestAndNewest)(
  'the example returns to one save many times, on $name',
  ({ program: node, missing }, context) => {
    if (missing !== undefined) context.skip(missing);
    if (!has('python3')) context.skip('there is no python3');
    const rounds = full ? 1000 : 5;
    const example = join(root, 'examples', 'return-many-times.mjs');
    const said = execFileSync(node, [example, String(rounds)], { encoding: 'utf8', cwd: root });
    expect(said).toMatch(new RegExp(`^${rounds} rounds, \\d+ ms each: `));
    expect(said).toContain(`"42":${rounds / 5}`);
  },
);

test.for(oldestAndNewest)(
  'the example brings a warmed-up server back, on $name',
  ({ program: node, missing }, context) => {
    if (missing !== undefined) context.skip(missing);
    const example = join(root, 'examples', 'warm-server.mjs');
    const said = execFileSync(node, [example, full ? '10000' : '3000'], { encoding: 'utf8', cwd: root });
    const [, cold, warm, rest = ''] = /^started in (\d+) ms, brought back in (\d+) ms: (.*)\n$/.exec(said) ?? [];
    expect(JSON.parse(rest)).toEqual({ size: expect.any(Number), requests: 2 });
    // On a machine with much else to do a restart takes longer, and the warm-up as long as ever.
    expect(Number(warm)).toBeLessThan(full ? Number(cold) / 2 : Number(cold));
  },
);
