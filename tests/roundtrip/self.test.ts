/** Programs that save themselves: one side goes on, the other comes back, each knows which it is. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import {
  bringBack,
  childrenOf,
  command,
  compiled,
  full,
  gone,
  has,
  isAlive,
  mustRun,
  newFolder,
  quicksave,
  readIfThere,
  run,
  said,
  start,
  type Target,
  waitFor,
} from '../support/harness.ts';
import { nodeVersions, thisNode } from '../support/nodes.ts';

const shellProgram = `
kept='as it was'
'${command}' checkpoint --self --output image
case $? in
  0) echo 'goes on' >> sides ;;
  3) echo restarted >> sides ;;
  *) echo failed >> sides ;;
esac
while [ ! -e go ]; do :; done
[ "$kept" = 'as it was' ] && echo ok
`;

const pythonProgram = (options: string): string => `
import os, subprocess, time
kept = os.urandom(1 << 20)
digest = hash(kept)
save = ['${command}', 'checkpoint', '--self', '--output', 'image']
result = subprocess.run(save${options})
said = (result.stdout or b'') + (result.stderr or b'')
side = {0: 'goes on', 3: 'restarted'}.get(result.returncode, f'failed {result.returncode} {said}')
with open('sides', 'a') as sides: sides.write(side + '\\n')
while not os.path.exists('go'): time.sleep(0.002)
if hash(kept) == digest and (b'saved process' in said) == (${options === '' ? 'False' : 'result.returncode == 0'}): print('ok', flush=True)
`;

const library = fileURLToPath(new URL('../../dist/index.js', import.meta.url));

/** The call of the library, with timers, pool and promises on both sides of it. */
const nodeProgram = `
import { appendFileSync, existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkpointSelf } from '${library}';

const kept = randomBytes(1 << 20);
const sum = kept.reduce((total, byte) => total + byte, 0);
let ticks = 0;
const ticking = setInterval(() => ticks++, 1);
const { restarted, image, summary } = await checkpointSelf('image');
appendFileSync('sides', restarted ? 'restarted\\n' : 'goes on\\n');
if (!restarted && (image !== process.cwd() + '/image' || summary.pid !== process.pid)) throw new Error(image);
const before = ticks;
while (!existsSync('go') || ticks < before + 10) await sleep(1);
clearInterval(ticking);
await readFile('program.mjs');
if (kept.reduce((total, byte) => total + byte, 0) === sum) console.log('ok');
`;

/** The same in a thread of Node's own. */
const workerProgram = `
import { appendFileSync, existsSync } from 'node:fs';
import { Worker, isMainThread } from 'node:worker_threads';
import { checkpointSelf } from '${library}';
if (isMainThread) new Worker(new URL(import.meta.url));
else {
  const { restarted } = await checkpointSelf('image', { compress: 1 });
  appendFileSync('sides', restarted ? 'restarted\\n' : 'goes on\\n');
  const looking = setInterval(() => {
    if (!existsSync('go')) return;
    clearInterval(looking);
    console.log('ok');
  }, 1);
}
`;

interface Program {
  readonly name: string;
  readonly needs?: string;
  /** Why it cannot be tested, if it cannot. */
  readonly missing?: string | undefined;
  readonly start: (folder: string, image: string) => Target;
}

const inC = (how: string, flags: readonly string[] = []): Program => ({
  name: `a C program, ${how}${flags.map((flag) => ` ${flag}`).join('')}`,
  start: (folder, image) => start(folder, compiled('saves-itself', flags), [how, command, image]),
});

const script = (name: string, interpreter: string, text: string): Program => ({
  name,
  needs: interpreter,
  start: (folder) => {
    writeFileSync(join(folder, 'program'), text);
    return start(folder, interpreter, ['program']);
  },
});

const inNode = (name: string, text: string, { name: version, program, missing } = thisNode): Program => ({
  name: `${name} of ${version}`,
  missing,
  start: (folder) => {
    writeFileSync(join(folder, 'program.mjs'), text);
    return start(folder, program, ['program.mjs']);
  },
});

const programs: readonly Program[] = [
  inC('plainly'),
  inC('handler'),
  inC('blocked'),
  inC('group'),
  inC('session'),
  inC('pipe'),
  inC('thread'),
  inC('plainly', ['-m32']),
  inC('handler', ['-m32']),
  inC('pipe', ['-m32']),
  script('a bash script', 'bash', shellProgram),
  script('a sh script', 'dash', shellProgram),
  script('a Python program', 'python3', pythonProgram('')),
  script('a Python program that captures what is said', 'python3', pythonProgram(', capture_output=True')),
  ...nodeVersions.map((version) => inNode('a program', nodeProgram, version)),
  inNode('a worker of a program', workerProgram),
];

const sidesIn = (folder: string): string => readIfThere(join(folder, 'sides')) ?? '';

