/** Images of every format version that there has been: they keep opening, and say what they have always said. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { mustRun } from '../support/harness.ts';

const folder = new URL('golden', import.meta.url).pathname;
const images = readdirSync(folder).filter((name) => name.endsWith('.qs'));

const whatIsIn = (name: string): RegExp =>
  /tree|encrypted/.test(name) ? /^intact: process \d+ \(program\) and 3 descendants, 4 threads/ : /^intact: process \d+ \(program\), 2 threads/;
const keyOf = (name: string): string[] =>
  name.includes('encrypted') ? ['--key', join(folder, name.replace(/-encrypted\.qs$/, '.key'))] : [];

test('there are images of version 1: raw, compressed, of a tree, encrypted', () => {
  expect(images).toEqual(expect.arrayContaining(['v1-raw.qs', 'v1-zstd.qs', 'v1-tree.qs', 'v1-encrypted.qs']));
});

test.each(images)('%s is intact', async (name) => {
  const { stdout } = await mustRun('verify', join(folder, name), ...keyOf(name));
  expect(stdout.toString()).toMatch(whatIsIn(name));
});

test.each(images)('%s says what it said when it was made', async (name) => {
  const { stdout } = await mustRun('inspect', join(folder, name), '--json', ...keyOf(name));
  const now = JSON.parse(stdout.toString());
  expect(now).toMatchObject(JSON.parse(readFileSync(join(folder, name.replace(/\.qs$/, '.json')), 'utf8')));
});

const stream = join(folder, 'linux-cr-v8.stream');

test('a stream of 2008 is complete', async () => {
  const { stdout } = await mustRun('verify', stream);
  expect(stdout.toString()).toMatch(/^complete, as far as linux-cr-v8 tells: process \d+ \(program\), 1 thread/);
});

test('a stream of 2008 says what it said when it was made', async () => {
  const { stdout } = await mustRun('inspect', stream, '--json');
  const made = JSON.parse(readFileSync(join(folder, 'linux-cr-v8.json'), 'utf8'));
  expect(JSON.parse(stdout.toString())).toMatchObject(made);
});
