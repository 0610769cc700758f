/** Saves that find threads in the middle of a function of the vDSO, by their own doing and behind a signal frame. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Inspection } from '../../src/report/inspect.ts';
import {
  bringBack,
  command,
  compiled,
  gone,
  mustRun,
  newFolder,
  readIfThere,
  said,
  start,
  waitFor,
} from '../support/harness.ts';
import { ofAnotherKernel, type SavedVdso, withVdso } from '../support/image-surgery.ts';

const CYCLES = 3;
/** Every second or third finds one. */
const SAVES = 100;

function threadsInVdso(image: string): string[] {
  const options = { encoding: 'utf8', maxBuffer: 2 ** 26 } as const;
  const inspection = JSON.parse(execFileSync(command, ['inspect', '--json', image], options)) as Inspection;
  const threads = inspection.processes[0]?.threads ?? [];
  return threads.flatMap(({ inVdso, systemCall }) =>
    systemCall === undefined && inVdso !== undefined ? [inVdso] : [],
  );
}

/** Saves, and lets the program go on, until a thread was in a clock function. */
async function saveInside(pid: number, image: string): Promise<number> {
  for (let save = 1; save <= SAVES; save++) {
    await mustRun('checkpoint', String(pid), '--output', image, '--compress', 'zstd');
    if (threadsInVdso(image).some((place) => /^__vdso_\w+\+0x/.test(place))) return save;
  }
  throw new Error(`none of ${SAVES} saves found a thread in the vDSO`);
}

describe.each([
  { what: 'a 64-bit program', flags: [] },
  { what: 'a 32-bit program', flags: ['-m32'] },
])('a thread in the vDSO of $what', ({ flags }) => {
  test.each([
    { where: 'here', change: (vdso: SavedVdso) => vdso },
    { where: 'on another kernel', change: ofAnotherKernel },
  ])('goes on $where, three times', async ({ change }) => {
    const folder = newFolder();
    const target = start(folder, compiled('vdso-callers', flags));
    await said(target.output, 'ready');
    const image = join(folder, 'image');
    for (let cycle = 0; cycle < CYCLES; cycle++) {
      await saveInside(target.pid, image);
      process.kill(target.pid, 'SIGKILL');
      await gone(target.pid);
      writeFileSync(image, withVdso(readFileSync(image), change));
      await bringBack(image);
    }
    writeFileSync(join(folder, 'go'), '');
    const verdict = await waitFor('a verdict', () => /^(ok|not ok.*)$/m.exec(readIfThere(target.output) ?? '')?.[0]);
    expect(verdict).toBe('ok');
  });
});
