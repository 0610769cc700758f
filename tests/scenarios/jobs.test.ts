/** `quicksave run`: jobs that survive what happens to their program, to the tool and to the machine. */
import { closeSync, openSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import {
  childrenOf,
  command,
  compiled,
  gone,
  has,
  isAlive,
  mustRun,
  newFolder,
  type RunningCommand,
  readIfThere,
  remember,
  run,
  said,
  start,
  waitFor,
} from '../support/harness.ts';

const training = join(dirname(fileURLToPath(import.meta.url)), '..', 'programs', 'training.py');
const skipWithoutPython = !has('python3') && 'there is no python3';

interface Event {
  readonly event: string;
  readonly pid?: number;
  readonly save?: string;
  readonly saved?: boolean;
  readonly code?: string;
}

const historyOf = (dir: string): Event[] =>
  (readIfThere(join(dir, 'history.jsonl')) ?? '')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Event);

const countOf = (dir: string, event: string): number => historyOf(dir).filter((one) => one.event === event).length;

const stateOf = (dir: string): { phase: string; program: number; run: number } =>
  JSON.parse(readFileSync(join(dir, 'state.json'), 'utf8'));

interface Job {
  readonly dir: string;
  readonly log: string;
  /** Starts the command with the job's folder; it and what it starts will be ended after the test. */
  readonly begin: (...options: string[]) => Promise<RunningCommand>;
}

function newJob(program: readonly string[], every: string): Job {
  const folder = newFolder();
  const dir = join(folder, 'job');
  const log = join(folder, 'log');
  const begin = async (...options: string[]): Promise<RunningCommand> => {
    const before = readIfThere(join(dir, 'state.json')) === undefined ? 0 : stateOf(dir).run;
    const args = ['run', '--every', every, '--dir', dir, '--log', log, ...options, '--', ...program];
    const care = run(args, { cwd: folder });
    remember(care.pid);
    await waitFor(`start ${before + 1} to run: ${care.stderr()}`, () => {
      const text = readIfThere(join(dir, 'state.json'));
      if (text === undefined) return false;
      const { run: number, phase, program: pid } = JSON.parse(text) as ReturnType<typeof stateOf>;
      if (number !== before + 1 || phase === 'starting') return false;
      remember(pid);
      return true;
    });
    return care;
  };
  return { dir, log, begin };
}

/** All that a start of the job has made, at one instant. */
async function killEverything(care: RunningCommand): Promise<void> {
  process.kill(care.pid, 'SIGSTOP');
  const pids = [care.pid, ...descendantsOf(care.pid)];
  for (const pid of pids) if (isAlive(pid)) process.kill(pid, 'SIGKILL');
  for (const pid of pids) await gone(pid);
}

const descendantsOf = (pid: number): number[] => childrenOf(pid).flatMap((child) => [child, ...descendantsOf(child)]);

test('a training loop that is killed ten times at random ends with the result of an undisturbed run', async (context) => {
  context.skip(skipWithoutPython !== false, String(skipWithoutPython));
  const folder = newFolder();
  const loop = (result: string): string[] => [training, result, '400', join(folder, 'go')];
  const undisturbed = start(folder, 'python3', loop(join(folder, 'undisturbed')));
  const result = join(folder, 'result');
  const job = newJob(['python3', ...loop(result)], '100ms');
  for (let kill = 0; kill < 10; kill++) {
    const care = await job.begin();
    const saved = countOf(job.dir, 'saved');
    // Every second time at any moment at all; else when something has been won.
    if (kill % 2 === 1) await waitFor('a save', () => countOf(job.dir, 'saved') > saved);
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 500));
    await killEverything(care);
  }
  const last = await job.begin();
  writeFileSync(join(folder, 'go'), '');
  expect(await last.done).toMatchObject({ status: 0 });
  expect(await undisturbed.ended).toEqual({ status: 0, signal: null });
  expect(readFileSync(result, 'utf8')).toBe(readFileSync(join(folder, 'undisturbed'), 'utf8'));
  // It has not simply begun anew every time.
  expect(countOf(job.dir, 'started') + countOf(job.dir, 'resumed')).toBe(11);
  expect(countOf(job.dir, 'resumed')).toBeGreaterThanOrEqual(5);
  expect(countOf(job.dir, 'damaged')).toBe(0);
});

