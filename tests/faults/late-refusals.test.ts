/** What is refused only when the program stands still: nothing of ours may be left in it then. */
import { readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { compiled, footprint, newFolder, quicksave, readIfThere, said, start } from '../support/harness.ts';

const socketsOf = (pid: number): string[] =>
  readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith('socket:');
    } catch {
      return false;
    }
  });

test('a save that is refused before its first batch of calls leaves no descriptor behind, and no call interrupted', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('flickering-descriptor'));
  await said(target.output, 'ready');
  for (let round = 0; round < 24; round++) {
    const result = await quicksave('checkpoint', String(target.pid), '--output', join(folder, 'image'));
    expect(result.stderr).not.toMatch(/socket/);
    expect(socketsOf(target.pid)).toEqual([]);
  }
  expect(readIfThere(`/proc/${target.pid}/maps`)).toBeDefined();
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
  expect(readIfThere(target.output)).not.toContain('not ok');
});

test('a program without a free descriptor, or without room, is refused with what to do', async () => {
  const folder = newFolder();
  for (const [limit, remedy] of [
    ['-n 3', /^ {2}.*prlimit --pid \d+ --nofile/m],
    ['-v $(($(tail -1 /proc/$$/statm | cut -d" " -f1) * 4))', /^ {2}.*prlimit --pid \d+ --as/m],
  ] as const) {
    const loop = `ulimit ${limit}; echo ready; while :; do :; done`;
    const target = start(folder, 'bash', ['-c', loop]);
    await said(target.output, 'ready');
    const before = footprint(target.pid);
    const result = await quicksave('checkpoint', String(target.pid), '--output', join(folder, 'image'));
    expect(result.status).toBe(1);
    expect(result.stderr).toMatch(remedy);
    expect(footprint(target.pid)).toEqual(before);
  }
});
