/** Saves in an object store: whole under their name or not there, whatever breaks. */
import { writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type * as Library from '../../src/index.ts';
import {
  bringBack,
  childrenOf,
  command,
  compiled,
  full,
  gone,
  isAlive,
  mustRun,
  newFolder,
  remember,
  run,
  said,
  saveAndEnd,
  start,
  stateOf,
  type Target,
  waitFor,
} from '../support/harness.ts';
import { environmentFor, hasObjectStore, type ObjectStore, startObjectStore } from '../support/object-store.ts';

const library = (await import(new URL('../../dist/index.js', import.meta.url).href)) as typeof Library;

const MEBIBYTE = 1024 * 1024;
/** More than two parts of 5 MiB, not compressed. */
const ballastMiB = 12;

async function started(folder: string, mebibytes = ballastMiB): Promise<Target> {
  const target = start(folder, compiled('open-files'), [], { ballastMiB: mebibytes });
  await said(target.output, 'ready');
  return target;
}

const save = (pid: number, address: string, ...more: string[]): string[] => [
  'checkpoint',
  String(pid),
  '--output',
  address,
  '--compress',
  'none',
  ...more,
];

let store: ObjectStore;
const before = { ...process.env };
const gates: (() => void)[] = [];
let buckets = 0;
/** Of each test its own. */
let bucket: string;

beforeAll(async () => {
  if (!hasObjectStore) return;
  store = await startObjectStore();
  Object.assign(process.env, store.env);
});

beforeEach(async () => {
  bucket = `saves-${++buckets}`;
  if (hasObjectStore) await store.makeBucket(bucket);
});

afterEach(() => {
  for (const close of gates.splice(0)) close();
});

afterAll(async () => {
  process.env = before;
  if (hasObjectStore) await store.stop();
});

/** Stands before the store, and breaks connections when it is told to. */
interface Gate {
  readonly port: number;
  /** Connections are cut when so many bytes have come back over them, so many times. */
  cutAnswers(bytes: number, times: number): void;
  /** When so many bytes have come in all, connections are cut, and there are no more. */
  closeAfter(bytes: number): void;
  /** When so many bytes have come in all, no more go on until there is another number. */
  holdAfter(bytes: number): void;
  isHeld(): boolean;
  /** Only so many connections are taken. */
  admit(count: number): void;
  /** What the store says to the completion of an upload does not come back. */
  loseCompletion(): void;
  /** How often that was so. */
  lostCompletions(): number;
}

async function gateTo(port: number): Promise<Gate> {
  const pairs = new Set<{ client: Socket; store: Socket }>();
  let [come, closeAt, holdAt] = [0, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  let [cutAt, cuts, admitted] = [Number.POSITIVE_INFINITY, 0, Number.POSITIVE_INFINITY];
  let losesCompletion = false;
  let lost = 0;
  const server = createServer((client) => {
    const store = connect(port, '127.0.0.1');
    const pair = { client, store };
    pairs.add(pair);
    for (const one of [client, store]) {
      one.on('error', () => {
        // Cut connections are what it is for.
      });
      one.on('close', () => {
        pairs.delete(pair);
        client.destroy();
        store.destroy();
      });
    }
    if (admitted-- <= 0) client.destroy();
    let answered = 0;
    let isLost = false;
    client.on('data', (bytes) => {
      isLost ||= losesCompletion && bytes.includes('<CompleteMultipartUpload');
      come += bytes.length;
      store.write(bytes);
      if (come > holdAt) client.pause();
      if (come > closeAt) close();
    });
    store.on('data', (bytes) => {
      answered += bytes.length;
      if (isLost) {
        lost++;
        client.destroy();
      } else if (cuts === 0 || answered <= cutAt) client.write(bytes);
      else {
        cuts--;
        client.destroy();
      }
    });
  });
  const close = (): void => {
    server.close();
    for (const { client } of pairs) client.destroy();
  };
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  gates.push(close);
  return {
    port: (server.address() as { port: number }).port,
    cutAnswers: (bytes, times) => {
      [cutAt, cuts] = [bytes, times];
    },
    closeAfter: (bytes) => {
      closeAt = bytes;
    },
    holdAfter: (bytes) => {
      holdAt = bytes;
      for (const { client } of pairs) client.resume();
    },
    isHeld: () => come > holdAt,
    admit: (count) => {
      admitted = count;
    },
    loseCompletion: () => {
      losesCompletion = true;
    },
    lostCompletions: () => lost,
  };
}

describe.skipIf(!hasObjectStore)('saves in an object store (needs Debian python3-swift)', () => {
  test('a program is ended when its image is there, and comes back from it', async () => {
    const folder = newFolder();
    const target = await started(folder);
    const key = 'jobs/a job #1 %25 ä.qs';
    const address = `s3://${bucket}/${key}`;
    await mustRun(...save(target.pid, address, '--kill'));
    await gone(target.pid);
    expect(await store.content(bucket)).toEqual({ keys: [key], uploads: [] });
    expect((await mustRun('verify', address)).stdout.toString()).toMatch(/^intact: process \d+ \(open-files\)/);
    expect(await bringBack(address)).toBe(target.pid);
    writeFileSync(join(folder, 'go'), '');
    await said(target.output, 'ok');
  });

  test('two saves there are compared, and an incremental one is made whole', async () => {
    const folder = newFolder();
    const target = await started(folder);
    const [first, second, whole] = ['first', 'second', 'whole'].map((name) => `s3://${bucket}/${name}`);
    const local = join(folder, 'first');
    await mustRun(...save(target.pid, local));
    await mustRun(...save(target.pid, second ?? '', '--parent', local));
    await mustRun('merge', second ?? '', '--images', folder, '-o', whole ?? '');
    await mustRun('merge', local, '-o', first ?? '');
    const difference = async (...images: readonly string[]): Promise<unknown> => {
      const { a: _, ...others } = JSON.parse((await mustRun('diff', ...images, '--json')).stdout.toString());
      return others;
    };
    expect(await difference(first ?? '', whole ?? '')).toEqual(await difference(local, whole ?? ''));
  });

  test('what cannot be done is told in one sentence, before anything stands still', async () => {
    const target = await started(newFolder());
    const told = async (args: string[], env: Record<string, string> = {}): Promise<string> => {
      const { status, stderr } = await run(args, { env }).done;
      expect(status).toBe(1);
      expect(stderr.trim().split('\n')).toHaveLength(2);
      return stderr;
    };
    const to = save(target.pid, `s3://${bucket}/one`, '--kill');
    expect(await told(to, { AWS_SECRET_ACCESS_KEY: 'guessed' })).toMatch(/does not let this key.*\n.*\[remote-denied]/);
    const stranger = { AWS_ACCESS_KEY_ID: 'test:stranger', AWS_SECRET_ACCESS_KEY: 'strange' };
    if (full) expect(await told(to, stranger)).toMatch(/does not let this key.*\n.*\[remote-denied]/);
    expect(await told(to, environmentFor(1))).toMatch(/ECONNREFUSED.*\n.*\[remote-unreachable]/);
    const elsewhere = save(target.pid, 's3://nowhere/one', '--kill');
    expect(await told(elsewhere)).toMatch(/no bucket nowhere.*\n.*\[remote-missing]/);
    expect(await told(['restart', `s3://${bucket}/none`])).toMatch(/no object s3:.*none.*\n.*\[remote-missing]/);
    expect(await told(['restart', `s3://${bucket}`])).toMatch(/no address.*\n.*\[bad-address]/);
    const parent = save(target.pid, join(newFolder(), 'image'), '--parent', `s3://${bucket}/one`);
    if (full) expect(await told(parent)).toMatch(/another host.*\n.*\[not-a-file]/);
    expect(isAlive(target.pid)).toBe(true);
    expect(await store.content(bucket)).toEqual({ keys: [], uploads: [] });
  });

  test('a save that is refused leaves nothing in the store', async () => {
    const both = 'import os, time; r, w = os.pipe(); os.fork() or print("ready", flush=True); time.sleep(1000)';
    const target = start(newFolder(), 'python3', ['-c', both]);
    await said(target.output, 'ready');
    const [child = 0] = childrenOf(target.pid);
    remember(child);
    const { stderr } = await run(save(child, `s3://${bucket}/one`, '--kill')).done;
    expect(stderr).toMatch(/\[pipe-to-outside]/);
    expect(await store.content(bucket)).toEqual({ keys: [], uploads: [] });
  });

  test('where the store goes away in the middle, the program goes on, and the earlier image stays', async () => {
    const target = await started(newFolder());
    const address = `s3://${bucket}/one`;
    await mustRun(...save(target.pid, address));
    const earlier = (await mustRun('inspect', address, '--json')).stdout.toString();
    const gate = await gateTo(store.port);
    gate.closeAfter(7 * MEBIBYTE);
    const { status, stderr } = await run(save(target.pid, address, '--kill'), { env: environmentFor(gate.port) }).done;
    expect(stderr).toMatch(/broke off: .*\n.*\[connection-lost]\n$/);
    expect(status).toBe(1);
    expect(isAlive(target.pid)).toBe(true);
    // Parts that the store could not be told to throw away have no name.
    expect((await store.content(bucket)).keys).toEqual(['one']);
    expect((await mustRun('inspect', address, '--json')).stdout.toString()).toBe(earlier);
  });

  test('an image whose completion is not answered is looked for, and found', async () => {
    const target = await started(newFolder());
    const gate = await gateTo(store.port);
    gate.loseCompletion();
    const { status, stderr } = await run(save(target.pid, `s3://${bucket}/one`, '--kill'), {
      env: environmentFor(gate.port),
    }).done;
    expect({ status, stderr }).toEqual({ status: 0, stderr: expect.stringMatching(/^saved .*, ended,/) as string });
    expect(gate.lostCompletions()).toBeGreaterThan(0);
    await gone(target.pid);
    expect(await store.content(bucket)).toEqual({ keys: ['one'], uploads: [] });
  });

  test('the command killed in the middle leaves nothing in the store, and the program goes on', async () => {
    const folder = newFolder();
    // More than the pipe and all parts under way hold.
    const target = await started(folder, 32);
    const gate = await gateTo(store.port);
    gate.holdAfter(MEBIBYTE);
    const killed = run(save(target.pid, `s3://${bucket}/one`, '--kill'), { env: environmentFor(gate.port) });
    await waitFor('the upload', gate.isHeld);
    const courier = childrenOf(killed.pid);
    killed.kill('SIGKILL');
    await killed.done;
    gate.holdAfter(Number.POSITIVE_INFINITY);
    for (const one of courier) await gone(one);
    expect(courier).toHaveLength(1);
    expect(await store.content(bucket)).toEqual({ keys: [], uploads: [] });
    writeFileSync(join(folder, 'go'), '');
    await said(target.output, 'ok');
  });

  test('a restart goes on where its connection broke off; where there is no other, no process is left', async () => {
    const folder = newFolder();
    const target = await started(folder);
    const address = `s3://${bucket}/one`;
    await saveAndEnd(target.pid, address);
    const lost = await gateTo(store.port);
    lost.cutAnswers(5 * MEBIBYTE, Number.POSITIVE_INFINITY);
    lost.admit(1);
    const { status, stderr } = await run(['restart', address, '--detach'], { env: environmentFor(lost.port) }).done;
    expect(stderr).toMatch(/broke off.*\n.*\[connection-lost]\n$/);
    expect(status).toBe(1);
    expect(stateOf(target.pid)).toBeUndefined();
    const flickering = await gateTo(store.port);
    flickering.cutAnswers(5 * MEBIBYTE, 2);
    Object.assign(process.env, environmentFor(flickering.port));
    expect(await bringBack(address)).toBe(target.pid);
    Object.assign(process.env, store.env);
    writeFileSync(join(folder, 'go'), '');
    await said(target.output, 'ok');
  });

  test('a program saves itself there, and what carries the image is no part of it', async () => {
    const folder = newFolder();
    const address = `s3://${bucket}/itself`;
    const target = start(folder, compiled('saves-itself'), ['pipe', command, address]);
    await said(join(folder, 'sides'), 'goes on');
    process.kill(target.pid, 'SIGKILL');
    await gone(target.pid);
    await bringBack(address);
    await said(join(folder, 'sides'), 'restarted');
    writeFileSync(join(folder, 'go'), '');
    await said(target.output, 'ok');
  });

  test('the library saves there and restarts from there', async () => {
    const folder = newFolder();
    const target = await started(folder);
    const address = `s3://${bucket}/library`;
    expect(await library.checkpoint(target.pid, address, { kill: true })).toMatchObject({
      pid: target.pid,
      killed: true,
    });
    await gone(target.pid);
    if (full) expect(library.verify(address)).toMatchObject({ pid: target.pid });
    const back = await library.restart(address);
    remember(back.pid);
    writeFileSync(join(folder, 'go'), '');
    expect(await back.exited()).toEqual({ status: 0 });
    const missing = library.restart(`s3://${bucket}/none`);
    await expect(missing).rejects.toMatchObject({ code: 'remote-missing' });
  });
});
