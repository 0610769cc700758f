/** An ordinary user saves programs of its own; what it may not do is said. */
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  command,
  compiled,
  gone,
  isAlive,
  newFolder,
  readIfThere,
  remember,
  said,
  saveAndEnd,
  start,
  waitFor,
} from '../support/harness.ts';

const NOBODY = ['--reuid', '65534', '--regid', '65534', '--clear-groups'];
const asNobody = (...words: string[]) => spawnSync('setpriv', [...NOBODY, ...words], { encoding: 'utf8' });
/** A checkout in a home folder, or a run that is not root's. */
const cannotTry = process.getuid?.() !== 0 || asNobody(command, '--version').status !== 0;

test.skipIf(cannotTry)('a user without capabilities saves a program of its own', async () => {
  const folder = newFolder();
  chmodSync(folder, 0o755);
  const mine = join(folder, 'images');
  mkdirSync(mine);
  chmodSync(mine, 0o777);
  const { pid, output } = start(folder, 'setpriv', [...NOBODY, '/usr/bin/perl', '-e', 'sleep 1 while 1']);
  // Its own, so that the restart may open it.
  chownSync(output, 65534, 65534);
  await waitFor('perl', () => readIfThere(`/proc/${pid}/comm`) === 'perl\n');
  const image = join(mine, 'image');
  const saved = asNobody(command, 'checkpoint', String(pid), '--output', image);
  expect(saved.stderr).toMatch(/^saved process/);
  expect(saved.status).toBe(0);
  expect(asNobody(command, 'verify', image).status).toBe(0);
  expect(isAlive(pid)).toBe(true);
  const checked = asNobody(command, 'check', String(pid));
  expect(checked.stdout).toContain('a user and a pid namespace of its own');
  expect(checked.status).toBe(0);
  // All strangers' images would look like its own there.
  expect(asNobody(command, 'restart', image).stderr).toContain('cannot be told from yours');
});

test.skipIf(cannotTry)(
  'what its user could not restart here, check tells before, and a save with --kill when it is gone',
  async () => {
    const folder = newFolder();
    chmodSync(folder, 0o777);
    // Its output stays root's, whom it was given by.
    const { pid, output } = start(folder, 'setpriv', [...NOBODY, '/usr/bin/perl', '-e', 'sleep 1 while 1']);
    chmodSync(output, 0o600);
    await waitFor('perl', () => readIfThere(`/proc/${pid}/comm`) === 'perl\n');
    const checked = asNobody(command, 'check', String(pid), '--stop', '--json');
    expect(JSON.parse(checked.stdout)).toMatchObject({ problems: [], stopped: true });
    const { restartProblems } = JSON.parse(checked.stdout) as { restartProblems: { code: string; message: string }[] };
    expect(restartProblems.map(({ code }) => code)).toContain('may-not-open');
    const saved = asNobody(command, 'checkpoint', String(pid), '--output', join(folder, 'image'), '--kill');
    expect(saved.status, saved.stderr).toBe(0);
    for (const { message } of restartProblems) expect(saved.stderr).toContain(message);
    expect(saved.stderr).toContain('a restart here, by you, would be refused: ');
  },
);

test.skipIf(cannotTry)('a user without capabilities is told who may save a program in a sandbox', async () => {
  const folder = newFolder();
  chmodSync(folder, 0o777);
  const { pid, output } = start(folder, 'setpriv', [...NOBODY, compiled('sandboxed'), 'errors']);
  await said(output, 'ready');
  const saved = asNobody(command, 'checkpoint', String(pid), '--output', join(folder, 'image'));
  expect(saved.stderr).toMatch(/runs under a seccomp filter, .*CAP_SYS_ADMIN/);
  expect(saved.status).toBe(1);
  writeFileSync(join(folder, 'go'), '');
  await said(output, 'ok');
});