/** Waits until the program has found out on which side it is. */
const takesSide = (folder: string, sides: string): Promise<true> =>
  waitFor(`"${sides}" in ${folder}`, () => {
    const found = sidesIn(folder);
    if (found.length >= sides.length && found !== sides) throw new Error(`it is on other sides: ${found}`);
    return found === sides ? true : undefined;
  });

async function saverIn(image: string): Promise<number> {
  const { processes } = JSON.parse((await mustRun('inspect', image, '--json')).stdout.toString());
  return processes[0].saver.pid;
}

/** The command that the program has started: there may have been other children before. */
const saverOf = (pid: number): Promise<number> =>
  waitFor('the command', () =>
    childrenOf(pid).find((child) => readIfThere(`/proc/${child}/cmdline`)?.includes('\0checkpoint\0')),
  );

async function end(pid: number): Promise<void> {
  process.kill(pid, 'SIGKILL');
  await gone(pid);
}

describe.each(programs)('$name', ({ needs, missing, start: begin }) => {
  test('goes on after it has saved itself, and comes back twice from that image', async (context) => {
    if (needs !== undefined && !has(needs)) context.skip(`${needs} is not installed`);
    if (missing !== undefined) context.skip(missing);
    const folder = newFolder();
    const image = join(folder, 'image');
    const { pid, output } = begin(folder, image);
    await takesSide(folder, 'goes on\n');
    expect(childrenOf(pid)).toEqual([]);
    await mustRun('verify', image);
    await end(pid);
    expect(await bringBack(image)).toBe(pid);
    await takesSide(folder, 'goes on\nrestarted\n');
    expect(childrenOf(pid)).toEqual([]);
    // A second restart of the same image, after a save from outside in between.
    await mustRun('checkpoint', String(pid), '--output', join(folder, 'other'));
    await end(pid);
    expect(await bringBack(image)).toBe(pid);
    await takesSide(folder, 'goes on\nrestarted\nrestarted\n');
    writeFileSync(join(folder, 'go'), '');
    await said(output, 'ok');
    expect(readFileSync(output, 'utf8')).not.toContain('not ok');
    await waitFor('its end', () => !isAlive(pid));
  });
});

test('the side that goes on ends as if nothing had been', async () => {
  const folder = newFolder();
  const target = inC('plainly').start(folder, join(folder, 'image'));
  await takesSide(folder, 'goes on\n');
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
  expect(await target.ended).toEqual({ status: 0, signal: null });
});

test('with --kill only the restarted side is left', async () => {
  const folder = newFolder();
  const image = join(folder, 'image');
  const ending = script('with --kill', 'bash', shellProgram.replace('--self', '--self --kill'));
  const { pid, output, ended } = ending.start(folder, image);
  const saver = await saverOf(pid);
  expect(await ended).toEqual({ status: null, signal: 'SIGKILL' });
  await gone(saver);
  expect(sidesIn(folder)).toBe('');
  expect(await bringBack(image)).toBe(pid);
  await takesSide(folder, 'restarted\n');
  writeFileSync(join(folder, 'go'), '');
  await said(output, 'ok');
});

test('a program that cannot be saved hears of it by status 1, and goes on', async () => {
  const folder = newFolder();
  const { output, ended } = inC('plainly').start(folder, join(folder, 'no folder', 'image'));
  await takesSide(folder, 'failed\n');
  expect(readFileSync(output, 'utf8')).toMatch(/^quicksave: The folder .* does not exist\.$/m);
  writeFileSync(join(folder, 'go'), '');
  expect(await ended).toEqual({ status: 0, signal: null });
});

test('other children of the program come back with it, quicksave itself does not', async () => {
  const folder = newFolder();
  const image = join(folder, 'image');
  const program = shellProgram.replace('--self', '--self --kill');
  const text = `sleep 600 & other=$!\n${program}kill $other && wait; [ $? = 143 ] && echo 'the child was there'\n`;
  const { pid, output, ended } = script('with another child', 'bash', text).start(folder, image);
  expect(await ended).toEqual({ status: null, signal: 'SIGKILL' });
  expect(await bringBack(image)).toBe(pid);
  await takesSide(folder, 'restarted\n');
  expect(childrenOf(pid).map((child) => readIfThere(`/proc/${child}/comm`))).toEqual(['sleep\n']);
  writeFileSync(join(folder, 'go'), '');
  await said(output, 'ok');
});

