/** Memory of huge pages: it comes back, a save takes none of it from the program, and a host that has too few refuses. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  bringBack,
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

const POOL = '/proc/sys/vm/nr_hugepages';
/** What tests/programs/huge-pages.c and its child take after a restart. */
const NEEDED = 12;
const found = Number(readFileSync(POOL, 'utf8'));

/** The kernel gives fewer where memory is in pieces. */
function keepPages(pages: number): boolean {
  writeFileSync(POOL, String(pages));
  return Number(readFileSync(POOL, 'utf8')) >= pages;
}

const NONE = 'this machine gives no huge pages';
let isThere = false;

beforeAll(() => {
  try {
    isThere = keepPages(found + NEEDED);
  } catch {
    isThere = false;
  }
});

afterAll(() => {
  writeFileSync(POOL, String(found));
});

test('three restarts keep huge pages, and who has which of them', async (context) => {
  if (!isThere) context.skip(NONE);
  const folder = newFolder();
  const target = start(folder, compiled('huge-pages'));
  await said(target.output, 'ready');
  for (let cycle = 0; cycle < 3; cycle++) {
    const image = join(folder, `image.${cycle}`);
    const before = footprint(target.pid);
    if (cycle === 1) await mustRun('checkpoint', String(target.pid), '--output', image);
    expect(footprint(target.pid)).toEqual(before);
    await saveAndEnd(target.pid, image);
    expect(await bringBack(image)).toBe(target.pid);
  }
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
});

/** A file of huge pages in a file system of the test's own; undefined where none may be mounted. */
function hugeFile(folder: string): string | undefined {
  const mounted = join(folder, 'huge');
  mkdirSync(mounted);
  if (spawnSync('mount', ['-t', 'hugetlbfs', '-o', 'pagesize=2M', 'none', mounted]).status !== 0) return undefined;
  const file = join(mounted, 'file');
  writeFileSync(file, '');
  truncateSync(file, 2 << 20);
  return file;
}

test('three restarts keep shared huge pages: without a file, of a memfd, of System V, of a file', async (context) => {
  if (!isThere) context.skip(NONE);
  const folder = newFolder();
  const file = hugeFile(folder);
  const target = start(folder, compiled('huge-objects'), file === undefined ? [] : [file]);
  try {
    await said(target.output, 'ready');
    for (let cycle = 0; cycle < 3; cycle++) {
      const image = join(folder, `image.${cycle}`);
      const before = footprint(target.pid);
      if (cycle === 1) await mustRun('checkpoint', String(target.pid), '--output', image);
      expect(footprint(target.pid)).toEqual(before);
      await saveAndEnd(target.pid, image);
      expect(await bringBack(image)).toBe(target.pid);
    }
    writeFileSync(join(folder, 'go'), '');
    await said(target.output, 'ok');
  } finally {
    // Before the folder is removed.
    if (file !== undefined) spawnSync('umount', ['--lazy', dirname(file)]);
  }
});

test('a host that has too few pages for shared memory refuses before anything is made', async (context) => {
  if (!isThere) context.skip(NONE);
  const folder = newFolder();
  const target = start(folder, compiled('huge-objects'));
  await said(target.output, 'ready');
  const image = join(folder, 'image');
  await saveAndEnd(target.pid, image);
  keepPages(found + 1);
  const refused = await quicksave('restart', image, '--detach');
  expect(refused.stderr).toMatch(/It needs 7 huge pages of 2048 KiB, and \d+ are left here/);
  keepPages(found + NEEDED);
  expect(await bringBack(image)).toBe(target.pid);
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
});

test('a program of many pages goes on after a save although no huge page is left', async (context) => {
  if (!isThere) context.skip(NONE);
  const folder = newFolder();
  const target = start(folder, compiled('huge-pages'), [], { ballastMiB: 24 });
  await said(target.output, 'ready');
  const saved = await mustRun('checkpoint', String(target.pid), '--track', '--output', join(folder, 'image'));
  expect(saved.stderr).toContain('it stood still until all was written: it has huge pages');
  // The pool keeps what is in use or reserved.
  writeFileSync(POOL, '0');
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
  keepPages(found + NEEDED);
});

test('a host that has too few huge pages refuses before anything is made', async (context) => {
  if (!isThere) context.skip(NONE);
  const folder = newFolder();
  const target = start(folder, compiled('huge-pages'));
  await said(target.output, 'ready');
  const image = join(folder, 'image');
  await saveAndEnd(target.pid, image);
  keepPages(found + 1);
  const refused = await quicksave('restart', image, '--detach');
  expect(refused.stderr).toMatch(/It needs 10 huge pages of 2048 KiB, and \d+ are left here/);
  expect(refused.stderr).toContain('no-huge-pages');
  expect(readIfThere(`/proc/${target.pid}/stat`)).toBeUndefined();
  keepPages(found + NEEDED);
  expect(await bringBack(image)).toBe(target.pid);
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
});
