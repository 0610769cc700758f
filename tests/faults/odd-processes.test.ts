/** Processes with something that cannot be saved, or that other processes have too: refused by name, and not harmed. */
import { copyFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type * as Library from '../../src/index.ts';
import {
  bringBack,
  compiled,
  gone,
  mustRun,
  newFolder,
  quicksave,
  readIfThere,
  remember,
  said,
  saveAndEnd,
  start,
  type Target,
  waitFor,
} from '../support/harness.ts';

const { freeze } = (await import(new URL('../../dist/index.js', import.meta.url).href)) as typeof Library;

/** Ready, or the reason why it cannot be. */
async function begun(target: Target): Promise<string> {
  const pattern = /^(ready|skip .*|not ok.*)\n/m;
  return waitFor('the program to begin', () => pattern.exec(readIfThere(target.output) ?? '')?.[1]);
}

async function expectRefusal(target: Target, folder: string, sentence: RegExp, args: readonly string[]): Promise<void> {
  const result = await quicksave('checkpoint', String(target.pid), '-o', join(folder, 'image'), ...args);
  expect(result.stderr).toMatch(sentence);
  expect(result.stderr).not.toContain('inside quicksave');
  expect(result.status).toBe(1);
  expect(readIfThere(join(folder, 'image'))).toBeUndefined();
}

test.each([
  ['memory', /process (\d+) \(odd-process\): It shares its memory with that process \(CLONE_VM\)/],
  ['descriptors', /process (\d+) \(odd-process\): It shares its descriptor table with that process \(CLONE_FILES\)/],
  ['directory', /process (\d+) \(odd-process\): It shares its working directory, root and umask with that process/],
  ['tracer', /process (\d+) \(odd-process\): It traces that process/],
])('a process with another that has to do with its %s is refused, and both go on', async (oddity, sentence) => {
  const folder = newFolder();
  const target = start(folder, compiled('odd-process'), [oddity]);
  expect(await begun(target)).toBe('ready');
  const other = Number(readIfThere(join(folder, 'other')));
  remember(other);
  for (const args of [[], ['--kill']]) await expectRefusal(target, folder, sentence, args);
  const check = await quicksave('check', String(target.pid));
  expect(sentence.exec(check.stdout.toString())?.[1]).toBe(String(other));
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
  await gone(other);
});

test.for([
  ['namespace', /It is in another uts namespace than this command/],
  ['root', /Its root directory is .*\/root\./],
  ['ports', /It may use I\/O ports \(ioperm\)/],
  ['dispatch', /has its system calls dispatched to itself/],
] as [string, RegExp][])(
  'a process with a %s of its own is refused and goes on',
  async ([oddity, sentence], context) => {
    const folder = newFolder();
    const target = start(folder, compiled('odd-process'), [oddity]);
    const words = await begun(target);
    if (words.startsWith('skip')) context.skip(`not here: ${words.slice(5)}`);
    expect(words).toBe('ready');
    for (const args of [[], ['--kill']]) await expectRefusal(target, folder, sentence, args);
    writeFileSync(join(folder, 'go'), '');
    await said(target.output, 'ok');
  },
);

test('a process that waits in vfork for long is refused with its child, and both go on', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('vforks'), ['held']);
  expect(await begun(target)).toBe('ready');
  const sentence =
    /It waits in vfork\(2\) until process (\d+) \(vforks\), which has its memory, executes a program or ends/;
  for (const args of [[], ['--kill']]) await expectRefusal(target, folder, sentence, args);
  await expect(freeze(target.pid)).rejects.toMatchObject({ code: 'waits-in-vfork' });
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
  expect(await target.ended).toEqual({ status: 0, signal: null });
});

test('a process that is nearly always in vfork is saved all the same, and brought back', async () => {
  const folder = newFolder();
  const image = join(folder, 'image');
  const target = start(folder, compiled('vforks'), ['often']);
  expect(await begun(target)).toBe('ready');
  for (let round = 0; round < 3; round++) await mustRun('checkpoint', String(target.pid), '-o', image);
  await saveAndEnd(target.pid, image);
  expect(await bringBack(image)).toBe(target.pid);
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
});

