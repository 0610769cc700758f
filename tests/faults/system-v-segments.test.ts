/** System V segments that somebody else has, or that are not as they were: the save or the restart says so, and harms nobody. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { decodeCbor, encodeCbor } from '../../src/image/cbor.ts';
import { RECORD } from '../../src/image/record-types.ts';
import { chooseNextIpcId, readSegments } from '../../src/procfs/sysvipc.ts';
import {
  bringBack,
  gone,
  isAlive,
  mustRun,
  newFolder,
  quicksave,
  said,
  saveAndEnd,
  start,
  type Target,
  waitFor,
} from '../support/harness.ts';
import { putTogether, takeApart } from '../support/image-surgery.ts';

const remove = (id: number): void => void execFileSync('ipcrm', ['-m', String(id)]);
const find = (id: number) => readSegments().find((one) => one.id === id);

const PRELUDE = [
  'import ctypes, os, sys, time',
  'c = ctypes.CDLL(None, use_errno=True); c.shmat.restype = ctypes.c_void_p',
  'def attach(i): a = c.shmat(i, None, 0); assert a != 2 ** 64 - 1; return a',
  'def attached(i): b = ctypes.create_string_buffer(112); assert c.shmctl(i, 2, b) == 0; return int.from_bytes(b[88:96], "little")',
];

const python = (folder: string, ...body: string[]): Target =>
  start(folder, 'python3', ['-c', [...PRELUDE, ...body].join('\n')]);

/** A program with a segment of two pages, which a child of it has made and ended; told to go, it writes what it reads there. */
async function withSegment(): Promise<
  Target & { readonly folder: string; readonly id: number; readonly image: string }
> {
  const folder = newFolder();
  const target = python(
    folder,
    'r, w = os.pipe(); key = 0x51530000 + os.getpid() % 65536',
    'if os.fork() == 0: os.write(w, b"%d" % c.shmget(key, 8192, 0o3600)); os._exit(0)',
    'os.wait(); i = int(os.read(r, 32)); os.close(r); os.close(w); a = attach(i)',
    'ctypes.memmove(a + 4096, b"in the segment", 14); print("id", i, flush=True)',
    'while not os.path.exists("go"): time.sleep(0.01)',
    'print("found", ctypes.string_at(a + 4096, 14).decode(), attached(i), flush=True)',
    'c.shmctl(i, 0, None)',
  );
  await said(target.output, 'id');
  const id = Number(/id (\d+)/.exec(readFileSync(target.output, 'utf8'))?.[1]);
  onTestFinished(() => {
    if (find(id) !== undefined) remove(id);
  });
  return { ...target, folder, id, image: join(folder, 'image') };
}

async function findsItsBytes({ folder, output }: Awaited<ReturnType<typeof withSegment>>): Promise<void> {
  writeFileSync(join(folder, 'go'), '');
  await said(output, 'found in the segment 1');
}

async function refusal(...args: string[]): Promise<string> {
  const { status, stderr } = await quicksave(...args);
  expect(status).toBe(1);
  return stderr;
}

const attachOutside = async (id: number): Promise<Target> => {
  const other = python(newFolder(), `attach(${id})`, 'print("ready", flush=True); time.sleep(600)');
  await said(other.output, 'ready');
  return other;
};

async function end({ pid }: Target): Promise<void> {
  process.kill(pid, 'SIGKILL');
  await gone(pid);
}

/** The kernel notes seconds only. */
const nextSecond = (after = 0): Promise<true> =>
  waitFor('another second of the clock', () => Math.floor(Date.now() / 1000) > after || undefined);

test('a segment that somebody else has attached is refused, and the program goes on', async () => {
  const target = await withSegment();
  const other = await attachOutside(target.id);
  const sentence = new RegExp(`It shares the System V segment ${target.id} .* with ${other.pid} \\(python3\\)`);
  expect(await refusal('checkpoint', String(target.pid), '-o', target.image, '--kill')).toMatch(sentence);
  expect((await quicksave('check', String(target.pid))).stdout.toString()).toMatch(sentence);
  await end(other);
  await mustRun('checkpoint', String(target.pid), '-o', target.image);
  await findsItsBytes(target);
});

