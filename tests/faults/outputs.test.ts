/** Where an image, a pid or a message is to go, and cannot, or goes by another way. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  bringBack,
  command,
  gone,
  isAlive,
  mustRun,
  newFolder,
  quicksave,
  saveAndEnd,
  start,
  stateOf,
  type Target,
} from '../support/harness.ts';

const sleeper = (folder: string): Target => start(folder, 'sleep', ['600']);

test('an image goes where a link leads, and the link stays', async () => {
  const folder = newFolder();
  const { pid } = sleeper(folder);
  writeFileSync(join(folder, 'old'), 'old');
  symlinkSync('old', join(folder, 'link'));
  symlinkSync('new', join(folder, 'dangling'));
  await mustRun('checkpoint', String(pid), '--output', join(folder, 'link'));
  await mustRun('checkpoint', String(pid), '--output', join(folder, 'dangling'));
  expect(lstatSync(join(folder, 'link')).isSymbolicLink()).toBe(true);
  expect(lstatSync(join(folder, 'dangling')).isSymbolicLink()).toBe(true);
  await mustRun('verify', join(folder, 'old'));
  await mustRun('verify', join(folder, 'new'));
});

test('/dev/stdout is the file that it leads to', async () => {
  const folder = newFolder();
  const { pid } = sleeper(folder);
  symlinkSync('/proc/self/fd/1', join(folder, 'stdout'));
  const out = openSync(join(folder, 'image'), 'w');
  const result = spawnSync(command, ['checkpoint', String(pid), '-o', join(folder, 'stdout')], {
    stdio: ['ignore', out, 'pipe'],
  });
  closeSync(out);
  expect(result.status, String(result.stderr)).toBe(0);
  expect(lstatSync(join(folder, 'stdout')).isSymbolicLink()).toBe(true);
  await mustRun('verify', join(folder, 'image'));
});

test('a name that no file can have is refused before anything is done', async () => {
  const folder = newFolder();
  const { pid } = sleeper(folder);
  for (const name of ['', join(folder, 'n'.repeat(256)), `${join(folder, 'none')}/`]) {
    const result = await quicksave('checkpoint', String(pid), '--output', name);
    expect(result.status).toBe(1);
    expect(result.stderr).toMatch(/^quicksave: .*(cannot be the name|is a folder)/);
  }
  await mustRun('checkpoint', String(pid), '--output', join(folder, 'n'.repeat(255)));
  execFileSync('python3', ['-c', 'import socket, sys; socket.socket(socket.AF_UNIX).bind("socket")'], { cwd: folder });
  const socket = await quicksave('checkpoint', String(pid), '--output', join(folder, 'socket'));
  expect(socket.stderr).toMatch(/^quicksave: No image can be written/);
  expect(readdirSync(folder).filter((name) => name.includes('partial'))).toEqual([]);
});

test('a save whose messages nobody reads succeeds', async () => {
  const folder = newFolder();
  const { pid } = sleeper(folder);
  const full = openSync('/dev/full', 'w');
  const result = spawnSync(command, ['checkpoint', String(pid), '-o', join(folder, 'image'), '--kill'], {
    stdio: ['ignore', 'ignore', full],
  });
  expect(result.status).toBe(0);
  await gone(pid);
  const back = spawnSync(command, ['restart', join(folder, 'image'), '--detach'], { stdio: ['ignore', full, full] });
  closeSync(full);
  expect(back.status).toBe(0);
  expect(isAlive(pid)).toBe(true);
  await saveAndEnd(pid, join(folder, 'image'));
});

test('a result that cannot be written is a sentence', async () => {
  const folder = newFolder();
  const { pid } = sleeper(folder);
  await mustRun('checkpoint', String(pid), '--output', join(folder, 'image'));
  const full = openSync('/dev/full', 'w');
  for (const words of [
    ['inspect', join(folder, 'image')],
    ['verify', join(folder, 'image')],
    ['check', String(pid)],
  ]) {
    const result = spawnSync(command, words, { stdio: ['ignore', full, 'pipe'] });
    expect(result.status).toBe(1);
    expect(String(result.stderr)).toMatch(
      /^quicksave: The result could not be written to standard output \(ENOSPC\)\.\n {2}.*\[cannot-write\]\n$/,
    );
  }
  closeSync(full);
});

test('a restart whose pid file cannot be written leaves no process', async () => {
  const folder = newFolder();
  const { pid } = sleeper(folder);
  const image = join(folder, 'image');
  await saveAndEnd(pid, image);
  mkdirSync(join(folder, 'taken'));
  for (const [name, more] of [
    ['none/pid', []],
    ['taken', ['--detach']],
  ] as const) {
    const result = await quicksave('restart', image, '--pid-file', join(folder, name), ...more);
    expect(result.status).toBe(1);
    expect(result.stderr).toMatch(/^quicksave: The pid file .* cannot be written \(E/);
    expect(stateOf(pid)).toBeUndefined();
  }
  expect(existsSync(join(folder, 'taken.partial'))).toBe(false);
  expect(await bringBack(image)).toBe(pid);
  const file = join(folder, 'pid');
  await saveAndEnd(pid, image);
  await mustRun('restart', image, '--detach', '--pid-file', file);
  expect(readFileSync(file, 'utf8')).toBe(`${pid}\n`);
  await saveAndEnd(pid, image);
});

test('a program is not ended for an image that goes nowhere', async () => {
  const folder = newFolder();
  const { pid } = sleeper(folder);
  const named = await quicksave('checkpoint', String(pid), '--output', '/dev/null', '--kill');
  const closed = spawnSync('bash', ['-c', `exec "$0" checkpoint ${pid} -o - --kill >&-`, command], {
    encoding: 'utf8',
  });
  for (const { status, stderr } of [named, closed]) {
    expect(status).toBe(1);
    expect(stderr).toMatch(/^quicksave: The image would go nowhere/);
  }
  expect(isAlive(pid)).toBe(true);
  await mustRun('checkpoint', String(pid), '--output', '/dev/null');
});