test('SIGTERM and SIGUSR1 save the program, end it and the command with status 75, and the next start goes on', async () => {
  const job = newJob([compiled('busy-threads')], '1h');
  const first = await job.begin();
  await said(job.log, 'ready');
  const { program } = stateOf(job.dir);
  first.kill('SIGTERM');
  expect(await first.done).toMatchObject({ status: 75 });
  await gone(program);
  expect(historyOf(job.dir).at(-1)).toMatchObject({ event: 'preempted', saved: true });
  const second = await job.begin();
  expect(stateOf(job.dir).program).toBe(program);
  second.kill('SIGUSR1');
  expect(await second.done).toMatchObject({ status: 75 });
  const third = await job.begin();
  writeFileSync(join(dirname(job.log), 'go'), '');
  expect(await third.done).toMatchObject({ status: 0 });
  expect(readFileSync(job.log, 'utf8')).toMatch(/^ok$/m);
  expect(countOf(job.dir, 'started')).toBe(1);
  const again = await run(['run', '--dir', job.dir, '--', compiled('busy-threads')]).done;
  expect(again).toMatchObject({ status: 0, stderr: expect.stringContaining('has ended well already') });
});

test('a job goes on from an older save when the newest is damaged, and keeps as many saves as it is told', async () => {
  const job = newJob([compiled('busy-threads')], '1h');
  const first = await job.begin('--keep', '2');
  await said(job.log, 'ready');
  for (let save = 1; save <= 3; save++) {
    first.kill('SIGUSR2');
    await waitFor(`save ${save}`, () => countOf(job.dir, 'saved') === save);
  }
  const saves = (): string[] => readdirSync(join(job.dir, 'saves')).sort();
  await waitFor('two saves to be left', () => saves().length === 2);
  expect(saves()).toEqual(['000001-000002.qs', '000001-000003.qs']);
  await killEverything(first);
  const status = JSON.parse((await mustRun('status', job.dir, '--json')).stdout.toString());
  expect(status).toMatchObject({ phase: 'interrupted', run: 1, saves: [{}, {}] });
  const newest = join(job.dir, 'saves', '000001-000003.qs');
  truncateSync(newest, statSync(newest).size - 4096);
  const second = await job.begin('--keep', '2');
  expect(second.stderr()).toContain('000001-000003.qs is damaged');
  expect(historyOf(job.dir).at(-1)).toMatchObject({ event: 'resumed', save: '000001-000002.qs' });
  writeFileSync(join(dirname(job.log), 'go'), '');
  expect(await second.done).toMatchObject({ status: 0 });
});

test('an incremental job goes on from what builds on a whole save, and from the whole save before it when that one is damaged', async () => {
  const job = newJob(['env', 'BALLAST=4', compiled('busy-threads')], '1h');
  const first = await job.begin('--incremental', '--keep', '2');
  await said(job.log, 'ready');
  const saves = (): string[] => readdirSync(join(job.dir, 'saves')).sort();
  const save = async (number: number): Promise<void> => {
    first.kill('SIGUSR2');
    await waitFor(`save ${number}`, () => countOf(job.dir, 'saved') === number);
  };
  await save(1);
  await save(2);
  await waitFor('the first to stay', () => saves().length === 2);
  expect(saves()).toEqual(['000001-000001.qs', '000001-000002+000001.qs']);
  const sizeOf = (name: string): number => statSync(join(job.dir, 'saves', name)).size;
  expect(sizeOf('000001-000002+000001.qs')).toBeLessThan(sizeOf('000001-000001.qs') / 2);
  first.kill('SIGTERM');
  expect(await first.done).toMatchObject({ status: 75 });

  const second = await job.begin('--incremental', '--keep', '2');
  expect(historyOf(job.dir).at(-1)).toMatchObject({ event: 'resumed', save: '000001-000003+000001.qs' });
  for (const number of [4, 5]) {
    second.kill('SIGUSR2');
    await waitFor(`save ${number}`, () => countOf(job.dir, 'saved') === number);
  }
  const left = ['000001-000001.qs', '000002-000001.qs', '000002-000002+000001.qs'];
  await waitFor('all to go that nothing needs', () => String(saves()) === String(left));
  await killEverything(second);
  const base = join(job.dir, 'saves', '000002-000001.qs');
  truncateSync(base, statSync(base).size - 4096);

  const third = await job.begin('--incremental', '--keep', '2');
  expect(countOf(job.dir, 'damaged')).toBe(2);
  expect(historyOf(job.dir).at(-1)).toMatchObject({ event: 'resumed', save: '000001-000001.qs' });
  writeFileSync(join(dirname(job.log), 'go'), '');
  expect(await third.done).toMatchObject({ status: 0 });
});

test('a program whose supervisor was killed is taken over with all its work, and the crash of a program costs an interval', async () => {
  const job = newJob([compiled('busy-threads')], '1h');
  const first = await job.begin();
  await said(job.log, 'ready');
  const { program } = stateOf(job.dir);
  process.kill(first.pid, 'SIGKILL');
  await first.done;
  expect(isAlive(program)).toBe(true);
  const second = await job.begin();
  expect(historyOf(job.dir).map(({ event }) => event)).toEqual(['started', 'found running', 'saved', 'resumed']);
  expect(childrenOf(second.pid)).toEqual([program]);
  process.kill(program, 'SIGKILL');
  expect(await second.done).toMatchObject({ signal: 'SIGKILL' });
  const third = await job.begin();
  expect(historyOf(job.dir).at(-1)).toMatchObject({ event: 'resumed', pid: program });
  writeFileSync(join(dirname(job.log), 'go'), '');
  expect(await third.done).toMatchObject({ status: 0 });
});

