/** The command as a person meets it: what it prints where, and its exit status. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  command,
  compiled,
  gone,
  mustRun,
  newFolder,
  openTerminal,
  quicksave,
  remember,
  run,
  said,
  start,
} from '../support/harness.ts';

const ESCAPE = '\u001b';

const largeProgram = `
import os, time
block = os.urandom(300 << 20)
print('ready', flush=True)
time.sleep(600)
`;

async function sleeper(): Promise<{ folder: string; pid: number }> {
  const folder = newFolder();
  const { pid, output } = start(folder, compiled('busy-threads'));
  await said(output, 'ready');
  return { folder, pid };
}

test('a save says one line on standard error and nothing else', async () => {
  const { folder, pid } = await sleeper();
  const { status, stdout, stderr } = await quicksave('checkpoint', String(pid), '-o', join(folder, 'image'));
  expect(status).toBe(0);
  expect(stdout.toString()).toBe('');
  expect(stderr).toMatch(
    /^saved process \d+: 9 threads, \d+ pages, \d+\.\d [KM]iB, pause \d+\.\d ms, (\d+ ms|[\d.]+ s) in all\n$/,
  );
});

test('a save on a terminal shows how far it is', async () => {
  const folder = newFolder();
  writeFileSync(join(folder, 'program.py'), largeProgram);
  const target = start(folder, 'python3', ['program.py']);
  await said(target.output, 'ready');
  const terminal = openTerminal(folder);
  terminal.type(`${process.execPath} ${command} checkpoint ${target.pid} --compress zstd:9 -o image\n`);
  await terminal.shows(/saving \d+: \d+ %, \d+ of 3\d\d MiB, \d+ MiB\/s/);
  await terminal.shows(/saved process \d+: 1 thread/);
});

test('a check is coloured on a terminal, and nowhere else or where colours are not wanted', async () => {
  const terminal = openTerminal(newFolder());
  const line = `${process.execPath} ${command} check`;
  terminal.type(`TERM=xterm ${line}\n`);
  await terminal.shows(new RegExp(`${ESCAPE}\\[32myes${ESCAPE}\\[0m`));
  terminal.type(`TERM=xterm NO_COLOR=1 ${line}; echo pl''ain; TERM=xterm ${line} > file\n`);
  const [shown] = await terminal.shows(/Linux[\s\S]*plain/);
  expect(shown).not.toContain(`${ESCAPE}[3`);
  terminal.type("cat file; echo d''one\n");
  const [kept] = await terminal.shows(/Linux[\s\S]*done/);
  expect(kept).toContain('yes');
  expect(kept).not.toContain(`${ESCAPE}[3`);
});

test('a check of this host says that it can save and restart', async () => {
  const { status, stdout } = await quicksave('check');
  expect(status, stdout.toString()).toBe(0);
  const found = JSON.parse((await quicksave('check', '--json')).stdout.toString());
  expect(found).toMatchObject({ canCheckpoint: true, canRestart: true });
});

test('a check of a process that can be saved is clean', async () => {
  const { pid } = await sleeper();
  const { status, stdout } = await quicksave('check', String(pid), '--json');
  expect(JSON.parse(stdout.toString())).toMatchObject({ pid, problems: [] });
  expect(status).toBe(0);
});

test('a check of a process that cannot be saved names the descriptor and what to do', async () => {
  const folder = newFolder();
  const script =
    'import socket,time;a=socket.socket(socket.AF_NETLINK,socket.SOCK_RAW,12);print("ready",flush=True);time.sleep(600)';
  const target = start(folder, 'python3', ['-c', script]);
  await said(target.output, 'ready');
  const { status, stdout } = await quicksave('check', String(target.pid));
  expect(status).toBe(1);
  expect(stdout.toString()).toMatch(/fd 3[\s\S]*socket:\[\d+\]/);
});

test('an error is a sentence for a person, and data with --json; where it comes from is told with --debug only', async () => {
  const folder = newFolder();
  const image = join(folder, 'missing');
  const plain = await quicksave('inspect', image, '--json');
  expect(plain.status).toBe(1);
  expect(plain.stderr).toMatch(
    /^quicksave: The image .*missing cannot be opened: it does not exist\.\n {2}.*\[cannot-read\]\n$/,
  );
  expect(JSON.parse(plain.stdout.toString())).toEqual({
    error: {
      code: 'cannot-read',
      message: expect.stringContaining(image),
      remedy: expect.stringMatching(/./),
      problems: [],
    },
  });
  const debugged = await quicksave('--debug', 'checkpoint', String(2 ** 22 + 1), '-o', join(folder, 'image'));
  expect(debugged.status).toBe(1);
  expect(debugged.stderr).toContain('[no-such-process]');
  expect(debugged.stderr).toMatch(/^ {2}QuicksaveError: There is no process .*\n {6}at /m);
  expect(debugged.stderr).toContain('quicksave check --json');
});

test('a refusal with --json has every problem with its code and remedy, and --debug the calls before it', async () => {
  const folder = newFolder();
  const script =
    'import socket,time;a=socket.socket(socket.AF_NETLINK,socket.SOCK_RAW,12);print("ready",flush=True);time.sleep(600)';
  const target = start(folder, 'python3', ['-c', script]);
  await said(target.output, 'ready');
  const image = join(folder, 'image');
  const { status, stdout, stderr } = await quicksave(
    'checkpoint',
    String(target.pid),
    '-o',
    image,
    '--json',
    '--debug',
  );
  expect(status).toBe(1);
  const { error } = JSON.parse(stdout.toString());
  expect(error).toMatchObject({
    code: 'refused',
    problems: [{ code: 'netlink-socket', path: [`pid ${target.pid}`, 'fd 3', expect.stringMatching(/^socket:/)] }],
  });
  expect(stderr).toContain(`${error.problems[0].remedy} [netlink-socket]`);
  expect(stderr).toMatch(/^ {2}[a-z_0-9]+\(.*\) = \S+$/m);
  const saved = await quicksave('checkpoint', String(target.pid), '-o', '-', '--json');
  expect([saved.status, JSON.parse(saved.stdout.toString()).error.code]).toEqual([2, 'wrong-usage']);
});

test('a save, a verification and a restart tell what they have done as data with --json', async () => {
  const { folder, pid } = await sleeper();
  const image = join(folder, 'image');
  const dataOf = async (...words: string[]): Promise<unknown> => {
    const { status, stdout, stderr } = await quicksave(...words, '--json');
    expect([status, stderr.split('\n')[1] ?? '']).toEqual([0, '']);
    return JSON.parse(stdout.toString());
  };
  const saved = await dataOf('checkpoint', String(pid), '-o', image, '--kill');
  expect(saved).toMatchObject({ pid, processes: 1, threads: 9, killed: true, remarks: [] });
  const { imageBytes } = saved as { imageBytes: number };
  expect(await dataOf('inspect', image)).not.toHaveProperty('timeline.resumedUs');
  expect(await dataOf('verify', image)).toMatchObject({ pid, threads: 9, imageBytes, isEncrypted: false });
  await gone(pid);
  expect(await dataOf('restart', image, '--detach')).toMatchObject({ pid, processes: 1, threads: 9 });
  remember(pid);
});

/** Names of fields, at whatever depth; but what has changed is itself as inspect has it. */
function fieldsIn(data: unknown): string[] {
  if (typeof data !== 'object' || data === null) return [];
  if ('path' in data && ('a' in data || 'b' in data)) return Object.keys(data);
  return Object.entries(data).flatMap(([name, value]) => [...(Array.isArray(data) ? [] : [name]), ...fieldsIn(value)]);
}

