/** A program goes through a stream of 2008: saved, exported, ended, and brought back from the stream. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  compiled,
  footprint,
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
  stateOf,
  type Target,
  waitFor,
} from '../support/harness.ts';

const FORMAT = ['--format', 'linux-cr-v8'];

async function exported(image: string, stream: string): Promise<string> {
  const { stderr } = await mustRun('export', ...FORMAT, image, '--output', stream);
  return stderr;
}

/** In its folder: where it was is not in the stream. */
async function bringBackIn(folder: string, ...args: string[]): Promise<{ pid: number; stderr: string }> {
  const result = await run(['restart', join(folder, 'stream'), '--detach', ...args], { cwd: folder }).done;
  expect(result.status, result.stderr).toBe(0);
  const pid = Number(result.stdout.toString());
  remember(pid);
  return { pid, stderr: result.stderr };
}

const verdict = (output: string): Promise<string> =>
  waitFor(`a verdict in ${output}`, () => /^(ok|not ok.*)$/m.exec(readIfThere(output) ?? '')?.[0]);

async function aPlainTask(flags: readonly string[], ...args: string[]): Promise<Target & { folder: string }> {
  const folder = newFolder();
  const target = start(folder, compiled('plain-task', flags), args);
  await said(target.output, 'ready');
  return { ...target, folder };
}

const go = (folder: string): void => writeFileSync(join(folder, 'go'), '');

describe.each([{ flags: ['-m32'] }, { flags: ['-m32', '-static'] }])('plain-task $flags', ({ flags }) => {
  test('passes without a checkpointer', async () => {
    const { folder, output, ended } = await aPlainTask(flags);
    go(folder);
    expect(await verdict(output)).toBe('ok');
    expect(await ended).toEqual({ status: 0, signal: null });
  });

  test('comes back three times with its memory, registers and files, 20 MiB in one mapping', async () => {
    const { folder, output, pid } = await aPlainTask(flags);
    const before = footprint(pid);
    const vector = readFileSync(`/proc/${pid}/auxv`);
    for (let cycle = 0; cycle < 3; cycle++) {
      await saveAndEnd(pid, join(folder, 'image'));
      await exported(join(folder, 'image'), join(folder, 'stream'));
      expect((await bringBackIn(folder)).pid).toBe(pid);
      expect(footprint(pid)).toEqual(before);
      expect(readFileSync(`/proc/${pid}/auxv`)).toEqual(vector);
    }
    go(folder);
    expect(await verdict(output)).toBe('ok');
  });

  test('comes back through pipes', async () => {
    const { folder, output, pid } = await aPlainTask(flags);
    const saved = await run(['checkpoint', `${pid}`, '--output', '-', '--compress', 'zstd', '--kill']).done;
    expect(saved.status, saved.stderr).toBe(0);
    await gone(pid);
    const stream = await run(['export', ...FORMAT, '-', '--output', '-'], { stdin: saved.stdout }).done;
    expect(stream.status, stream.stderr).toBe(0);
    const restart = run(['restart', '-'], { stdin: stream.stdout, cwd: folder });
    await waitFor('the restarted program', () => readIfThere(`/proc/${pid}/comm`) !== undefined);
    go(folder);
    const result = await restart.done;
    expect(readFileSync(output, 'utf8')).toMatch(/^ok$/m);
    expect(result.status, result.stderr).toBe(0);
  });
});