/** Both ends of a connection. */
const CONNECTED = `import signal, socket
listener = socket.create_server(('127.0.0.1', 0))
ends = socket.create_connection(listener.getsockname()), listener.accept()[0]
print('ready', flush=True); signal.pause()`;

/** As --json has them. */
const problemsIn = (text: string): unknown => {
  const found = JSON.parse(text) as { problems?: unknown; error?: { problems?: unknown } };
  return found.problems ?? found.error?.problems;
};

test.skipIf(cannotTry)(
  'what stands in the way of connections, for lack of rights or because they are not wanted, check says as a checkpoint does',
  async () => {
    const folder = newFolder();
    chmodSync(folder, 0o777);
    const { pid, output } = start(folder, 'setpriv', [...NOBODY, '/usr/bin/python3', '-c', CONNECTED]);
    chownSync(output, 65534, 65534);
    await said(output, 'ready');
    const image = join(folder, 'image');
    for (const [policy, code] of [
      ['established', 'not-enough-rights'],
      ['refuse', 'tcp-connection'],
    ] as const) {
      const checked = asNobody(command, 'check', String(pid), '--json', '--tcp', policy);
      expect(checked.status).toBe(1);
      const refused = asNobody(command, 'checkpoint', String(pid), '--output', image, '--json', '--tcp', policy);
      expect(problemsIn(checked.stdout)).toMatchObject([{ code }, { code }]);
      expect(problemsIn(refused.stdout)).toEqual(problemsIn(checked.stdout));
      expect(existsSync(image)).toBe(false);
    }
    expect(asNobody(command, 'check', String(pid), '--tcp', 'close').stdout).not.toContain('connected from');
    expect(asNobody(command, 'checkpoint', String(pid), '--output', image, '--tcp', 'close').status).toBe(0);
  },
);

const USER = 54321;
const AS_USER = ['--reuid', `${USER}`, '--regid', `${USER}`, '--groups', `${USER},1234,4321`];

/** Says its pid and groups when it is asked, and ends with status 7 on SIGTERM. */
const SAYS_WHO = `$| = 1; $SIG{TERM} = sub { print "term\\n"; exit 7 }; print "ready\\n"; my $n = 0;
while (1) { if (-e 'ask') { $n++; print "$n: $$ $)\\n"; unlink 'ask' } select undef, undef, undef, 0.02 }`;

interface SavedByUser {
  readonly folder: string;
  readonly pid: number;
  readonly output: string;
  readonly image: string;
  readonly ask: (answer: string) => Promise<unknown>;
}

async function savedByUser(): Promise<SavedByUser> {
  const folder = newFolder();
  chmodSync(folder, 0o777);
  const { pid, output } = start(folder, 'setpriv', [...AS_USER, '/usr/bin/perl', '-e', SAYS_WHO]);
  chownSync(output, USER, USER);
  await said(output, 'ready');
  const image = join(folder, 'image');
  const ask = (answer: string): Promise<unknown> => {
    writeFileSync(join(folder, 'ask'), '');
    return said(output, answer);
  };
  await ask(`1: ${pid} ${USER}`);
  const saved = spawnSync('setpriv', [...AS_USER, command, 'checkpoint', String(pid), '--output', image, '--kill']);
  expect(saved.stderr.toString()).toMatch(/^saved process/);
  await gone(pid);
  return { folder, pid, output, image, ask };
}

const asUser = (...words: string[]) => spawnSync('setpriv', [...AS_USER, command, ...words], { encoding: 'utf8' });

const statusOf = (pid: number, key: string): string =>
  new RegExp(`^${key}:\\t(.*)$`, 'm').exec(readIfThere(`/proc/${pid}/status`) ?? '')?.[1]?.trim() ?? '';

