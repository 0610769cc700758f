/**
 * The tool itself has too little: descriptors, processes, memory, room on the disk. Whatever it does then, a save leaves its program as it was, and a
 * restart leaves a program or none; and why is said in a sentence, unless the kernel has ended the tool.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, readdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import {
  command,
  compiled,
  footprint,
  gone,
  mustRun,
  newFolder,
  quicksave,
  remember,
  saveAndEnd,
  start,
  waitFor,
} from '../support/harness.ts';

interface Scarcity {
  readonly what: string;
  /** Words before the command, undefined where this host cannot be made so poor; with each there is less left. */
  readonly prefixes: () => readonly (readonly string[])[] | undefined;
}

const GROUPS = '/sys/fs/cgroup';

/** A control group of version 1 with this limit. */
function group(controller: string, file: string, value: number): readonly string[] | undefined {
  const folder = join(GROUPS, controller, `quicksave-test-${process.pid}-${value}`);
  try {
    accessSync(join(GROUPS, controller, 'cgroup.procs'), constants.W_OK);
    mkdirSync(folder);
    onTestFinished(async () => {
      await waitFor('the end of a control group', () => tryRemove(folder));
    });
    writeFileSync(join(folder, file), String(value));
  } catch {
    return undefined;
  }
  return ['sh', '-c', `echo $$ > ${join(folder, 'cgroup.procs')}; exec "$0" "$@"`];
}

function tryRemove(folder: string): boolean {
  try {
    rmdirSync(folder);
  } catch {
    return false;
  }
  return true;
}

const allOrNone = <T>(found: readonly (T | undefined)[]): T[] | undefined => {
  const there = found.filter((one) => one !== undefined);
  return there.length === found.length ? there : undefined;
};

const MEBIBYTE = 1024 * 1024;

const scarcities: readonly Scarcity[] = [
  {
    what: 'descriptors',
    prefixes: () => [34, 28, 24, 20].map((limit) => ['prlimit', `--nofile=${limit}`]),
  },
  {
    what: 'processes',
    prefixes: () => allOrNone([13, 11, 9].map((limit) => group('pids', 'pids.max', limit))),
  },
  {
    what: 'memory',
    prefixes: () => allOrNone([32, 16, 8].map((limit) => group('memory', 'memory.limit_in_bytes', limit * MEBIBYTE))),
  },
];

/** A sentence and what to do, of the command or of Node; or nothing, of one that was ended. */
function expectExplained({ status, signal, stderr }: { status: number | null; signal: unknown; stderr: string }): void {
  if (status === 0 || signal !== null || status === 137 || status === 134) return;
  expect(status).toBe(1);
  expect(stderr).toMatch(/^quicksave: \S.*\S$|^node: |Killed/m);
  expect(stderr).not.toMatch(/^ {4}at /m);
}

const attempt = (prefix: readonly string[], ...args: string[]) => {
  const [program = command, ...words] = [...prefix, command, ...args];
  const result = spawnSync(program, words, { encoding: 'utf8', timeout: 60_000 });
  expect(result.error).toBeUndefined();
  return result;
};

const proof = async (folder: string): Promise<void> => {
  mkdirSync(join(folder, 'ask'));
  await waitFor('the proof of the program', () => !existsSync(join(folder, 'ask')));
};

test.for(scarcities)(
  'a save with few $what leaves the program as it was',
  { timeout: 180_000 },
  async ({ prefixes }, context) => {
    const each = prefixes();
    if (each === undefined) return context.skip('there are no control groups here');
    const folder = newFolder();
    const { pid } = start(folder, compiled('proves-its-state', ['-pthread']));
    await proof(folder);
    const image = join(folder, 'image');
    const [before, files] = [footprint(pid), readdirSync(folder).sort()];
    const statuses = [];
    for (const prefix of each) {
      const saved = attempt(prefix, 'checkpoint', String(pid), '--output', image);
      statuses.push(saved.status);
      expectExplained(saved);
      await proof(folder);
      expect(footprint(pid)).toEqual(before);
      if (saved.status === 0) rmSync(image);
      const cleaned = await quicksave('cleanup');
      expect(cleaned.status, cleaned.stderr).toBe(0);
      expect(readdirSync(folder).sort()).toEqual(files);
    }
    expect(statuses.filter((status) => status !== 0).length, String(statuses)).toBeGreaterThan(0);
  },
);

test.for(scarcities)(
  'a restart with few $what leaves a whole program or none',
  { timeout: 180_000 },
  async ({ prefixes }, context) => {
    const each = prefixes();
    if (each === undefined) return context.skip('there are no control groups here');
    const folder = newFolder();
    const { pid } = start(folder, compiled('proves-its-state', ['-pthread']));
    await proof(folder);
    const image = join(folder, 'image');
    await saveAndEnd(pid, image);
    const statuses = [];
    for (const prefix of each) {
      const restarted = attempt(prefix, 'restart', image, '--detach');
      statuses.push(restarted.status);
      expectExplained(restarted);
      if (restarted.status === 0) {
        remember(pid);
        await proof(folder);
        await saveAndEnd(pid, image);
      } else await gone(pid);
    }
    // What the last save holds silent is for nobody any more.
    await mustRun('cleanup');
    expect(statuses.filter((status) => status !== 0).length, String(statuses)).toBeGreaterThan(0);
  },
);

const canMount = (): boolean => {
  const folder = newFolder();
  const isMounted = spawnSync('mount', ['-t', 'tmpfs', 'none', folder]).status === 0;
  return isMounted && spawnSync('umount', [folder]).status === 0;
};

test('a disk that is full in the middle of a save, or may not be written to, keeps nothing of it', async (context) => {
  if (!canMount()) return context.skip('nothing may be mounted here');
  const folder = newFolder();
  const { pid } = start(folder, compiled('proves-its-state', ['-pthread']), [], { ballastMiB: 24 });
  await proof(folder);
  const disk = join(folder, 'disk');
  mkdirSync(disk);
  expect(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'none', disk]).status).toBe(0);
  try {
    const before = footprint(pid);
    for (const more of [[], ['--kill']]) {
      const full = await quicksave('checkpoint', String(pid), '--compress', 'none', '-o', join(disk, 'image'), ...more);
      expect(full).toMatchObject({ status: 1, stderr: expect.stringMatching(/no space|ENOSPC|full/i) });
      expect(readdirSync(disk)).toEqual([]);
      await proof(folder);
      expect(footprint(pid)).toEqual(before);
    }
    expect(spawnSync('mount', ['-o', 'remount,ro', disk]).status).toBe(0);
    const closed = await quicksave('checkpoint', String(pid), '--kill', '-o', join(disk, 'image'));
    expect(closed).toMatchObject({ status: 1, stderr: expect.stringMatching(/read-only|EROFS/i) });
    await proof(folder);
  } finally {
    spawnSync('umount', ['--lazy', disk]);
  }
});
