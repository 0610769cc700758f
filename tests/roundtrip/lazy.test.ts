/** Programs that run before their pages are there. */
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  bringBack,
  childrenOf,
  compiled,
  full,
  gone,
  has,
  isAlive,
  mustRun,
  newFolder,
  quicksave,
  readIfThere,
  remember,
  run,
  said,
  saveAndEnd,
  start,
  stateOf,
  type Target,
  waitFor,
} from '../support/harness.ts';

const verdict = (output: string): Promise<string> =>
  waitFor(`a verdict in ${output}`, () => /^(ok|not ok.*)$/m.exec(readIfThere(output) ?? '')?.[0]);

const isTraced = (pid: number): boolean => !/^TracerPid:\s+0$/m.test(readIfThere(`/proc/${pid}/status`) ?? '');
/** VmFlags of smaps: a userfaultfd for missing pages. */
const lacksPages = (pid: number): boolean => / um\b/.test(readIfThere(`/proc/${pid}/smaps`) ?? '');

const descendantsOf = (pid: number): number[] => childrenOf(pid).flatMap((child) => [child, ...descendantsOf(child)]);

/** Brings it back in the background, and waits until nothing of ours is left in it. */
async function bringBackLazily(image: string, ...options: string[]): Promise<number> {
  const { stdout } = await mustRun('restart', image, '--detach', '--lazy', ...options);
  const pid = Number(stdout.toString());
  remember(pid);
  await waitFor('all pages to be there', () => [pid, ...descendantsOf(pid)].every((one) => !isTraced(one)));
  for (const one of [pid, ...descendantsOf(pid)]) expect(lacksPages(one)).toBe(false);
  return pid;
}

interface Saved extends Target {
  readonly image: string;
}

async function saved(folder: string, name: string, ballastMiB: number, ...options: string[]): Promise<Saved> {
  const target = start(folder, compiled(name), [], { ballastMiB });
  await said(target.output, 'ready');
  const image = join(folder, 'image');
  await mustRun('checkpoint', String(target.pid), '--output', image, '--kill', ...options);
  await gone(target.pid);
  return { ...target, image };
}

test('the program of these tests passes without a checkpointer', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('lazy-memory'), [], { ballastMiB: 8 });
  await said(target.output, 'ready');
  writeFileSync(join(folder, 'go'), '');
  expect(await verdict(target.output)).toBe('ok');
});

test.each(['none', 'zstd'])(
  'memory is right whatever is done to it while it is loaded (--compress %s)',
  async (method) => {
    const folder = newFolder();
    const { pid, output, image } = await saved(folder, 'lazy-memory', full ? 512 : 96, '--compress', method);
    writeFileSync(join(folder, 'go'), '');
    const { stdout } = await mustRun('restart', image, '--detach', '--lazy');
    expect(Number(stdout.toString())).toBe(pid);
    remember(pid);
    expect(await verdict(output)).toBe('ok');
  },
);

const kinds = [
  { name: 'memory-kinds', flags: [], args: [] },
  { name: 'family-tree', flags: [], args: [] },
  { name: 'calls-in-flight', flags: [], args: [] },
  { name: 'copy-on-write', flags: [], args: ['24', '4'] },
];
const more = [
  { name: 'memory-kinds', flags: ['-m32'], args: [] },
  { name: 'thread-state', flags: [], args: [] },
  { name: 'busy-threads', flags: [], args: [] },
  { name: 'in-handler', flags: [], args: [] },
  { name: 'process-state', flags: [], args: [] },
];
const CYCLES = full ? 3 : 1;

test.each([...kinds, ...(full ? more : [])])(
  '$name $flags comes back, and nothing of us is left in it',
  async (program) => {
    const { name, flags, args } = program;
    const folder = newFolder();
    const target = start(folder, compiled(name, flags), args, { ballastMiB: 24 });
    await said(target.output, 'ready');
    const image = join(folder, 'image');
    for (let cycle = 0; cycle < CYCLES; cycle++) {
      await saveAndEnd(target.pid, image);
      expect(await bringBackLazily(image)).toBe(target.pid);
    }
    for (const one of descendantsOf(target.pid)) remember(one);
    writeFileSync(join(folder, 'go'), '');
    expect(await verdict(target.output)).toBe('ok');
  },
);

test('in the background the command returns when the program runs, and who loads it goes when all is there', async () => {
  const folder = newFolder();
  const { pid, output, image } = await saved(folder, 'lazy-memory', 256, '--compress', 'none');
  remember(pid);
  const command = run(['restart', image, '--lazy', '--detach']);
  await waitFor('the program to run', () => lacksPages(pid) && command.stderr() !== '');
  const loader = Number(/^TracerPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  expect(loader).not.toBe(command.pid);
  await gone(command.pid);
  expect(Number((await command.done).stdout.toString())).toBe(pid);
  await gone(loader);
  expect(isTraced(pid)).toBe(false);
  writeFileSync(join(folder, 'go'), '');
  expect(await verdict(output)).toBe('ok');
});

test('an incremental image is loaded from it and its parent, and what is saved afterwards is whole', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('changes-memory'), [], { ballastMiB: 64 });
  await said(target.output, 'ready');
  const [first, second, third] = ['first', 'second', 'third'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  await mustRun('checkpoint', String(target.pid), '-o', first);
  process.kill(target.pid, 'SIGUSR1');
  await said(target.output, 'step 1\n');
  await mustRun('checkpoint', String(target.pid), '-o', second, '--parent', first, '--kill');
  await gone(target.pid);
  expect(await bringBackLazily(second)).toBe(target.pid);
  await mustRun('checkpoint', String(target.pid), '-o', third, '--kill');
  await gone(target.pid);
  expect(await bringBack(third)).toBe(target.pid);
  writeFileSync(join(folder, 'go'), '');
  expect(await verdict(target.output)).toBe('ok');
});

