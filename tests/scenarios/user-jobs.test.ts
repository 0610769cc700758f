/** `quicksave run` by an ordinary user, who may not choose pids: a job goes on from its saves in a namespace of its own. */
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { command, compiled, gone, newFolder, readIfThere, remember, said, start, waitFor } from '../support/harness.ts';

const USER = ['--reuid', '54321', '--regid', '54321', '--groups', '54321,1234'];
const cannotTry = process.getuid?.() !== 0 || spawnSync('setpriv', [...USER, command, '--version']).status !== 0;
const asUser = (...words: string[]) => spawnSync('setpriv', [...USER, command, ...words], { encoding: 'utf8' });

const COUNTS = `$| = 1; my $n = 0;
while (1) { $n++; open(F, '>', 'new'); print F "$n $$\\n"; close F; rename 'new', 'count'; exit 7 if -e 'stop'; select undef, undef, undef, 0.02 }`;

interface Start {
  readonly pid: number;
  readonly said: () => string;
  readonly ended: Promise<number | null>;
}

function begin(folder: string): Start {
  const job = ['--every', '1h', '--dir', join(folder, 'job'), '--log', join(folder, 'log'), '--', 'perl', '-e', COUNTS];
  const child = spawn('setpriv', [...USER, command, 'run', ...job], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let text = '';
  child.stderr.on('data', (bytes: Buffer) => {
    text += bytes.toString();
  });
  remember(child.pid ?? 0);
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  return { pid: child.pid ?? 0, said: () => text, ended };
}

const countIn = (folder: string): [number, number] => {
  const [count = 0, pid = 0] = readFileSync(join(folder, 'count'), 'utf8').trim().split(' ').map(Number);
  return [count, pid];
};

const countsOn = (folder: string, from: number): Promise<true> =>
  waitFor('the program to count on', () => (countIn(folder)[0] > from ? true : undefined));

test.skipIf(cannotTry)(
  'a job of a user without capabilities goes on, start after start, and ends as its program does',
  async () => {
    const folder = newFolder();
    chmodSync(folder, 0o777);
    const first = begin(folder);
    await waitFor('the program', () => existsSync(join(folder, 'count')) || undefined);
    const [, pid] = countIn(folder);
    process.kill(first.pid, 'SIGTERM');
    expect(await first.ended, first.said()).toBe(75);
    const [reached] = countIn(folder);

    const second = begin(folder);
    await waitFor('the program to go on', () => second.said().includes('goes on from the save') || undefined);
    await waitFor(
      'what is otherwise',
      () => second.said().includes('in a user and a pid namespace of its own') || undefined,
    );
    await countsOn(folder, reached);
    expect(countIn(folder)[1]).toBe(pid);
    process.kill(second.pid, 'SIGUSR2');
    const history = join(folder, 'job', 'history.jsonl');
    await waitFor('a save', () => (readIfThere(history) ?? '').split('"saved","pid"').length > 2 || undefined);
    process.kill(second.pid, 'SIGTERM');
    expect(await second.ended, second.said()).toBe(75);
    const [later] = countIn(folder);

    const third = begin(folder);
    await waitFor('the program to go on', () => third.said().includes('goes on from the save') || undefined);
    await countsOn(folder, later);
    writeFileSync(join(folder, 'stop'), '');
    expect(await third.ended, third.said()).toBe(7);
  },
  60_000,
);

test.skipIf(cannotTry)(
  'a program whose command was killed outside of a namespace is taken over into one',
  async () => {
    const folder = newFolder();
    chmodSync(folder, 0o777);
    const first = begin(folder);
    await waitFor('the program', () => existsSync(join(folder, 'count')) || undefined);
    const [, pid] = countIn(folder);
    remember(pid);
    process.kill(first.pid, 'SIGKILL');
    await first.ended;
    const second = begin(folder);
    await waitFor('the program to go on', () => second.said().includes('goes on from the save') || undefined);
    expect(second.said()).toContain('is saved and taken over');
    await countsOn(folder, countIn(folder)[0]);
    process.kill(second.pid, 'SIGTERM');
    expect(await second.ended, second.said()).toBe(75);
  },
  60_000,
);

test.skipIf(cannotTry)(
  'memory without a name, which a user cannot reach, is named: by a check, a save and a restart',
  async () => {
    const folder = newFolder();
    chmodSync(folder, 0o777);
    const target = start(folder, 'setpriv', [...USER, compiled('shared-tables')]);
    await said(target.output, 'ready');
    const image = join(folder, 'image');
    for (const words of [['check'], ['check', '--stop'], ['checkpoint', '-o', image]]) {
      const [verb = '', ...options] = words;
      const { status, stdout, stderr } = asUser(verb, String(target.pid), ...options);
      expect(status).toBe(1);
      expect(stdout + stderr).toMatch(
        /memory without a name \(\/dev\/zero\), which only who has CAP_CHECKPOINT_RESTORE .*\n.*\[not-enough-rights\]/,
      );
    }
    const saved = spawnSync(command, ['checkpoint', String(target.pid), '-o', image, '--kill'], { encoding: 'utf8' });
    expect(saved.status, saved.stderr).toBe(0);
    await gone(target.pid);
    chownSync(image, 54321, 54321);
    const refused = asUser('restart', image, '--detach');
    expect(refused.status).toBe(1);
    expect(refused.stderr).toMatch(
      /shared memory of \d+ bytes without a file, which only who has CAP_CHECKPOINT_RESTORE/,
    );
    expect(refused.stderr).not.toContain('[kernel-call]');
  },
);