test('a job of several processes goes on as a tree, also when its root alone was killed', async (context) => {
  context.skip(skipWithoutPython !== false, String(skipWithoutPython));
  const text = `import os,sys,time
r,w=os.pipe()
if os.fork()==0:
  os.close(r); n=0
  while True: n+=1; os.write(w,b'%d\\n'%n); time.sleep(0.01)
os.close(w); f=os.fdopen(r); last=0
for line in f:
  assert int(line)==last+1, (line,last)
  last=int(line)
  if last==20: print('ready',flush=True)
  if os.path.exists(sys.argv[1]): print('ok',flush=True); os._exit(0)`;
  const go = join(newFolder(), 'go');
  const job = newJob(['/usr/bin/python3', '-c', text, go], '1h');
  const first = await job.begin();
  await said(job.log, 'ready');
  const { program } = stateOf(job.dir);
  const [child = 0] = childrenOf(program);
  remember(child);
  first.kill('SIGUSR2');
  await waitFor('a save', () => countOf(job.dir, 'saved') === 1);
  process.kill(program, 'SIGSTOP');
  process.kill(program, 'SIGKILL');
  expect(await first.done).toMatchObject({ signal: 'SIGKILL' });
  const second = await job.begin();
  expect(childrenOf(program)).toEqual([child]);
  second.kill('SIGTERM');
  expect(await second.done).toMatchObject({ status: 75 });
  expect([isAlive(program), isAlive(child)]).toEqual([false, false]);
  const third = await job.begin();
  remember(child);
  writeFileSync(go, '');
  expect(await third.done).toMatchObject({ status: 0 });
  expect(readFileSync(job.log, 'utf8')).toMatch(/^ok$/m);
});

test('a program that cannot be saved gets SIGTERM in the grace time, and why is said once', async (context) => {
  context.skip(skipWithoutPython !== false, String(skipWithoutPython));
  const text =
    'import signal,socket,sys;s=socket.socket(socket.AF_NETLINK,socket.SOCK_RAW,12);print("ready",flush=True);signal.sigwait([signal.SIGTERM]);print("bye")';
  const job = newJob(['python3', '-c', `import signal;signal.pthread_sigmask(0,[15]);${text}`], '50ms');
  const care = await job.begin();
  await said(job.log, 'ready');
  await waitFor('three failed saves', () => countOf(job.dir, 'not saved') >= 3);
  const human = (await mustRun('status', job.dir)).stdout.toString();
  expect(human).toMatch(/^last save +failed: .*cannot be saved/m);
  care.kill('SIGTERM');
  const { status, stderr } = await care.done;
  expect(status).toBe(75);
  expect(stderr.split('no save was made, and the program goes on').length).toBe(2);
  expect(readFileSync(job.log, 'utf8')).toBe('ready\nbye\n');
  expect(historyOf(job.dir).at(-1)).toMatchObject({ event: 'preempted', saved: false });
});

test('what the command has inherited, and a socket as its output, stand in the way of no save', async (context) => {
  context.skip(skipWithoutPython !== false, String(skipWithoutPython));
  const folder = newFolder();
  const dir = join(folder, 'job');
  const extra = openSync(join(folder, 'extra'), 'w');
  const asService = [
    'import os, socket, sys',
    'a, b = socket.socketpair()',
    'os.dup2(a.fileno(), 1); os.dup2(a.fileno(), 2); os.set_inheritable(b.fileno(), True)',
    'os.execv(sys.argv[1], sys.argv[1:])',
  ].join('\n');
  const args = [command, 'run', '--every', '1h', '--dir', dir, '--', compiled('busy-threads')];
  const service = start(folder, 'python3', ['-c', asService, ...args]);
  closeSync(extra);
  await said(join(dir, 'output.log'), 'ready');
  process.kill(service.pid, 'SIGTERM');
  expect(await service.ended).toEqual({ status: 75, signal: null });
  expect(countOf(dir, 'saved')).toBe(1);
});

test('a folder is taken care of by one command at a time, and belongs to one program', async () => {
  const job = newJob([compiled('busy-threads')], '1h');
  const care = await job.begin();
  await said(job.log, 'ready');
  const second = await run(['run', '--dir', job.dir, '--', compiled('busy-threads')]).done;
  expect(second).toMatchObject({ status: 1, stderr: expect.stringContaining('under care already') });
  await killEverything(care);
  const other = await run(['run', '--dir', job.dir, '--', 'true']).done;
  expect(other).toMatchObject({ status: 1, stderr: expect.stringContaining('belongs to another job') });
  expect((await run(['run', '--every', 'often', '--', 'true']).done).status).toBe(2);
});
