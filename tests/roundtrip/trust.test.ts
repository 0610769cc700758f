/** Images that only some can read, that only some can have made, and that belong to others. */
import { chmodSync, chownSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { newKey } from '../../src/image/key-files.ts';
import { RECORD } from '../../src/image/record-types.ts';
import {
  bringBack,
  compiled,
  full,
  gone,
  isLeft,
  mustRun,
  newFolder,
  quicksave,
  type RunningCommand,
  readIfThere,
  remember,
  run,
  said,
  start,
  type Target,
  waitFor,
} from '../support/harness.ts';
import { putTogether, takeApart } from '../support/image-surgery.ts';

const PROGRAM = 'changes-memory';
let steps = 0;

async function started(folder: string): Promise<Target> {
  steps = 0;
  const target = start(folder, compiled(PROGRAM));
  await said(target.output, 'ready');
  return target;
}

async function step({ pid, output }: Target): Promise<void> {
  process.kill(pid, 'SIGUSR1');
  await said(output, `step ${++steps}\n`);
}

async function crash({ pid }: Target): Promise<void> {
  process.kill(pid, 'SIGKILL');
  await gone(pid);
}

/** The program checks all of its memory. */
async function passes(folder: string, { output }: Target): Promise<void> {
  writeFileSync(join(folder, 'go'), '');
  const verdict = await waitFor(
    `a verdict in ${output}`,
    () => /^(ok|not ok.*)$/m.exec(readIfThere(output) ?? '')?.[0],
  );
  expect(verdict).toBe('ok');
}

const save = ({ pid }: Target, image: string, ...options: string[]): ReturnType<typeof mustRun> =>
  mustRun('checkpoint', String(pid), '--output', image, ...options);

/** Key files in the folder, by their names: `secret`, `other`, and pairs `pair`, `signing` and `stranger` with their `.pub`. */
function keysIn(folder: string): (name: string) => string {
  const path = (name: string): string => join(folder, name);
  const kinds = {
    secret: 'secret',
    other: 'secret',
    pair: 'recipient',
    signing: 'signing',
    stranger: 'signing',
  } as const;
  for (const [name, kind] of Object.entries(kinds)) {
    const key = newKey(kind);
    writeFileSync(path(name), key.secret);
    if (key.public !== undefined) writeFileSync(path(`${name}.pub`), key.public);
  }
  return path;
}

/** Restarts from a file or a pipe must fail with this sentence, and no process may be left. */
async function expectRefusal(
  { pid }: Target,
  image: Buffer | string,
  expected: RegExp,
  ...options: string[]
): Promise<void> {
  const args = ['restart', typeof image === 'string' ? image : '-', '--detach', ...options];
  const result = await run(args, typeof image === 'string' ? {} : { stdin: image }).done;
  expect(result.stderr).toMatch(expected);
  expect(result.status, result.stderr).toBe(1);
  expect(isLeft(pid, PROGRAM), result.stderr).toBe(false);
}

test('keygen makes files for their owner only, and none is written over', async () => {
  const folder = newFolder();
  const path = (name: string): string => join(folder, name);
  await Promise.all([
    mustRun('keygen', path('secret')),
    mustRun('keygen', '--recipient', path('pair')),
    mustRun('keygen', '--signing', path('signing')),
  ]);
  for (const name of ['secret', 'pair', 'signing']) expect(statSync(path(name)).mode & 0o777).toBe(0o600);
  for (const name of ['pair.pub', 'signing.pub']) expect(readFileSync(path(name), 'utf8')).toContain('PUBLIC KEY');
  const before = readFileSync(path('secret'));
  writeFileSync(path('lonely.pub'), '');
  const [again, lonely] = await Promise.all([
    quicksave('keygen', path('secret')),
    quicksave('keygen', '--signing', path('lonely')),
  ]);
  expect(again.stderr).toMatch(/secret cannot be written: it is there already/);
  expect([again.status, lonely.status]).toEqual([1, 1]);
  expect(readFileSync(path('secret'))).toEqual(before);
  expect(readIfThere(path('lonely'))).toBeUndefined();
});

describe('an encrypted image', () => {
  test('comes back with its key, from a file and from a pipe', async () => {
    const folder = newFolder();
    const key = keysIn(folder);
    const target = await started(folder);
    await step(target);
    await save(target, key('image'), '--compress', 'none', '--encrypt', key('secret'), '--encrypt', key('pair.pub'));
    const piped = ['checkpoint', String(target.pid), '-o', '-', '--kill', '--compress', 'zstd'];
    const { stdout } = await mustRun(...piped, '--encrypt', key('pair.pub'), '--sign', key('signing'));
    await gone(target.pid);
    expect(stdout.includes(PROGRAM)).toBe(false);
    expect((await mustRun('restart', key('image'), '--detach', '--key', key('secret'))).stderr).toMatch(/^restarted/);
    await crash(target);
    const options = ['--key', key('pair'), '--verify-key', key('signing.pub')];
    const back = await run(['restart', '-', '--detach', ...options], { stdin: stdout }).done;
    expect(back.stderr).toMatch(/^restarted/);
    remember(target.pid);
    await step(target);
    await passes(folder, target);
  });

  test('builds on encrypted ones, whatever their keys, and is merged, compared and looked into', async () => {
    const folder = newFolder();
    const key = keysIn(folder);
    const target = await started(folder);
    await save(target, key('1'), '--encrypt', key('secret'), '--track');
    await save(target, key('plain'));
    await step(target);
    // Whoever can change the parent would change the image.
    const onPlain = ['--parent', key('plain'), '--encrypt', key('secret')];
    const open = await quicksave('checkpoint', String(target.pid), '-o', key('2'), ...onPlain);
    expect(open.stderr).toMatch(/is encrypted, and .*plain, which it builds on, is not/);
    const second = ['--parent', key('1'), '--encrypt', key('pair.pub'), '--key', key('secret'), '--track'];
    expect((await save(target, key('2'), ...second)).stderr).toMatch(/\(\d{4} of the parent\)/);
    await step(target);
    const refused = await quicksave('checkpoint', String(target.pid), '-o', key('3'), '--parent', key('2'));
    expect(refused.stderr).toMatch(/2 is encrypted, and no key is given/);
    const both = ['--key', key('pair'), '--key', key('secret')];
    await save(target, key('3'), '--parent', key('2'), '--encrypt', key('other'), ...both);
    const all = [...both, '--key', key('other')];
    expect((await quicksave('verify', key('3'), '--key', key('other'))).stderr).toMatch(
      /cannot be opened with the keys/,
    );
    expect((await mustRun('verify', key('3'), ...all)).stdout.toString()).toMatch(/^intact: .*, encrypted\n$/);
    await mustRun('merge', key('3'), '-o', key('whole'), '--encrypt', key('other'), ...both);
    const [compared, inspected] = await Promise.all([
      mustRun('diff', key('3'), key('whole'), '--json', ...all),
      mustRun('inspect', key('whole'), '--json', '--key', key('other')),
    ]);
    expect(JSON.parse(compared.stdout.toString())).toMatchObject({ memory: [], content: [] });
    expect(JSON.parse(inspected.stdout.toString()).processes[0].comm).toBe(PROGRAM);
    await Promise.all([
      mustRun('export', key('whole'), '--format', 'core', '-o', key('core'), '--key', key('other')),
      mustRun('report', key('whole'), '-o', key('page.html'), '--key', key('other')),
      crash(target),
    ]);
    await mustRun('restart', key('3'), '--detach', ...all);
    remember(target.pid);
    await passes(folder, target);
  });

  test('is refused without its key, or when anything of it was changed, cut or exchanged', async () => {
    const folder = newFolder();
    const key = keysIn(folder);
    const target = await started(folder);
    const encrypted = ['--compress', 'none', '--encrypt', key('secret')];
    await save(target, key('older'), ...encrypted);
    await step(target);
    await save(target, key('image'), ...encrypted);
    await crash(target);
    const noKey = /^quicksave: The image .*image is encrypted, and no key is given\.$/m;
    await Promise.all([
      expectRefusal(target, key('image'), noKey),
      expectRefusal(target, key('image'), /not for the key that is given/, '--key', key('other')),
      expectRefusal(target, readFileSync(key('image')), /not for the key that is given/, '--key', key('pair')),
      expectRefusal(target, key('image'), /public key, which opens nothing/, '--key', key('pair.pub')),
    ]);
    const image = readFileSync(key('image'));
    const older = readFileSync(key('older'));
    const withKey = ['--key', key('secret')];
    const changed = Buffer.from(image);
    changed[image.length - 500_000] = (changed[image.length - 500_000] ?? 0) ^ 1;
    const replayed = Buffer.from(image);
    older.copy(replayed, image.length - 2_000_000, older.length - 2_000_000, older.length - 500_000);
    const bad: readonly (readonly [Buffer, RegExp])[] = [
      [changed, /The image is damaged: the encrypted bytes from \d+ on/],
      [replayed, /The image is damaged/],
      [image.subarray(0, -1000), /it was cut/],
      [Buffer.concat([image, Buffer.from('x')]), /something follows its end/],
    ];
    // From a pipe processes are made and taken back, one restart after the other.
    for (const [index, [bytes, expected]] of bad.entries()) {
      if (index % 2 === 0 || full) await expectRefusal(target, bytes, expected, ...withKey);
    }
    await Promise.all(
      bad.map(([bytes, expected], index) => {
        writeFileSync(key(`bad.${index}`), bytes);
        return expectRefusal(target, key(`bad.${index}`), expected, ...withKey);
      }),
    );
    process.env['QUICKSAVE_KEY_FILE'] = key('secret');
    try {
      expect(await bringBack(key('image'))).toBe(target.pid);
    } finally {
      delete process.env['QUICKSAVE_KEY_FILE'];
    }
    await passes(folder, target);
  });
});

describe('a signature', () => {
  test('is asked for, and is of all that is in the image', async () => {
    const folder = newFolder();
    const key = keysIn(folder);
    const target = await started(folder);
    const verifying = ['--verify-key', key('signing.pub')];
    await save(target, key('plain'), '--compress', 'none');
    await save(target, key('image'), '--compress', 'none', '--sign', key('signing'));
    await step(target);
    await save(target, key('child'), '--parent', key('plain'), '--sign', key('signing'));
    await crash(target);
    const strange = ['--verify-key', key('stranger.pub')];
    await Promise.all([
      expectRefusal(target, key('plain'), /The image is not signed/, ...verifying),
      expectRefusal(target, key('child'), /In the parent image .*plain: The image is not signed/, ...verifying),
      expectRefusal(target, key('image'), /signed with another key: [0-9a-f]{32}, not/, ...strange),
    ]);
    await expectRefusal(target, readFileSync(key('plain')), /The image is not signed/, ...verifying);
    const pieces = takeApart(readFileSync(key('image')));
    const last = pieces.findLastIndex(({ type }) => type === RECORD.PGARR);
    const { payload } = pieces[last] as (typeof pieces)[number];
    payload[payload.length - 1] = (payload.at(-1) ?? 0) ^ 1;
    const forged = putTogether(pieces);
    writeFileSync(key('forged'), forged);
    // All checksums are right: without the key nobody sees it.
    const [unseen, seen] = await Promise.all([
      mustRun('verify', key('forged')),
      quicksave('verify', key('forged'), ...verifying),
      expectRefusal(target, key('forged'), /not the one that was signed/, ...verifying),
    ]);
    expect(unseen.stdout.toString()).toMatch(/^intact.*\(not checked/);
    expect(seen.stderr).toMatch(/not the one that was signed/);
    expect(seen.status).toBe(1);
    await expectRefusal(target, forged, /not the one that was signed/, ...verifying);
    expect((await mustRun('restart', key('image'), '--detach', ...verifying)).stderr).toMatch(/^restarted/);
    remember(target.pid);
    await passes(folder, target);
  });
});

describe('an image file', () => {
  test('is for its owner only, whatever was there and whatever the umask', async () => {
    const folder = newFolder();
    const target = await started(folder);
    const image = join(folder, 'image');
    writeFileSync(image, 'another');
    chmodSync(image, 0o644);
    const before = process.umask(0);
    try {
      await save(target, image);
      await mustRun('merge', image, '-o', join(folder, 'merged'));
    } finally {
      process.umask(before);
    }
    expect(statSync(image).mode & 0o7777).toBe(0o600);
    expect(statSync(join(folder, 'merged')).mode & 0o7777).toBe(0o600);
    await passes(folder, target);
  });

  test.skipIf(process.getuid?.() !== 0)('of another user is restarted only if that user is trusted', async () => {
    const folder = newFolder();
    const target = await started(folder);
    const [first, second] = [join(folder, '1'), join(folder, '2')];
    await save(target, first);
    await step(target);
    await save(target, second, '--parent', first);
    await crash(target);
    chownSync(first, 65534, 65534);
    const expected = /The image .*1 belongs to user 65534, .*\n {2}If you trust that user: --trust/;
    await Promise.all([expectRefusal(target, first, expected), expectRefusal(target, second, expected)]);
    await mustRun('verify', first);
    await mustRun('restart', second, '--detach', '--trust');
    remember(target.pid);
    await passes(folder, target);
  });
});

test('a job encrypts and signs its saves, and goes on from them with its keys only', async () => {
  const folder = newFolder();
  const key = keysIn(folder);
  const dir = join(folder, 'job');
  const events = (): string => readIfThere(join(dir, 'history.jsonl')) ?? '';
  const begin = (...options: string[]): RunningCommand => {
    const log = ['--log', join(folder, 'log')];
    const job = run(['run', '--dir', dir, '--every', '1h', ...log, ...options, '--', compiled(PROGRAM)], {
      cwd: folder,
    });
    remember(job.pid);
    return job;
  };
  const resumed = (): string[] =>
    events()
      .split('\n')
      .filter((line) => line.includes('"resumed"'));
  const goesOn = async (count: number): Promise<void> => {
    await waitFor(`resumption ${count}`, () => resumed().length === count);
    remember(Number(/"pid":(\d+)/.exec(resumed().at(-1) ?? '')?.[1]));
  };
  const preempted = async (job: RunningCommand): Promise<void> => {
    job.kill('SIGTERM');
    expect((await job.done).status, job.stderr()).toBe(75);
  };
  const signing = ['--sign', key('signing')];
  const first = begin(...signing);
  await said(join(folder, 'log'), 'ready');
  await preempted(first);
  const encrypting = [...signing, '--encrypt', key('pair.pub')];
  const second = begin(...encrypting);
  await goesOn(1);
  await preempted(second);
  // The older save could be read: but that is not what it stood at.
  const closed = await begin(...encrypting).done;
  expect(closed.stderr).toMatch(/is encrypted, and no key is given/);
  expect(closed.status).toBe(1);
  const stranger = await begin('--encrypt', key('pair'), '--sign', key('stranger')).done;
  expect(stranger.stderr).toMatch(/signed with another key/);
  expect(stranger.status).toBe(1);
  expect(events()).not.toContain('damaged');
  const again = begin(...encrypting, '--key', key('pair'));
  await goesOn(2);
  writeFileSync(join(folder, 'go'), '');
  expect((await again.done).status, again.stderr()).toBe(0);
});