test('every field that a command prints with --json is documented with it', async () => {
  const { folder, pid } = await sleeper();
  const [a, b] = [join(folder, 'a'), join(folder, 'b')];
  const job = join(folder, 'job');
  const documented = readFileSync(new URL('../../docs/json.md', import.meta.url), 'utf8').split('\n## ');
  const check = async (...args: readonly string[]): Promise<void> => {
    const { stdout } = await quicksave(...args, '--json');
    const title = `\`${args[0]}${args[0] === 'check' && args.length > 1 ? ' PID' : ''} `;
    const section = documented.find((text) => text.startsWith(title)) ?? '';
    const data = stdout
      .toString()
      .split(/\n(?=\{)/)
      .map((one) => JSON.parse(one));
    expect(data.flatMap(fieldsIn).length, args.join(' ')).toBeGreaterThan(4);
    expect(
      data.flatMap(fieldsIn).filter((name) => !section.includes(`\`${name}\``)),
      args.join(' '),
    ).toEqual([]);
  };
  await check('checkpoint', String(pid), '-o', a);
  await mustRun('checkpoint', String(pid), '-o', b);
  await check('verify', a);
  await check('diff', a, b);
  await check('check');
  await check('check', '1');
  await check('version');
  await mustRun('run', '--dir', job, '--', 'true');
  await check('status', job);
  await check('history', job);
});

test('an image tells when the steps of its save were over', async () => {
  const { folder, pid } = await sleeper();
  const image = join(folder, 'image');
  const { stdout } = await mustRun('checkpoint', String(pid), '-o', image, '--json');
  const { pauseMs, totalMs } = JSON.parse(stdout.toString()) as { pauseMs: number; totalMs: number };
  const { timeline } = JSON.parse((await mustRun('inspect', image, '--json')).stdout.toString());
  expect((timeline.resumedUs - timeline.stoppingUs) / 1000).toBeCloseTo(pauseMs, 2);
  const { stoppingUs, stoppedUs, collectedUs, securedUs, writtenUs } = timeline;
  const moments = [0, stoppingUs, stoppedUs, collectedUs, securedUs, writtenUs, totalMs * 1000];
  expect(moments.filter((moment, index) => moment <= (moments[index - 1] ?? -1))).toEqual([]);
});

test('an image is inspected by name and from a pipe alike', async () => {
  const { folder, pid } = await sleeper();
  const image = join(folder, 'image');
  await quicksave('checkpoint', String(pid), '-o', image);
  const byName = await quicksave('inspect', image, '--json');
  const piped = execFileSync('bash', ['-c', `cat '${image}' | '${process.execPath}' '${command}' inspect - --json`]);
  const [named, streamed] = [JSON.parse(byName.stdout.toString()), JSON.parse(piped.toString())];
  // Its arguments are in its memory, and a pipe cannot be read twice.
  const [{ command: words }] = named.processes;
  expect(words).toEqual([compiled('busy-threads')]);
  delete named.processes[0].command;
  expect(streamed).toEqual(named);
  expect(streamed).toMatchObject({ processes: [{ pid }] });
});

test.each([
  ['plain', [], []],
  ['encrypted', ['--encrypt', 'secret'], ['--key', 'secret']],
])('of an image that was cut, %s, inspect shows what there is, by name and from a pipe', async (_, encrypt, key) => {
  const { folder, pid } = await sleeper();
  const image = join(folder, 'image');
  const cut = join(folder, 'cut');
  const inFolder = (options: readonly string[]) => options.map((one) => (one === 'secret' ? join(folder, one) : one));
  if (encrypt.length > 0) await mustRun('keygen', join(folder, 'secret'));
  await mustRun('checkpoint', String(pid), '-o', image, '--compress', 'none', ...inFolder(encrypt));
  const bytes = readFileSync(image);
  writeFileSync(cut, bytes.subarray(0, bytes.length - 100_000));
  const whole = JSON.parse((await mustRun('inspect', image, '--json', ...inFolder(key))).stdout.toString());

  const found = await quicksave('inspect', cut, '--json', ...inFolder(key));
  const told = /^quicksave: The image ends .*\n {2}Shown is what comes before that.*\[cut-image\]\n$/;
  const cutShort = { status: 1, stderr: expect.stringMatching(told) };
  expect(found).toMatchObject(cutShort);
  const part = JSON.parse(found.stdout.toString());
  expect(part.cut).toMatchObject({ code: 'cut-image', atByte: expect.any(Number) });
  expect(part.processes[0].threads).toEqual(whole.processes[0].threads);
  expect(part.processes[0].descriptors).toEqual(whole.processes[0].descriptors);
  expect(part.sizes.pages.dataPages).toBeLessThan(whole.sizes.pages.dataPages);

  const piped = await run(['inspect', '-', ...inFolder(key)], { stdin: readFileSync(cut) }).done;
  expect(piped).toMatchObject(cutShort);
  expect(piped.stdout.toString()).toMatch(/^cut +it breaks off at byte \d+; shown is what comes before\n/);
  const task = await run(['inspect', '-', '--task', String(pid), ...inFolder(key)], { stdin: readFileSync(cut) }).done;
  expect(task).toMatchObject(cutShort);
  expect(task.stdout.toString()).toContain(`thread ${pid} (busy-threads)`);

  const page = await quicksave('inspect', cut, '--strings', '--json', ...inFolder(key));
  expect(page).toMatchObject(cutShort);
  for (const args of [
    ['verify', cut],
    ['restart', cut],
    ['report', cut, '-o', join(folder, 'page')],
  ]) {
    expect(await quicksave(...args, ...inFolder(key))).toMatchObject({ status: 1, stdout: Buffer.alloc(0) });
  }
});

test('it does not save itself, nor the shell that waits for it', () => {
  const folder = newFolder();
  const inShell = (script: string): string =>
    spawnSync('bash', ['-c', script.replaceAll('QUICKSAVE', `'${process.execPath}' '${command}'`)], {
      encoding: 'utf8',
      cwd: folder,
    }).stderr;
  expect(inShell('exec QUICKSAVE checkpoint $$ -o image')).toBe(
    'quicksave: quicksave cannot save itself.\n  Give the pid of another process. [own-process]\n',
  );
  expect(inShell('QUICKSAVE checkpoint $$ -o image; true')).toMatch(/started this command and waits for it/);
  expect(readdirSync(folder)).toEqual([]);
});

test.each([
  [['checkpoint', '-o', 'x'], /give the process to save: its id, or --self/],
  [['checkpoint', '1'], /required option '-o, --output <file>' not specified/],
  [['checkpoint', '1', '-o', 'x', '--compress', 'gzip'], /--compress takes auto, none, zstd or zstd:LEVEL/],
  [['restart', 'x', '--files', 'maybe'], /--files takes refuse or accept-changed/],
  [['frobnicate'], /unknown command 'frobnicate'/],
])('wrong usage has status 2: quicksave %j', async (args, sentence) => {
  const { status, stderr } = await quicksave(...args);
  expect(status).toBe(2);
  expect(stderr).toMatch(sentence);
});
