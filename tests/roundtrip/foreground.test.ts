/** A restarted program in the foreground: its streams, its end, the signals for it, and the keys of a terminal. */
import { readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  childrenOf,
  command,
  gone,
  mustRun,
  newFolder,
  openTerminal,
  readIfThere,
  remember,
  run,
  said,
  saveAndEnd,
  start,
  stateOf,
  waitFor,
} from '../support/harness.ts';

/** Says ready; ends with status 41 on SIGUSR1, and says which other signals it gets. */
const listener = `
import os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR2, signal.SIGWINCH):
    signal.signal(number, lambda number, frame: print('got', number, flush=True))
signal.signal(signal.SIGUSR1, lambda number, frame: os._exit(41))
print('ready', flush=True)
while True:
    signal.pause()
`;

async function saved(
  program: string,
  args: string[],
  ready = 'ready',
): Promise<{ image: string; pid: number; output: string }> {
  const folder = newFolder();
  const { pid, output } = start(folder, program, args);
  await said(output, ready);
  await waitFor('it to sleep', () => stateOf(pid) === 'S');
  const image = join(folder, 'image');
  await saveAndEnd(pid, image);
  return { image, pid, output };
}

const PROMPT = /[#$] $/;

const runs = (pid: number): Promise<true> => waitFor(`${pid} to run`, () => stateOf(pid) === 'S');

test('the exit status of the program is that of the restart', async () => {
  const { image, pid } = await saved('python3', ['-c', listener]);
  const restart = run(['restart', image]);
  await runs(pid);
  remember(pid);
  await waitFor('the restart to accompany it', () => restart.stderr().includes('restarted process'));
  process.kill(pid, 'SIGUSR1');
  expect(await restart.done).toMatchObject({ status: 41, signal: null });
});

test('a program that a signal has ended lets the restart end by the same signal', async () => {
  const { image, pid } = await saved('sleep', ['600'], '');
  const restart = run(['restart', image]);
  await waitFor('the restart to accompany it', () => restart.stderr().includes('restarted process'));
  process.kill(pid, 'SIGTERM');
  expect(await restart.done).toMatchObject({ status: null, signal: 'SIGTERM' });
});

test('signals for the restart go on to the program', async () => {
  const { image, output, pid } = await saved('python3', ['-c', listener]);
  const restart = run(['restart', image]);
  await waitFor('the restart to accompany it', () => restart.stderr().includes('restarted process'));
  remember(pid);
  const sent = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1, SIGQUIT: 3, SIGUSR2: 12, SIGWINCH: 28 } as const;
  for (const [name, number] of Object.entries(sent)) {
    restart.kill(name as NodeJS.Signals);
    await said(output, `got ${number}`);
  }
  restart.kill('SIGUSR1');
  expect(await restart.done).toMatchObject({ status: 41 });
});

test('--pid-file has the pid, and --detach leaves the program running', async () => {
  const { image, pid } = await saved('sleep', ['600'], '');
  const pidFile = join(newFolder(), 'pid');
  const { stdout } = await mustRun('restart', image, '--detach', '--pid-file', pidFile);
  remember(pid);
  expect(stdout.toString()).toBe(`${pid}\n`);
  expect(readFileSync(pidFile, 'utf8')).toBe(`${pid}\n`);
  await waitFor('it to sleep', () => stateOf(pid) === 'S');
});

test('pipes to somebody outside become the streams of the restart', async () => {
  const folder = newFolder();
  const image = join(folder, 'image');
  const pipes = join(folder, 'pipes.sh');
  // cat has a pipe as its input and another as its output; both other ends are held by the shell's other commands.
  writeFileSync(pipes, `sleep 600 | sh -c 'echo $$ > ${folder}/pid; exec cat' | sleep 600\n`);
  const shell = start(folder, 'bash', [pipes]);
  const pid = Number(await waitFor('the pid', () => readIfThere(join(folder, 'pid'))?.trim()));
  for (const child of childrenOf(shell.pid)) remember(child);
  await waitFor('cat to read', () => readIfThere(`/proc/${pid}/comm`) === 'cat\n' && stateOf(pid) === 'S');
  const save = await mustRun('checkpoint', String(pid), '-o', image, '--kill');
  expect(save.stderr).toMatch(/descriptor 0 was pipe:\[\d+\]: a restart gives it its own standard input/);
  expect(save.stderr).toMatch(/descriptor 1 was pipe:\[\d+\]: a restart gives it its own standard output/);
  await gone(pid);
  const restart = await run(['restart', image], { stdin: Buffer.from('through the new pipes') }).done;
  expect(restart).toMatchObject({ status: 0, stdout: Buffer.from('through the new pipes') });
});