test.skipIf(cannotTry)(
  'a user without capabilities restarts its program in a namespace of its own, with its pid, its groups and no more rights',
  async () => {
    const { folder, pid, image, output, ask } = await savedByUser();
    const pidFile = join(folder, 'pid');
    const restarted = start(folder, 'setpriv', [...AS_USER, command, 'restart', image, '--pid-file', pidFile]);
    const outside = Number(await waitFor('the pid file', () => readIfThere(pidFile)));
    remember(outside);
    await ask(`2: ${pid} ${USER}`);
    expect(statusOf(outside, 'NSpid').split('\t').at(-1)).toBe(String(pid));
    expect(statusOf(outside, 'Groups')).toBe(`1234 4321 ${USER}`);
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb']) expect(statusOf(outside, set)).toMatch(/^0+$/);
    expect(readFileSync(restarted.output, 'utf8')).toContain('a user and a pid namespace of its own');
    // Signals for the command go on to the program, and its end is the command's.
    process.kill(restarted.pid, 'SIGTERM');
    await said(output, 'term');
    expect(await restarted.ended).toEqual({ status: 7, signal: null });
    await gone(outside);
  },
);

function saveInside(outside: number, pid: number, image: string): void {
  const enter = ['nsenter', '--mount', '--pid', '--user', '--preserve-credentials', '--target', String(outside)];
  const saved = spawnSync('setpriv', [...AS_USER, ...enter, command, 'checkpoint', `${pid}`, '-o', image]);
  expect(saved.stderr.toString()).toMatch(/^saved process/);
}

test.skipIf(cannotTry)(
  'a user without capabilities restarts what was saved in a namespace of its own, generation after generation, with all its groups',
  async () => {
    const { pid, image, ask } = await savedByUser();
    for (let generation = 1; generation <= 3; generation++) {
      const restarted = asUser('restart', `${image}${generation === 1 ? '' : `.${generation}`}`, '--detach');
      expect(restarted.stderr).toMatch(/^restarted process/);
      const outside = Number(restarted.stdout);
      remember(outside);
      await ask(`${generation + 1}: ${pid} ${USER}`);
      expect(statusOf(outside, 'Groups')).toBe(`1234 4321 ${USER}`);
      for (const set of ['CapPrm', 'CapEff']) expect(statusOf(outside, set)).toMatch(/^0+$/);
      saveInside(outside, pid, `${image}.${generation + 1}`);
      process.kill(outside, 'SIGKILL');
      await gone(outside);
    }
    const others = ['--reuid', `${USER}`, '--regid', `${USER}`, '--groups', `${USER},1234`];
    const refused = spawnSync('setpriv', [...others, command, 'restart', `${image}.4`], { encoding: 'utf8' });
    expect(refused.stderr).toContain('had no number for 2 of its groups, and this command has other groups');
    expect(refused.status).toBe(1);
  },
  60_000,
);

test.skipIf(cannotTry)(
  'a user without capabilities restarts a program in the background, and saves it again',
  async () => {
    const { pid, image, ask } = await savedByUser();
    const restarted = asUser('restart', image, '--detach');
    expect(restarted.stdout).toMatch(/^\d+\n$/);
    const outside = Number(restarted.stdout);
    remember(outside);
    await ask(`2: ${pid} ${USER}`);
    const refused = asUser('checkpoint', String(outside), '--output', `${image}.2`);
    expect(refused.stderr).toContain(
      `where its pid is ${pid}: nsenter --mount --pid --user --preserve-credentials --target ${outside}`,
    );
    saveInside(outside, pid, `${image}.2`);
    // Whatever is left of the restart ends with the program.
    const reaper = Number(statusOf(outside, 'PPid'));
    remember(reaper);
    await ask(`3: ${pid} ${USER}`);
    process.kill(outside, 'SIGKILL');
    await gone(outside);
    await waitFor('the end of the namespace', () => !isAlive(reaper));
  },
);

