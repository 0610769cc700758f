/** Programs under seccomp whose sandbox leaves no way out of a save are refused by name, and not harmed. */
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { SYS } from '../../src/kernel/abi/syscall.ts';
import {
  bringBack,
  childrenOf,
  compiled,
  footprint,
  mustRun,
  newFolder,
  quicksave,
  readIfThere,
  said,
  saveAndEnd,
  start,
} from '../support/harness.ts';

test.each([
  ['one that is killed for munmap', 'kills', [SYS.munmap], /filter of thread \d+ forbids what quicksave.* \(munmap\)/],
  ['one that is killed for close', 'kills', [SYS.close], /\(close\)/],
  ['one that gets a signal for two calls', 'traps', [SYS.close, SYS.mmap], /\(close, mmap\).*\n.*Allow it close, mmap/],
  ['one that is killed for what it is asked', 'kills', [SYS.personality, SYS.membarrier], /\((personality|membarrier)/],
  ['one that asks a supervisor', 'asks', [], /hands calls to a supervisor/],
  ['a child in strict mode', 'strict', [], /runs in the strict mode of seccomp/],
])('%s is refused, and not harmed', async (_, mode, calls, sentence) => {
  const folder = newFolder();
  const target = start(folder, compiled('sandboxed'), [mode, ...calls.map(String)]);
  await said(target.output, 'ready');
  const before = footprint(target.pid);
  const { status, stderr } = await quicksave('checkpoint', String(target.pid), '-o', join(newFolder(), 'image'));
  expect(stderr).toMatch(sentence);
  expect(status).toBe(1);
  expect(footprint(target.pid)).toEqual(before);
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
  expect(await target.ended).toEqual({ status: 0, signal: null });
});

const filtersOf = (pid: number): string[] =>
  readdirSync(`/proc/${pid}/task`).map(
    (tid) => /^Seccomp:.*\nSeccomp_filters:.*$/m.exec(readIfThere(`/proc/${pid}/task/${tid}/status`) ?? '')?.[0] ?? '',
  );

test.each([
  ['small', {}],
  ['large', { ballastMiB: 24 }],
])('a %s one that may do little but get out of it again is saved while it goes on', async (_, size) => {
  const folder = newFolder();
  const target = start(folder, compiled('sandboxed'), ['errors'], size);
  await said(target.output, 'ready');
  const before = filtersOf(target.pid);
  expect(before).toEqual(Array(3).fill('Seccomp:\t2\nSeccomp_filters:\t1'));
  const image = join(folder, 'image');
  expect((await mustRun('checkpoint', String(target.pid), '--output', image)).stderr).not.toContain('stood still');
  expect(childrenOf(target.pid)).toEqual([]);
  await saveAndEnd(target.pid, image);
  expect(await bringBack(image)).toBe(target.pid);
  expect(filtersOf(target.pid)).toEqual(before);
  await mustRun('checkpoint', String(target.pid), '--output', image);
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
});