test('a program of a terminal comes back in the foreground of another, with its keys', async () => {
  const folder = newFolder();
  const image = join(folder, 'image');
  const before = openTerminal(folder);
  await before.shows(PROMPT);
  before.type('cat\n');
  const [shell] = await waitFor('the shell', () =>
    childrenOf(before.pid).length > 0 ? childrenOf(before.pid) : undefined,
  );
  const pid = await waitFor('cat', () =>
    childrenOf(shell ?? 0).find((child) => readIfThere(`/proc/${child}/comm`) === 'cat\n' && stateOf(child) === 'S'),
  );
  await saveAndEnd(pid, image);

  const after = openTerminal(folder);
  await after.shows(PROMPT);
  after.type(`${process.execPath} ${command} restart ${image}\n`);
  await after.shows(/restarted process/);
  remember(pid);
  await runs(pid);
  after.type('once\n');
  await after.shows(/once\r\nonce/);
  // Ctrl-Z stops it and gives the shell the terminal; fg gives it back.
  after.type('\u001a');
  await after.shows(/Stopped/);
  expect(stateOf(pid)).toBe('T');
  after.type('fg\n');
  await after.shows(/restart/);
  await runs(pid);
  after.type('twice\n');
  await after.shows(/twice\r\ntwice/);
  // Ctrl-C ends it, and the restart with it.
  after.type('\u0003');
  await gone(pid);
  after.type('echo "status $?"\n');
  await after.shows(/status 130/);
});

const nonBlocking = `
import os, sys, time
os.set_blocking(0, False)
open(sys.argv[1], 'w').write(str(os.getpid()))
time.sleep(600)
`;

test('the flags of an outside stream are kept, and the stream of the restart command keeps its own', async () => {
  const folder = newFolder();
  const image = join(folder, 'image');
  const script = join(folder, 'script.sh');
  writeFileSync(script, `sleep 600 | python3 -c "${nonBlocking}" ${folder}/pid\n`);
  const shell = start(folder, 'bash', [script]);
  const pid = Number(await waitFor('the pid', () => readIfThere(join(folder, 'pid'))));
  for (const child of childrenOf(shell.pid)) remember(child);
  await runs(pid);
  await saveAndEnd(pid, image);
  const again = join(folder, 'again.sh');
  writeFileSync(again, `sleep 600 | ${process.execPath} ${command} restart ${image}\n`);
  const second = start(folder, 'bash', [again]);
  await said(second.output, 'restarted process');
  for (const child of childrenOf(second.pid)) remember(child);
  remember(pid);
  expect(flagsOf(pid) & NONBLOCK).toBe(NONBLOCK);
  expect(flagsOf(parentOf(pid)) & NONBLOCK).toBe(0);
});

const parentOf = (pid: number): number =>
  Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
const NONBLOCK = 0o4000;
const flagsOf = (pid: number): number =>
  Number.parseInt(/^flags:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/fdinfo/0`, 'utf8'))?.[1] ?? '', 8);

test('the parent death signal is kept for a parent that stays, and taken away from one that ends', async () => {
  const asked = 'got = ctypes.c_int(); libc.prctl(2, ctypes.byref(got)); print("signal", got.value, flush=True)';
  const program = `import ctypes, signal
libc = ctypes.CDLL(None)
libc.prctl(1, signal.SIGURG)
def answer(*_):
  ${asked}
signal.signal(signal.SIGUSR1, answer)
print('ready', flush=True)
while True: signal.pause()`;
  const { image, pid, output } = await saved('python3', ['-c', program]);
  const restart = run(['restart', image]);
  await waitFor('the restart to accompany it', () => restart.stderr().includes('restarted process'));
  process.kill(pid, 'SIGUSR1');
  await said(output, `signal ${constants.signals.SIGURG}`);
  expect(restart.stderr()).not.toContain('parent');
  process.kill(pid, 'SIGKILL');
  await restart.done;
  const { stderr } = await mustRun('restart', image, '--detach');
  remember(pid);
  expect(stderr).toContain(`thread ${pid} no longer gets signal ${constants.signals.SIGURG}`);
  process.kill(pid, 'SIGUSR1');
  await said(output, 'signal 0');
});
