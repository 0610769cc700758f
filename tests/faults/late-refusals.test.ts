/** What is refused only when the program stands still: nothing of ours may be left in it then. */
import { readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { compiled, newFolder, quicksave, readIfThere, said, start } from '../support/harness.ts';

const socketsOf = (pid: number): string[] =>
  readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith('socket:');
    } catch {
      return false;
    }
  });

test('a save that is refused before its first batch of calls leaves no descriptor behind', async () => {
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
});