test('a tool that is killed in mid-save leaves the program that waits for it unharmed', async () => {
  const moments = ['no process', 'tracing', 'tracing', 'tracing'];
  for (const [round, moment] of moments.entries()) {
    const folder = newFolder();
    const { pid, output, ended } = inC('plainly').start(folder, join(folder, 'image'));
    const tool = await saverOf(pid);
    const tracer = (): string | undefined => /^TracerPid:\t(\d+)/m.exec(readIfThere(`/proc/${pid}/status`) ?? '')?.[1];
    if (moment === 'tracing') await waitFor('the freeze', () => sidesIn(folder) !== '' || tracer() === String(tool));
    for (let spin = 0; spin < round * 300; spin++) tracer();
    if (isAlive(tool)) process.kill(tool, 'SIGKILL');
    await waitFor('a side', () => /^(killed|goes on)\n$/.test(sidesIn(folder)));
    writeFileSync(join(folder, 'go'), '');
    await said(output, 'ok');
    expect(await ended).toEqual({ status: 0, signal: null });
  }
});

test('a number that the saver had and somebody has now is refused by name at the restart', async () => {
  const folder = newFolder();
  const image = join(folder, 'image');
  const { pid } = inC('plainly').start(folder, image);
  await takesSide(folder, 'goes on\n');
  await end(pid);
  const saver = await saverIn(image);
  const taker = `
import os, time
for attempt in range(1000):
    with open('/proc/sys/kernel/ns_last_pid', 'w') as last: last.write('${saver - 1}')
    pid = os.fork()
    if pid == 0: time.sleep(600)
    if pid == ${saver}: break
    os.kill(pid, 9)
    os.waitpid(pid, 0)
print(pid, flush=True)
time.sleep(600)
`;
  writeFileSync(join(folder, 'taker.py'), taker);
  const { output, pid: parent } = start(folder, 'python3', ['taker.py']);
  await said(output, String(saver));
  const result = await quicksave('restart', image, '--detach');
  expect(result.status).toBe(1);
  expect(result.stderr).toContain(`in use by ${saver} (python3)`);
  process.kill(saver, 'SIGKILL');
  process.kill(parent, 'SIGKILL');
});

test('a restart that is killed at any moment leaves nothing, or a program that knows on which side it is', async () => {
  const folder = newFolder();
  const image = join(folder, 'image');
  const { pid } = inC('handler').start(folder, image);
  await takesSide(folder, 'goes on\n');
  await end(pid);
  const saver = await saverIn(image);
  let sides = sidesIn(folder);
  let restarted = 0;
  const rounds = full ? 200 : 12;
  for (let round = 0; round < rounds; round++) {
    const restart = run(['restart', image]);
    const atPage = round % 2 === 0;
    await waitFor('the process', () => isAlive(pid) || sidesIn(folder) !== sides);
    if (atPage) await waitFor('its child', () => isAlive(saver) || sidesIn(folder) !== sides);
    for (let spin = 0; spin < round * 20; spin++) isAlive(pid);
    restart.kill('SIGKILL');
    await restart.done;
    await waitFor('an end or a side', () => !isAlive(pid) || sidesIn(folder) !== sides);
    await waitFor('the child to end', () => !isAlive(saver));
    if (isAlive(pid)) {
      restarted++;
      expect(sidesIn(folder)).toBe(`${sides}restarted\n`);
      await end(pid);
    }
    await gone(pid);
    await gone(saver);
    sides = sidesIn(folder);
  }
  expect(restarted).toBeGreaterThan(0);
});

test('a Node program with a connection to us is told every reason why it cannot save itself, and goes on', async () => {
  const folder = newFolder();
  const outside = createServer(() => {}).listen(join(folder, 'socket'));
  const text = `
import { once } from 'node:events';
import { connect } from 'node:net';
import { checkpointSelf, RefusedError } from '${library}';
const client = connect('socket');
await once(client, 'connect');
const one = checkpointSelf('image').catch((error) => error);
const error = await one;
console.log(error instanceof RefusedError, error.problems?.map(({ code }) => code).join());
const lost = await checkpointSelf('no folder/image').catch((error) => error);
console.log(lost.code);
client.destroy();
await once(client, 'close');
const { restarted } = await checkpointSelf('image');
console.log(restarted ? 'restarted' : 'goes on');
`;
  const { output, ended } = inNode('with a connection', text).start(folder, '');
  expect(await ended).toEqual({ status: 0, signal: null });
  outside.close();
  expect(readFileSync(output, 'utf8')).toBe('true socket-to-outside\nno-folder\ngoes on\n');
  expect(readdirSync(folder).sort()).toEqual(['image', expect.stringMatching(/^output/), 'program.mjs']);
});

test('a process id and --self together, or neither, are wrong usage', async () => {
  for (const args of [['1', '--self'], []]) {
    const result = await run(['checkpoint', ...args, '--output', 'image']).done;
    expect(result.status).toBe(2);
    expect(result.stderr).toContain('--self');
  }
});

test('an image of itself goes into a file only', async () => {
  const folder = newFolder();
  const result = await run(['checkpoint', '--self', '--output', '-'], { cwd: folder }).done;
  expect(result.status).toBe(1);
  expect(result.stderr).toContain('only into a file');
});
