/** The host or the command has too little of something, or two commands want the same: the target is unharmed, nothing is left, and the reason is told. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  bringBack,
  command,
  compiled,
  footprint,
  gone,
  isAlive,
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

async function busy(folder: string): Promise<Target> {
  const target = start(folder, compiled('busy-threads'));
  await said(target.output, 'ready');
  return target;
}

const tracerOf = (pid: number): number =>
  Number(/^TracerPid:\t(\d+)$/m.exec(readIfThere(`/proc/${pid}/status`) ?? '')?.[1] ?? 0);

/** It checks its own state. */
async function provesItself(folder: string, { output }: Target): Promise<void> {
  writeFileSync(join(folder, 'go'), '');
  await said(output, 'ok');
}

test('of two restarts of one image at once one wins, and the other is told who has the number', async () => {
  const folder = newFolder();
  const { pid } = start(folder, 'sleep', ['600']);
  const image = join(folder, 'image');
  await saveAndEnd(pid, image);
  for (let round = 0; round < 4; round++) {
    const restarts = [1, 2, 3].map(() => quicksave('restart', image, '--detach'));
    const results = await Promise.all(restarts);
    remember(pid);
    expect(results.filter(({ status }) => status === 0)).toHaveLength(1);
    for (const { status, stderr } of results) {
      if (status !== 0) expect(stderr).toContain('[pid-in-use]');
    }
    expect(isAlive(pid)).toBe(true);
    process.kill(pid, 'SIGKILL');
    await gone(pid);
  }
});

test('a save of what another command saves is told who does, also while that one is stopped, and killed after all', async () => {
  const folder = newFolder();
  const target = await busy(folder);
  const { pid } = target;
  const before = footprint(pid);
  for (const end of ['SIGCONT', 'SIGKILL'] as const) {
    const first = run(['checkpoint', String(pid), '--output', join(folder, end)]);
    // Its pause is shorter than a timer of ours.
    while (tracerOf(pid) === 0 && existsSync(`/proc/${first.pid}`));
    first.kill('SIGSTOP');
    await waitFor('the stop', () => /^State:\tT/m.test(readIfThere(`/proc/${first.pid}/status`) ?? ''));
    expect(tracerOf(pid)).not.toBe(0);
    const second = await quicksave('checkpoint', String(pid), '--output', join(folder, 'second'));
    expect(second.status).toBe(1);
    expect(second.stderr).toMatch(new RegExp(`being traced by ${first.pid} .*\\[already-traced\\]`, 's'));
    first.kill(end);
    expect((await first.done).status).toBe(end === 'SIGCONT' ? 0 : null);
    await waitFor('the end of the tracing', () => tracerOf(pid) === 0);
  }
  expect(existsSync(join(folder, 'SIGCONT'))).toBe(true);
  expect(existsSync(join(folder, 'SIGKILL'))).toBe(false);
  expect(existsSync(join(folder, 'second'))).toBe(false);
  expect(footprint(pid)).toEqual(before);
  await provesItself(folder, target);
});

/** Of the folder of an image that there must not be. */
const left = (folder: string): string[] => readdirSync(folder).filter((name) => name.includes('image'));

test('a command with too few descriptors says so, and the target goes on', async () => {
  const folder = newFolder();
  const target = await busy(folder);
  const before = footprint(target.pid);
  let refused = 0;
  for (let limit = 20; limit < 40; limit++) {
    const limited = (...words: string[]) =>
      spawnSync('prlimit', [`--nofile=${limit}`, command, ...words], { encoding: 'utf8' });
    // Node itself needs some.
    if (limited('--version').status !== 0) continue;
    const { status, stderr } = limited('checkpoint', String(target.pid), '--output', join(folder, 'image'));
    if (status === 0) break;
    refused++;
    expect(stderr).toMatch(/\[no-room\]/);
    expect(left(folder)).toEqual([]);
    expect(tracerOf(target.pid)).toBe(0);
    expect(footprint(target.pid)).toEqual(before);
  }
  expect(refused).toBeGreaterThan(0);
  await provesItself(folder, target);
});

test('a restart that may make no process says so, and leaves none', async (context) => {
  const folder = newFolder();
  const cgroup = `/sys/fs/cgroup/pids/quicksave-test-${process.pid}`;
  try {
    mkdirSync(cgroup);
  } catch {
    context.skip('cgroups of version 1 cannot be made here');
  }
  try {
    const target = await busy(folder);
    const image = join(folder, 'image');
    await saveAndEnd(target.pid, image);
    let refused = 0;
    // Node has a number of threads of its own.
    for (let most = 10; most < 40; most++) {
      writeFileSync(join(cgroup, 'pids.max'), String(most));
      const words = `echo $$ > ${cgroup}/cgroup.procs; exec "$0" "$@"`;
      const limited = (...more: string[]) => spawnSync('bash', ['-c', words, command, ...more], { encoding: 'utf8' });
      if (limited('--version').status !== 0) continue;
      const { status, stderr } = limited('restart', image, '--detach');
      if (status === 0) break;
      refused++;
      expect(stderr).toMatch(/\[no-room\]/);
      expect(isAlive(target.pid)).toBe(false);
    }
    expect(refused).toBeGreaterThan(0);
    remember(target.pid);
    await provesItself(folder, target);
    await gone(target.pid);
  } finally {
    await waitFor('the end of all in the group', () => readFileSync(join(cgroup, 'cgroup.procs'), 'utf8') === '');
    rmdirSync(cgroup);
  }
}, 120_000);

test('an image that may not grow, as under a quota, is not left behind, and the target goes on', async () => {
  const folder = newFolder();
  const target = await busy(folder);
  const words = ['--fsize=16384', command, 'checkpoint', String(target.pid), '--output', join(folder, 'image')];
  const { status, stderr } = spawnSync('prlimit', words, { encoding: 'utf8' });
  expect(status).toBe(1);
  expect(stderr).toMatch(/EFBIG.*ulimit -f.*\[no-room\]/s);
  expect(left(folder)).toEqual([]);
  await provesItself(folder, target);
});

test('on a read-only disk a save is refused before anything is done, and a restart from it works', async (context) => {
  const folder = newFolder();
  const disk = join(folder, 'disk');
  mkdirSync(disk);
  if (spawnSync('mount', ['-t', 'tmpfs', 'none', disk]).status !== 0)
    context.skip('a file system cannot be mounted here');
  try {
    const { pid } = start(folder, 'sleep', ['600']);
    const image = join(disk, 'image');
    await saveAndEnd(pid, image);
    execFileSync('mount', ['-o', 'remount,ro', disk]);
    expect(await bringBack(image)).toBe(pid);
    const refused = await quicksave('checkpoint', String(pid), '--output', join(disk, 'other'));
    expect(refused.stderr).toMatch(/EROFS.*\[cannot-write\]/s);
    expect(refused.status).toBe(1);
    expect(readdirSync(disk)).toEqual(['image']);
    expect(isAlive(pid)).toBe(true);
  } finally {
    execFileSync('umount', [disk]);
  }
});
