/** Saves at instants that nobody has chosen, of programs that keep all their registers loaded and compare them all the time. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { compiled, full, isAlive, mustRun, newFolder, said, start } from '../support/harness.ts';

/** A round of the program takes some tens of milliseconds, a save too: they drift against each other. */
const SAVES = full ? 1000 : 25;

test.each([
  { what: 'a 64-bit program', name: 'registers', flags: [] },
  { what: 'a 32-bit program', name: 'registers-i386', flags: ['-m32', '-no-pie'] },
])(
  'no register of $what changes in many saves',
  async ({ name, flags }) => {
    const folder = newFolder();
    const target = start(folder, compiled(name, flags));
    await said(target.output, 'ready');
    for (let save = 0; save < SAVES; save++) {
      await mustRun('checkpoint', String(target.pid), '--output', join(folder, 'image'));
      expect(isAlive(target.pid), `alive after save ${save}`).toBe(true);
    }
    writeFileSync(join(folder, 'go'), '');
    await said(target.output, 'ok');
    expect(await target.ended).toEqual({ status: 0, signal: null });
  },
  full ? 1_800_000 : undefined,
);
