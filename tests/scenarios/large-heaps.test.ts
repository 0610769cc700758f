/** Programs that nobody here wrote, with much memory: what they have is the same after restarts, eager and lazy, whole and incremental. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  bringBack,
  full,
  has,
  mustRun,
  newFolder,
  remember,
  said,
  saveAndEnd,
  start,
  type Target,
} from '../support/harness.ts';

const GIBIBYTE = 2 ** 30;
const KEYS = full ? '1000000' : '100000';

/** Whole, incremental since that, and lazily; `same` is asked after each. */
async function throughRestarts(target: Target, folder: string, same: () => Promise<void>): Promise<void> {
  const [whole, next] = ['whole', 'next'].map((name) => join(folder, name)) as [string, string];
  await mustRun('checkpoint', String(target.pid), '--output', whole);
  await same();
  await mustRun('checkpoint', String(target.pid), '--output', next, '--parent', whole, '--kill');
  expect(await bringBack(next)).toBe(target.pid);
  await same();
  await saveAndEnd(target.pid, whole);
  await mustRun('restart', whole, '--detach', '--lazy');
  remember(target.pid);
  await same();
}

test.skipIf(!has('redis-server'))('redis has the same digest of all its keys', async () => {
  const folder = newFolder();
  const socket = join(folder, 'socket');
  const options = ['--port', '0', '--unixsocket', socket, '--save', '', '--enable-debug-command', 'local'];
  const target = start(folder, 'redis-server', options);
  await said(target.output, 'eady to accept connections');
  const ask = (...words: string[]): string =>
    spawnSync('redis-cli', ['-s', socket, ...words], { encoding: 'utf8' }).stdout.trim();
  ask('debug', 'populate', KEYS, 'key', '100');
  expect(ask('dbsize')).toBe(KEYS);
  const digest = ask('debug', 'digest');
  expect(digest).toMatch(/^[0-9a-f]{40}$/);
  await throughRestarts(target, folder, async () => expect(ask('debug', 'digest')).toBe(digest));
});

/** The program writes a digest of what it has for each line that it is given. */
async function tellsTheSame(program: string, args: readonly string[]): Promise<void> {
  const folder = newFolder();
  const target = start(folder, program, args);
  await said(target.output, 'ready');
  let asked = 0;
  const ask = async (): Promise<string> => {
    writeFileSync(join(folder, 'asked'), String(++asked));
    await said(target.output, `answer ${asked} `);
    return /.* (\S+)$/.exec(readFileSync(target.output, 'utf8').trim())?.[1] ?? '';
  };
  const first = await ask();
  expect(first).toMatch(/^[0-9a-f]{64}$/);
  await throughRestarts(target, folder, async () => expect(await ask()).toBe(first));
}

const python = `
import hashlib, os, random, time
random.seed(1)
piece = random.randbytes(1 << 20)
memory = bytearray(${full ? 2 * GIBIBYTE : GIBIBYTE / 8})
for at in range(0, len(memory), len(piece)):
    memory[at:at + len(piece)] = piece
    memory[at:at + 8] = at.to_bytes(8, 'little')
print('ready', flush=True)
told = 0
while True:
    asked = int(open('asked').read() or 0) if os.path.exists('asked') else 0
    if asked > told:
        told = asked
        print('answer', told, hashlib.sha256(memory).hexdigest(), flush=True)
    time.sleep(0.01)
`;

test.skipIf(!has('python3'))('an array of python3 is what it was', async () => {
  await tellsTheSame('python3', ['-c', python]);
});

const node = `
const { createHash } = require('node:crypto');
const { existsSync, readFileSync, writeSync } = require('node:fs');
const found = new Map();
let kept = null;
for (let i = 0; i < ${full ? 2_000_000 : 150_000}; i++) {
  kept = { number: i, name: 'entry ' + i * 7919, before: i % 3 === 0 ? null : kept };
  found.set(kept.name, kept);
}
function digest() {
  const hash = createHash('sha256');
  for (const [name, { number, before }] of found) hash.update(name + number + (before === null ? '' : before.name));
  return hash.digest('hex');
}
writeSync(1, 'ready\\n');
let told = 0;
setInterval(() => {
  const asked = existsSync('asked') ? Number(readFileSync('asked', 'utf8')) : 0;
  if (asked > told) writeSync(1, 'answer ' + (told = asked) + ' ' + digest() + '\\n');
}, 10);
`;

test('a heap of Node is what it was', async () => {
  await tellsTheSame(process.execPath, ['-e', node]);
});