test('export and restart say what is not in the stream, and inspect and verify read it', async () => {
  const { folder, pid } = await aPlainTask(['-m32'], '40');
  const [image, stream] = [join(folder, 'image'), join(folder, 'stream')];
  await saveAndEnd(pid, image);
  const told = await exported(image, stream);
  expect(told).toMatch(new RegExp(`^exported process ${pid} as linux-cr-v8: \\d+ records, \\d+ pages, .*\n`));
  for (const lost of [
    'credentials',
    'working directory',
    'limits',
    'robust futex list',
    'size and time of its files',
  ]) {
    expect(told).toMatch(new RegExp(`^  not in it: .*${lost}`, 'm'));
  }
  const inspection = JSON.parse((await mustRun('inspect', stream, '--json')).stdout.toString());
  const ofImage = JSON.parse((await mustRun('inspect', image, '--json')).stdout.toString());
  expect(inspection.format).toBe('linux-cr-v8');
  expect(Object.keys(inspection.processes[0].aspects)).not.toContain('credentials');
  expect(inspection.processes[0].threads[0].registers).toEqual(ofImage.processes[0].threads[0].registers);
  expect(inspection.processes[0].localDescriptors).toBe(10);
  const places = (one: typeof inspection) =>
    one.processes[0].mappings.map(({ start, end, permissions, offset, kind, file }: Record<string, unknown>) => [
      ...[start, end, permissions, offset, kind, file],
    ]);
  expect(places(inspection)).toEqual(places(ofImage));
  expect((await mustRun('inspect', stream)).stdout.toString()).toMatch(/^format +linux-cr-v8\n/);
  const piped = await run(['inspect', '-', '--json'], { stdin: readFileSync(stream) }).done;
  expect(JSON.parse(piped.stdout.toString())).toEqual(inspection);
  expect((await mustRun('verify', stream)).stdout.toString()).toMatch(
    /^complete, as far as linux-cr-v8 tells: process/,
  );
  const { stderr } = await bringBackIn(folder);
  expect(stderr).toMatch(/the stream has no credentials.*they are those of this command/);
  expect(stderr).toMatch(/it has no signal actions.*as after execve/);
  expect(stderr).toMatch(/of its files it has only the names/);
});

test('a file that has changed since the save is refused, unless it is accepted', async () => {
  const { folder, output, pid } = await aPlainTask(['-m32'], '40');
  const [image, stream] = [join(folder, 'image'), join(folder, 'stream')];
  await saveAndEnd(pid, image);
  await exported(image, stream);
  // Its time has whole seconds, and may be that of the next one.
  const { createdAt } = JSON.parse((await mustRun('inspect', stream, '--json')).stdout.toString()).header;
  const time = Date.parse(createdAt);
  await waitFor('the second after the save', () => Date.now() > time + 10);
  writeFileSync(join(folder, 'text'), '0123456789abcdefghij');
  const refused = await quicksave('restart', stream, '--detach');
  expect(refused.status).toBe(1);
  expect(refused.stderr).toContain(`The file ${join(folder, 'text')} has changed since the program was saved`);
  expect(stateOf(pid)).toBe(undefined);
  expect((await bringBackIn(folder, '--files', 'accept-changed')).pid).toBe(pid);
  go(folder);
  expect(await verdict(output)).toBe('ok');
});

test('what a stream of 2008 has no place for is refused, every reason at once, and nothing is written', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('i386-state', ['-m32']));
  await said(target.output, 'ready');
  const [image, stream] = [join(folder, 'image'), join(folder, 'stream')];
  await saveAndEnd(target.pid, image);
  const { status, stderr } = await quicksave('export', ...FORMAT, image, '--output', stream);
  expect(status).toBe(1);
  expect(stderr).toMatch(/cannot be exported as linux-cr-v8: \d+ things stand in the way\./);
  for (const reason of ['4 threads', 'actions of its own for SIGUSR1, SIGUSR2', 'blocked signals', 'sigaltstack']) {
    expect(stderr).toContain(reason);
  }
  expect(existsSync(stream)).toBe(false);
  const piped = await run(['export', ...FORMAT, image, '--output', '-']).done;
  expect([piped.status, piped.stdout.length]).toEqual([1, 0]);
});

test('a format that is not known is wrong usage', async () => {
  const { status, stderr } = await quicksave('export', '--format', 'elf', 'image', '--output', 'x');
  expect(status).toBe(2);
  expect(stderr).toContain('linux-cr-v8');
});