test.skipIf(cannotTry)('a restart in a namespace of its own that is killed leaves nothing', async () => {
  const { folder, image } = await savedByUser();
  const pidFile = join(folder, 'pid');
  const restarted = start(folder, 'setpriv', [...AS_USER, command, 'restart', image, '--pid-file', pidFile]);
  const outside = Number(await waitFor('the pid file', () => readIfThere(pidFile)));
  remember(outside);
  process.kill(restarted.pid, 'SIGKILL');
  await waitFor('the end of the program', () => !isAlive(outside));
});

test.skipIf(cannotTry)(
  'no rights come from a namespace of its own: not capabilities, users or files',
  async () => {
    const folder = newFolder();
    chmodSync(folder, 0o777);
    const secret = join(folder, 'secret');
    writeFileSync(secret, 'secret', { mode: 0o600 });
    const readable = join(folder, 'readable');
    writeFileSync(readable, 'readable', { mode: 0o644 });
    const closed = join(folder, 'closed');
    mkdirSync(closed, { mode: 0o700 });
    writeFileSync(join(closed, 'inner'), 'inner');
    const cases: [string, string[], string, RegExp][] = [
      [
        'capability',
        [...AS_USER, '--inh-caps', '+net_raw', '--ambient-caps', '+net_raw'],
        '',
        /capPermitted, capInheritable|capPermitted/,
      ],
      ['user', ['--reuid', '0'], '', /this command's uid, gid, groups.* differ/],
      ['file', [...AS_USER], `exec 5<'${secret}'; `, /fd 5.*\n? *.*You may not read .*secret/],
      ['file to be written', [...AS_USER], `exec 5>'${readable}'; `, /You may not write .*readable/],
      ['folder', [...AS_USER], `exec 5<'${closed}'; `, /You may not read .*closed/],
      ['file in a folder', [...AS_USER], `exec 5<'${join(closed, 'inner')}'; `, /You may not read .*inner/],
      ['working directory', [...AS_USER], `cd '${closed}'; `, /You may not enter .*closed/],
    ];
    for (const [name, rights, open, reason] of cases) {
      // What a descriptor is open for is asked again: the shell has opened it as root.
      const { pid, output } = start(folder, 'bash', [
        '-c',
        `${open}exec setpriv ${rights.join(' ')} /usr/bin/perl -e 'sleep 1 while 1'`,
      ]);
      chownSync(output, USER, USER);
      await waitFor('perl', () => readIfThere(`/proc/${pid}/comm`) === 'perl\n');
      const image = join(folder, name);
      await saveAndEnd(pid, image);
      chownSync(image, USER, USER);
      const refused = asUser('restart', image);
      expect(refused.stderr).toMatch(reason);
      expect(refused.stderr).not.toContain('openat');
      expect(refused.status).toBe(1);
      expect(isAlive(pid)).toBe(false);
    }
  },
  60_000,
);

test.skipIf(process.getuid?.() !== 0)(
  'root with CAP_CHECKPOINT_RESTORE, CAP_SYS_PTRACE and CAP_NET_ADMIN alone saves and restarts threads, sockets and shared memory',
  async () => {
    const folder = newFolder();
    const three = ['--bounding-set', '-all,+checkpoint_restore,+sys_ptrace,+net_admin', '--inh-caps', '-all'];
    const proves = async (): Promise<void> => {
      mkdirSync(join(folder, 'ask'));
      await waitFor('the proof of the program', () => !existsSync(join(folder, 'ask')));
    };
    const { pid } = start(folder, 'setpriv', [...three, compiled('proves-its-state', ['-pthread'])]);
    await proves();
    const image = join(folder, 'image');
    const saved = spawnSync('setpriv', [...three, command, 'checkpoint', String(pid), '--output', image, '--kill']);
    expect(saved.stderr.toString()).toMatch(/^saved process/);
    await gone(pid);
    const restarted = spawnSync('setpriv', [...three, command, 'restart', image, '--detach'], { encoding: 'utf8' });
    expect(restarted.stdout).toBe(`${pid}\n`);
    remember(pid);
    await proves();
    expect(statusOf(pid, 'CapEff')).toBe('0000010000081000');
  },
);