test('a process that is stopped when its first thread has ended is refused, and stays stopped', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('leader-ended'));
  await said(target.output, 'ready');
  const other = readdirSync(`/proc/${target.pid}/task`)
    .map(Number)
    .find((tid) => tid !== target.pid);
  const stateOf = (): string | undefined =>
    /\) (\w)/.exec(readIfThere(`/proc/${target.pid}/task/${other}/stat`) ?? '')?.[1];
  process.kill(target.pid, 'SIGSTOP');
  await waitFor('the process to stop', () => stateOf() === 'T');
  const sentence = /Its first thread has ended while others go on, and it is stopped by a signal/;
  for (const args of [[], ['--kill']]) await expectRefusal(target, folder, sentence, args);
  expect(stateOf()).toBe('T');
  process.kill(target.pid, 'SIGCONT');
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
});

test('a process whose program file is gone is refused and goes on', async () => {
  const folder = newFolder();
  const program = join(folder, 'program');
  copyFileSync(compiled('odd-process'), program);
  const target = start(folder, program, ['executable']);
  expect(await begun(target)).toBe('ready');
  await expectRefusal(target, folder, /Its program file \S*\/program has been deleted or replaced/, ['--kill']);
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
});

test('memory without a file that another process has too is refused by the name of that process', async () => {
  const folder = newFolder();
  const body = [
    'import mmap, os, time',
    'memory = mmap.mmap(-1, 4096)',
    'if os.fork() == 0:',
    '  other = os.fork()',
    '  if other == 0: time.sleep(600)',
    '  print("other", other, flush=True); os._exit(0)',
    'os.wait(); print("ready", flush=True); time.sleep(600)',
  ];
  const target = start(folder, 'python3', ['-c', body.join('\n')]);
  await said(target.output, 'ready');
  const other = Number(/other (\d+)/.exec(readIfThere(target.output) ?? '')?.[1]);
  remember(other);
  const sentence = new RegExp(
    `process ${other} \\(python3\\): It shares this memory \\(/dev/zero\\) with that process`,
  );
  const { status, stderr } = await quicksave('checkpoint', String(target.pid), '--output', join(folder, 'image'));
  expect(stderr).toMatch(sentence);
  expect(status).toBe(1);
  const checked = await quicksave('check', String(target.pid));
  expect(checked.stdout.toString() + checked.stderr).toMatch(sentence);
});

test('what a process outside has open too is named by a save, and by check', async () => {
  const folder = newFolder();
  const script = [
    'import os, time',
    'log = open("log", "w"); gone = open("gone", "w+"); os.unlink("gone"); own = open("own", "w")',
    'if os.fork() == 0:',
    '  if os.fork() == 0:',
    '    own.close(); print("outsider", os.getpid(), flush=True); time.sleep(600)',
    '  os._exit(0)',
    'os.wait(); print("ready", flush=True); time.sleep(600)',
  ];
  const target = start(folder, 'python3', ['-c', script.join('\n')]);
  await said(target.output, 'ready');
  const outsider = Number(
    await waitFor('the outsider', () => /outsider (\d+)/.exec(readIfThere(target.output) ?? '')?.[1]),
  );
  remember(outsider);
  const save = await quicksave('checkpoint', String(target.pid), '-o', join(folder, 'image'));
  const check = await quicksave('check', String(target.pid));
  for (const said of [save.stderr + save.stdout, check.stdout.toString()]) {
    expect(said).toMatch(
      new RegExp(`/log\\) is shared with ${outsider} \\(python3, fd 3\\): after a restart it has a position`),
    );
    expect(said).toMatch(new RegExp(`/gone\\) has no name, and ${outsider} \\(python3, fd 4\\) has it open too`));
    expect(said).not.toContain('/own)');
  }
  expect(save.status).toBe(0);
});