test('a segment that was left behind gets its saved bytes back, unless somebody has it', async () => {
  const target = await withSegment();
  await saveAndEnd(target.pid, target.image);
  expect(find(target.id)).toMatchObject({ attachments: 0 });
  const other = await attachOutside(target.id);
  expect(await refusal('restart', target.image)).toMatch(/It is there, attached 1 times/);
  await end(other);
  await nextSecond(find(target.id)?.attachedAt);
  await python(newFolder(), `ctypes.memset(attach(${target.id}), 0x78, 8192)`).ended;
  const { stderr } = await mustRun('restart', target.image, '--detach');
  expect(stderr).toContain(`the System V segment ${target.id} has been attached since the save`);
  await findsItsBytes(target);
});

test('a segment that is not there any more is made anew; another one with its id, place or key is in the way', async () => {
  const target = await withSegment();
  await saveAndEnd(target.pid, target.image);
  const { id, image } = target;
  const { key } = find(id) ?? { key: 0 };
  remove(id);
  const make = (keyOfOther: number): number => {
    const text = execFileSync('python3', [
      '-c',
      [...PRELUDE, `print(c.shmget(${keyOfOther}, 4096, 0o3600))`].join('\n'),
    ]);
    return Number(text);
  };
  const place = id + 32_768;
  chooseNextIpcId('shm', place);
  expect(make(0)).toBe(place);
  expect(await refusal('restart', image)).toMatch(`Its place in the kernel's table is that of segment ${place}`);
  remove(place);
  chooseNextIpcId('shm', id);
  expect(make(key)).toBe(id);
  expect(await refusal('restart', image)).toMatch('Another segment has its id');
  remove(id);
  const another = make(key);
  expect(await refusal('restart', image)).toMatch(`Its key 0x${key.toString(16)} is that of another segment`);
  remove(another);
  expect(await bringBack(image)).toBe(target.pid);
  expect(find(id)).toMatchObject({ key, attachments: 1, creatorPid: target.pid });
  await end(target);
  // It is alike, but not the one that was saved: whose bytes it has nobody knows.
  await nextSecond(find(id)?.changedAt);
  expect(await refusal('restart', image)).toMatch(/was made, or given another owner or mode, at another time/);
  expect(await mustRun('restart', image, '--detach', '--files', 'accept-changed')).toMatchObject({ status: 0 });
  await findsItsBytes(target);
});

/** No kernel has this policy (set_mempolicy(2)). It is set in each thread, after they have been made. */
const NO_POLICY = 0x7fff;

test('a restart that fails late leaves no segment behind', async () => {
  const target = await withSegment();
  await mustRun('checkpoint', String(target.pid), '-o', target.image, '--compress', 'zstd', '--kill');
  await gone(target.pid);
  remove(target.id);
  const pieces = takeApart(readFileSync(target.image)).map((piece) => {
    if (piece.type !== RECORD.THREAD_STATE) return piece;
    const state = decodeCbor(piece.payload) as { aspects: Record<string, unknown> };
    const aspects = { ...state.aspects, memoryPolicy: { mode: NO_POLICY, nodes: Buffer.from([1]) } };
    return { ...piece, payload: Buffer.from(encodeCbor({ ...state, aspects })) };
  });
  writeFileSync(target.image, putTogether(pieces));
  expect(await refusal('restart', target.image)).toMatch(/memory policy/);
  expect([isAlive(target.pid), find(target.id)]).toEqual([false, undefined]);
});

test('the program never sees the snapshot among those who have a segment attached', async () => {
  const folder = newFolder();
  const target = python(
    folder,
    'i = c.shmget(0, 4096, 0o600); a = attach(i); c.shmctl(i, 0, None)',
    'ballast = bytearray(os.urandom(4096) * 24576); print("ready", flush=True)',
    'seen = set()',
    'while not os.path.exists("go"): seen.add(attached(i)); ballast[0] ^= 1',
    'print("seen", sorted(seen), flush=True)',
  );
  await said(target.output, 'ready');
  const { stderr } = await mustRun('checkpoint', String(target.pid), '-o', join(folder, 'image'));
  expect(stderr).not.toContain('stood still');
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'seen');
  expect(readFileSync(target.output, 'utf8')).toContain('seen [1]');
});
