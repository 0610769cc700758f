/** Trees of processes: what a save and a restart of many at once must give that one of a single process need not. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  bringBack,
  childrenOf,
  compiled,
  gone,
  isAlive,
  mustRun,
  newFolder,
  quicksave,
  readIfThere,
  remember,
  said,
  saveAndEnd,
  start,
  stateOf,
  waitFor,
} from '../support/harness.ts';

test('a stopped program is saved, stays stopped, and comes back stopped', async () => {
  const folder = newFolder();
  const image = join(folder, 'image');
  const target = start(folder, compiled('busy-threads'));
  await said(target.output, 'ready');
  process.kill(target.pid, 'SIGSTOP');
  await waitFor('its stop', () => stateOf(target.pid) === 'T');
  await mustRun('checkpoint', String(target.pid), '--output', image);
  await waitFor('its stop again', () => stateOf(target.pid) === 'T');
  await saveAndEnd(target.pid, image);
  await bringBack(image);
  await waitFor('the restarted program to stand still', () => stateOf(target.pid) === 'T');
  writeFileSync(join(folder, 'go'), '');
  process.kill(target.pid, 'SIGCONT');
  await said(target.output, 'ok');
  expect(readFileSync(target.output, 'utf8')).not.toContain('not ok');
});

/** Forks all the time; each child ends at once. */
const forker = `
import os, time
n = 0
print('ready', flush=True)
while not os.path.exists('go'):
    pids = [os.fork() for _ in range(1)]
    if 0 in pids: os._exit(n % 256)
    _, status = os.waitpid(pids[0], 0)
    if os.waitstatus_to_exitcode(status) != n % 256: os._exit(1)
    n += 1
print('ok', flush=True)
`;

test('a program that forks without end is saved at any moment, whole', async () => {
  const folder = newFolder();
  writeFileSync(join(folder, 'program.py'), forker);
  const target = start(folder, 'python3', ['program.py']);
  await said(target.output, 'ready');
  for (let round = 0; round < 5; round++) {
    const image = join(folder, `image.${round}`);
    await mustRun('checkpoint', String(target.pid), '--output', image);
    await saveAndEnd(target.pid, image);
    await bringBack(image);
  }
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
});

test('a second image of a restarted tree equals the first', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('family-tree'));
  await said(target.output, 'ready');
  const [first, second] = [join(folder, 'first'), join(folder, 'second')];
  await saveAndEnd(target.pid, first);
  await bringBack(first);
  await saveAndEnd(target.pid, second);
  const states = async (image: string): Promise<unknown> => {
    const { processes, exited } = JSON.parse((await mustRun('inspect', image, '--json')).stdout.toString());
    const places = processes.map(
      ({ pid, comm, parent, processGroup, session, stopped, descriptors }: Record<string, unknown>) => {
        return { pid, comm, parent, processGroup, session, stopped, descriptors };
      },
    );
    // The numbers of pipes are the kernel's, and others each time: the first one is 0.
    const text = JSON.stringify({ places, exited });
    const pipes = [...new Set(text.match(/(?<="pipe":)\d+/g))];
    return JSON.parse(text.replace(/(?<="pipe":)\d+/g, (number) => String(pipes.indexOf(number))));
  };
  const [before, after] = [await states(first), await states(second)];
  expect(after).toEqual(before);
});

test('a number of the tree that is taken by then is named, and nothing is left of the others', async () => {
  const folder = newFolder();
  const target = start(folder, 'bash', ['-c', 'sleep 600 & sleep 601 & echo ready; wait']);
  await said(target.output, 'ready');
  const children = await waitFor('its children', () => {
    const found = childrenOf(target.pid).filter((pid) => readIfThere(`/proc/${pid}/comm`) === 'sleep\n');
    return found.length === 2 ? found : undefined;
  });
  const image = join(folder, 'image');
  await mustRun('checkpoint', String(target.pid), '--output', image);
  process.kill(target.pid, 'SIGKILL');
  await gone(target.pid);
  for (const pid of children) remember(pid);
  const result = await quicksave('restart', image, '--detach');
  expect(result.status).toBe(1);
  for (const pid of children) expect(result.stderr).toContain(`The number is in use by ${pid} (sleep)`);
  expect(isAlive(target.pid)).toBe(false);
});

test('a thread that executes a program while the others are let go', async () => {
  const folder = newFolder();
  const image = join(folder, 'image');
  const target = start(folder, compiled('thread-executes'));
  await said(target.output, 'ready');
  await saveAndEnd(target.pid, image);
  writeFileSync(join(folder, 'go'), '');
  await mustRun('restart', image);
  expect(readFileSync(target.output, 'utf8')).toBe('ready\nok\n');
});