test('in the foreground its end is ours, though it comes while pages are missing', async () => {
  const folder = newFolder();
  const { output, image } = await saved(folder, 'lazy-memory', 96);
  writeFileSync(join(folder, 'go'), '');
  const { status, stderr } = await quicksave('restart', image, '--lazy');
  expect(stderr).toMatch(/^restarted/);
  expect(status).toBe(0);
  expect(await verdict(output)).toBe('ok');
});

test.skipIf(!has('python3'))('an interpreter with a large array goes on computing with it', async () => {
  const folder = newFolder();
  const program = [
    'import hashlib, os, time',
    'data = bytearray(os.urandom(1 << 20)) * 96',
    'before = hashlib.sha256(data).hexdigest()',
    'print("ready", flush=True)',
    'while not os.path.exists("go"): time.sleep(0.002)',
    'print("ok" if hashlib.sha256(data).hexdigest() == before else "not ok", flush=True)',
  ];
  writeFileSync(join(folder, 'program.py'), program.join('\n'));
  const target = start(folder, 'python3', ['program.py']);
  await said(target.output, 'ready');
  const image = join(folder, 'image');
  await saveAndEnd(target.pid, image);
  writeFileSync(join(folder, 'go'), '');
  await bringBackLazily(image);
  expect(await verdict(target.output)).toBe('ok');
});

describe('while pages are missing', () => {
  /** With a byte of the data of its last pages changed. */
  function damage(image: string): void {
    const bytes = readFileSync(image);
    const at = bytes.length - 5_000_000;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    writeFileSync(image, bytes);
  }

  test('an image that turns out to be damaged ends the program, and says so', async () => {
    const folder = newFolder();
    const { pid, image, output } = await saved(folder, 'lazy-memory', 96, '--compress', 'none');
    damage(image);
    writeFileSync(join(folder, 'go'), '');
    const { status, stderr } = await quicksave('restart', image, '--lazy');
    expect(stderr).toMatch(/^restarted/);
    expect(stderr).toMatch(/ran already, and had to be ended.*The image is damaged: the checksum/s);
    expect(status).toBe(1);
    expect(isAlive(pid)).toBe(false);
    expect(readFileSync(output, 'utf8')).not.toContain('not ok');
  });

  /** Starts a lazy restart, and stops the loader as soon as the program lacks pages; undefined if it was too late for that. */
  async function stoppedLoader(pid: number, image: string): Promise<ReturnType<typeof run> | undefined> {
    const loader = run(['restart', image, '--lazy']);
    await waitFor('the program to run', () => lacksPages(pid) && loader.stderr() !== '');
    loader.kill('SIGSTOP');
    await waitFor('the loader to stand still', () => stateOf(loader.pid) === 'T');
    if (lacksPages(pid)) return loader;
    loader.kill('SIGKILL');
    await loader.done;
    return undefined;
  }

  test('a file that becomes shorter ends the program, and says so', async () => {
    const folder = newFolder();
    const { pid, image, output } = await saved(folder, 'lazy-memory', 256, '--compress', 'none');
    const loader = await stoppedLoader(pid, image);
    expect(loader).toBeDefined();
    truncateSync(image, 1_000_000);
    writeFileSync(join(folder, 'go'), '');
    loader?.kill('SIGCONT');
    const result = await loader?.done;
    expect(result?.stderr).toMatch(/ran already, and had to be ended.*has become shorter/s);
    expect(result?.status).toBe(1);
    expect(isAlive(pid)).toBe(false);
    expect(readFileSync(output, 'utf8')).not.toContain('not ok');
  });

  test('a loader that is killed takes the program with it, which has seen no wrong byte', async () => {
    const folder = newFolder();
    const { pid, image, output } = await saved(folder, 'lazy-memory', 256, '--compress', 'none');
    writeFileSync(join(folder, 'go'), '');
    for (let round = 0; round < (full ? 50 : 3); round++) {
      const loader = await stoppedLoader(pid, image);
      expect(loader).toBeDefined();
      loader?.kill('SIGKILL');
      await loader?.done;
      await gone(pid);
      expect(readFileSync(output, 'utf8')).not.toContain('not ok');
    }
  });

  test('a loader that runs and is killed does so too', async () => {
    const folder = newFolder();
    const { pid, image, output } = await saved(folder, 'lazy-memory', 256, '--compress', 'none');
    writeFileSync(join(folder, 'go'), '');
    for (let round = 0; round < (full ? 50 : 3); round++) {
      const loader = run(['restart', image, '--lazy']);
      await waitFor('the program to run', () => lacksPages(pid));
      loader.kill('SIGKILL');
      await loader.done;
      await gone(pid);
      expect(readFileSync(output, 'utf8')).not.toContain('not ok');
    }
  });
});

test('what cannot come later is refused before any process is made', async () => {
  const folder = newFolder();
  const { pid, image } = await saved(folder, 'childless', 24);
  const [key, encrypted] = [join(folder, 'key'), join(folder, 'encrypted')];
  await mustRun('keygen', key);
  await mustRun('merge', image, '-o', encrypted, '--encrypt', key);
  for (const { status, stderr } of [
    await run(['restart', '-', '--lazy'], { stdin: readFileSync(image) }).done,
    await quicksave('restart', encrypted, '--lazy', '--key', key),
  ]) {
    expect(stderr).toMatch(/cannot come later.*without --lazy/s);
    expect(status).toBe(1);
    expect(stateOf(pid)).toBeUndefined();
  }
});
