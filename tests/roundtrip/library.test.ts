/** The library as its users import it: built, from the package's entry. */
import { createReadStream, createWriteStream, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import type * as Library from '../../src/index.ts';
import {
  bringBack,
  compiled,
  gone,
  isAlive,
  newFolder,
  remember,
  said,
  start,
  stateOf,
  waitFor,
} from '../support/harness.ts';

const entry = new URL('../../dist/index.js', import.meta.url).href;
const { check, checkpoint, inspect, RefusedError, restart } = (await import(entry)) as typeof Library;

test('a process is saved to a file and comes back, while the event loop goes on', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('busy-threads'));
  await said(target.output, 'ready');
  const image = join(folder, 'image');
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  const saved = await checkpoint(target.pid, image, { kill: true });
  clearInterval(timer);
  expect(ticks).toBeGreaterThan(3);
  expect(saved).toMatchObject({ pid: target.pid, threads: 9, killed: true });
  expect(inspect(image).processes[0]?.threads).toHaveLength(9);
  await gone(target.pid);
  const back = await restart(image);
  remember(back.pid);
  expect(back.pid).toBe(target.pid);
  writeFileSync(join(folder, 'go'), '');
  expect(await back.exited()).toEqual({ status: 0 });
  expect(readFileSync(target.output, 'utf8')).toMatch(/^ok$/m);
});

test('a process is saved into a stream and comes back from one', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('memory-kinds'));
  await said(target.output, 'ready');
  const image = join(folder, 'image');
  const progress: number[] = [];
  const options = { kill: true, compress: 1, onProgress: (now: Library.Progress) => progress.push(now.doneBytes) };
  await checkpoint(target.pid, createWriteStream(image), options);
  expect(progress.at(-1)).toBeGreaterThan(4 << 20);
  expect(progress).toEqual([...progress].sort((a, b) => a - b));
  await gone(target.pid);
  const steps: Library.Progress[] = [];
  const back = await restart(createReadStream(image), { onProgress: (now) => steps.push(now) });
  remember(back.pid);
  const done = steps.map(({ doneBytes }) => doneBytes);
  expect(done).toEqual([...done].sort((a, b) => a - b));
  expect(done.at(-1)).toBeGreaterThan(4 << 20);
  expect(steps.at(-1)?.totalBytes).toBe(done.at(-1));
  writeFileSync(join(folder, 'go'), '');
  expect(await back.exited()).toEqual({ status: 0 });
});

test('an abort leaves the process running and no image', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('memory-kinds'));
  await said(target.output, 'ready');
  const image = join(folder, 'image');
  const before = readdirSync(folder);
  const abort = new AbortController();
  const save = checkpoint(target.pid, image, { kill: true, signal: abort.signal, onProgress: () => abort.abort() });
  await expect(save).rejects.toMatchObject({ code: 'interrupted' });
  expect(existsSync(image)).toBe(false);
  expect(readdirSync(folder)).toEqual(before);
  expect(isAlive(target.pid)).toBe(true);
  writeFileSync(join(folder, 'go'), '');
  expect(await target.ended).toEqual({ status: 0, signal: null });
});

test('an abort of a restart leaves no process, and the image can be restarted', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('memory-kinds'));
  await said(target.output, 'ready');
  const image = join(folder, 'image');
  await checkpoint(target.pid, image, { kill: true });
  await gone(target.pid);
  const abort = new AbortController();
  const options = { signal: abort.signal, onProgress: () => abort.abort() };
  await expect(restart(image, options)).rejects.toMatchObject({ code: 'interrupted' });
  expect(stateOf(target.pid)).toBeUndefined();
  await expect(restart(image, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'interrupted' });
  const back = await restart(image);
  remember(back.pid);
  writeFileSync(join(folder, 'go'), '');
  expect(await back.exited()).toEqual({ status: 0 });
});

test('an abort of a restart from a stream that has not come to its end leaves no process', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('memory-kinds'));
  await said(target.output, 'ready');
  const image = join(folder, 'image');
  await checkpoint(target.pid, image, { kill: true, compress: 0 });
  await gone(target.pid);
  const bytes = readFileSync(image);
  const abort = new AbortController();
  const aborted = new Promise<void>((resolve) => abort.signal.addEventListener('abort', () => resolve()));
  const inHalves = async function* () {
    yield bytes.subarray(0, bytes.length / 2);
    await aborted;
    yield bytes.subarray(bytes.length / 2);
  };
  const options = { signal: abort.signal, onProgress: () => abort.abort() };
  await expect(restart(Readable.from(inHalves()), options)).rejects.toMatchObject({ code: 'interrupted' });
  expect(stateOf(target.pid)).toBeUndefined();
  remember(await bringBack(image));
});

test('a refusal lists every reason', async () => {
  const folder = newFolder();
  const target = start(folder, 'python3', [
    '-c',
    'import socket,time;a=socket.socket(socket.AF_NETLINK,socket.SOCK_RAW,12);b=socket.socket(socket.AF_NETLINK,socket.SOCK_RAW,12);time.sleep(600)',
  ]);
  const found = await waitFor('both sockets', () => {
    if (stateOf(target.pid) !== 'S') return undefined;
    const { problems } = check(target.pid);
    return problems.some(({ code }) => code === 'netlink-socket') ? problems : undefined;
  });
  expect(found.map(({ code }) => code)).toEqual(['netlink-socket', 'netlink-socket']);
  const refused = await checkpoint(target.pid, join(folder, 'image')).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(RefusedError);
  expect((refused as Library.RefusedError).problems).toHaveLength(2);
  expect(isAlive(target.pid)).toBe(true);
});
