/** What cannot be saved is refused with a sentence, and the target is as it was. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  command,
  compiled,
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
  waitFor,
} from '../support/harness.ts';

const save = (pid: number | string, folder: string): ReturnType<typeof quicksave> =>
  quicksave('checkpoint', String(pid), '--output', join(folder, 'image'));

async function expectRefusal(pid: number | string, sentence: RegExp): Promise<void> {
  const folder = newFolder();
  const result = await save(pid, folder);
  expect(result.status).toBe(1);
  expect(result.stderr).toMatch(sentence);
  expect(result.stderr).not.toMatch(/\bat .*\.js:/);
  expect(readdirSync(folder)).toEqual([]);
}

test('a pid that nobody has is refused', () => expectRefusal(4194303, /There is no process 4194303/));

test('words that are no pid are wrong usage', async () => {
  const result = await save('seven', newFolder());
  expect(result.status).toBe(2);
  expect(result.stderr).toContain('"seven" is not a process id');
});

test('a process that is being traced is refused with the tracer named', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('traced-child'));
  await said(target.output, 'ready');
  const child = Number(/ready (\d+)/.exec(readFileSync(target.output, 'utf8'))?.[1]);
  remember(child);
  await expectRefusal(child, new RegExp(`being traced by ${target.pid} `));
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
});

test('a thread id is refused with the process named', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('busy-threads'));
  await said(target.output, 'ready');
  const [, thread] = readdirSync(`/proc/${target.pid}/task`);
  await expectRefusal(Number(thread), new RegExp(`is a thread of process ${target.pid}`));
});

test('all reasons are given at once', async () => {
  const folder = newFolder();
  const script =
    'import ctypes,socket,time\na=socket.socket(socket.AF_NETLINK,socket.SOCK_RAW,12)\nassert ctypes.CDLL(None).fanotify_init(4,0)>=0\n';
  writeFileSync(join(folder, 'program.py'), `${script}print("ready",flush=True)\ntime.sleep(600)\n`);
  const target = start(folder, 'python3', ['program.py']);
  await said(target.output, 'ready');
  const result = await save(target.pid, folder);
  expect(result.status).toBe(1);
  expect(result.stderr).toMatch(/netlink socket/);
  expect(result.stderr).toMatch(/fanotify/);
  expect(isAlive(target.pid)).toBe(true);
});

test('threads that are born while it is being stopped are saved or the target goes on', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('births'));
  await said(target.output, 'ready');
  for (let round = 0; round < 10; round++) {
    const result = await save(target.pid, folder);
    if (result.status === 0) await mustRun('verify', join(folder, 'image'));
    expect(result.status, result.stderr).toBe(0);
  }
  await saveAndEnd(target.pid, join(folder, 'image'));
  const back = run(['restart', join(folder, 'image')]);
  writeFileSync(join(folder, 'go'), '');
  expect((await back.done).status).toBe(0);
  expect(readIfThere(target.output)).toContain('ok');
});

test('children that are born and end while the tree is looked at are nobody outside', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('short-lived-children'));
  await said(target.output, 'ready');
  for (let round = 0; round < 5; round++) {
    const result = await save(target.pid, folder);
    expect(result.status, result.stderr).toBe(0);
    const checked = await quicksave('check', String(target.pid));
    expect(checked.status, String(checked.stdout)).toBe(0);
  }
  await saveAndEnd(target.pid, join(folder, 'image'));
  const back = run(['restart', join(folder, 'image')]);
  writeFileSync(join(folder, 'go'), '');
  expect((await back.done).status).toBe(0);
  expect(readIfThere(target.output)).toContain('ok');
});

test('a program that executes another in mid-save goes on', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('executes-itself'));
  await said(target.output, 'ready');
  for (let round = 0; round < 15; round++) {
    const result = await save(target.pid, folder);
    if (result.status !== 0) expect(result.stderr).toMatch(/^quicksave: [A-Z].*\.\n/);
    expect(result.stderr).not.toContain('inside quicksave');
    expect(isAlive(target.pid)).toBe(true);
  }
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
});

test('a program that ends in mid-save gives a sentence', async () => {
  for (const rest of ['0.08', '0.1', '0.12', '0.15']) {
    const folder = newFolder();
    const target = start(folder, 'sleep', [rest]);
    const result = await save(target.pid, folder);
    if (result.status !== 0) {
      expect(result.stderr).toMatch(/^quicksave: [A-Z].*\.\n/);
      expect(result.stderr).not.toContain('inside quicksave');
    }
    await target.ended;
  }
});

test('a full disk leaves no image and the target goes on', async (context) => {
  const folder = newFolder();
  const target = start(folder, compiled('busy-threads'));
  await said(target.output, 'ready');
  const disk = join(folder, 'disk');
  execFileSync('mkdir', [disk]);
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', disk]).status !== 0) {
    context.skip('a file system cannot be mounted here');
  }
  try {
    const result = await quicksave('checkpoint', String(target.pid), '--output', join(disk, 'image'));
    expect(result.status).toBe(1);
    expect(result.stderr).toMatch(/no space left|ENOSPC/i);
    expect(readdirSync(disk)).toEqual([]);
  } finally {
    execFileSync('umount', [disk]);
  }
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
});

test('the reason for a refusal reaches whoever reads the stream', async () => {
  const folder = newFolder();
  const script =
    'import socket,time\na=socket.socket(socket.AF_NETLINK,socket.SOCK_RAW,12)\nprint("ready",flush=True)\ntime.sleep(600)\n';
  writeFileSync(join(folder, 'program.py'), script);
  const target = start(folder, 'python3', ['program.py']);
  await said(target.output, 'ready');
  const saved = await quicksave('checkpoint', String(target.pid), '-o', '-');
  expect(saved.status).toBe(1);
  const restart = await run(['restart', '-'], { stdin: saved.stdout }).done;
  expect(restart.status).toBe(1);
  expect(restart.stderr).toMatch(/The checkpoint that wrote this image failed: .*socket:\[/);
  expect(isAlive(target.pid)).toBe(true);
});

test('a reader that goes away leaves the target running', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('memory-kinds'));
  await said(target.output, 'ready');
  const save = `'${process.execPath}' '${command}' checkpoint ${target.pid} --kill -o - 2> '${folder}/says'; echo $? >> '${folder}/says'`;
  execFileSync('bash', ['-c', `{ ${save}; } | head -c 100000 > /dev/null`]);
  const says = readFileSync(join(folder, 'says'), 'utf8');
  expect(says).toMatch(/^quicksave: .*EPIPE.*\.\n/);
  expect(says).toMatch(/^1$/m);
  writeFileSync(join(folder, 'go'), '');
  expect(await target.ended).toEqual({ status: 0, signal: null });
});

test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
  '%s in mid-save leaves the target running and no image',
  async (signal) => {
    const folder = newFolder();
    const target = start(folder, compiled('memory-kinds'), ['256']);
    await said(target.output, 'ready');
    const before = readdirSync(folder);
    const save = run(['checkpoint', String(target.pid), '--kill', '--compress=zstd:9', '-o', join(folder, 'image')]);
    await waitFor('the target to be frozen', () => tracerOf(target.pid) === save.pid);
    save.kill(signal);
    const result = await save.done;
    expect(result).toMatchObject({
      status: 1,
      stderr:
        `quicksave: The save was interrupted; process ${target.pid} goes on, and no image was made.\n` +
        '  Run the command again. [interrupted]\n',
    });
    expect(readdirSync(folder)).toEqual(before);
    writeFileSync(join(folder, 'go'), '');
    expect(await target.ended).toEqual({ status: 0, signal: null });
  },
);

const tracerOf = (pid: number): number =>
  Number(/^TracerPid:\s*(\d+)/m.exec(readIfThere(`/proc/${pid}/status`) ?? '')?.[1]);

test('a pid that is in use is refused by name at the restart', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('busy-threads'));
  await said(target.output, 'ready');
  const image = join(folder, 'image');
  await mustRun('checkpoint', String(target.pid), '--output', image);
  const result = await quicksave('restart', image, '--detach');
  expect(result.status).toBe(1);
  expect(result.stderr).toContain(`in use by ${target.pid} (busy-threads)`);
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
});

test('a file that has changed behind a mapping or descriptor is refused, and all at once', async () => {
  const folder = newFolder();
  const program = join(folder, 'program');
  execFileSync('cp', [compiled('busy-threads'), program]);
  const target = start(folder, program);
  await said(target.output, 'ready');
  const image = join(folder, 'image');
  await saveAndEnd(target.pid, image);
  writeFileSync(program, 'something else');
  writeFileSync(target.output, '');
  const result = await quicksave('restart', image, '--detach');
  expect(result.status).toBe(1);
  expect(result.stderr).toContain(`${program} has changed`);
  expect(result.stderr).toContain(`${target.output} has changed`);
});

test('a counter and an interest list that another process has too are refused with its name', async () => {
  const folder = newFolder();
  const script = `
import os, select, subprocess, sys, time
counter = os.eventfd(1)
interest = select.epoll()
os.set_inheritable(interest.fileno(), True)
orphan = ['sh', '-c', 'sleep 600 > /dev/null & echo $!']
other = int(subprocess.run(orphan, pass_fds=[counter, interest.fileno()], stdout=subprocess.PIPE).stdout)
print('ready', other, flush=True)
time.sleep(600)
`;
  writeFileSync(join(folder, 'program.py'), script);
  const target = start(folder, 'python3', ['program.py']);
  await said(target.output, 'ready');
  const other = Number(/ready (\d+)/.exec(readFileSync(target.output, 'utf8'))?.[1]);
  remember(other);
  await waitFor('sleep', () => readIfThere(`/proc/${other}/comm`) === 'sleep\n');
  const result = await save(target.pid, folder);
  expect(result.status).toBe(1);
  expect(result.stderr).toMatch(new RegExp(`an eventfd open that ${other} \\(sleep, fd \\d+\\) has too`));
  expect(result.stderr).toMatch(new RegExp(`an epoll open that ${other} \\(sleep, fd \\d+\\) has too`));
  expect(isAlive(target.pid)).toBe(true);
});

test('an entry whose file the process has no more is refused, and what is ready stays so', async () => {
  const folder = newFolder();
  const script = `
import os, select, subprocess, time
reading, writing = os.pipe()
interest = select.epoll()
interest.register(reading, select.EPOLLIN)
other = subprocess.Popen(['sleep', '600'], stdin=reading, start_new_session=True)
os.close(reading)
print('ready', other.pid, flush=True)
while not os.path.exists('go'): time.sleep(0.01)
os.write(writing, b'x')
print('ok' if len(interest.poll(0)) == 1 else 'not ok', flush=True)
`;
  writeFileSync(join(folder, 'program.py'), script);
  const target = start(folder, 'python3', ['program.py']);
  await said(target.output, 'ready');
  remember(Number(/ready (\d+)/.exec(readFileSync(target.output, 'utf8'))?.[1]));
  const result = await save(target.pid, folder);
  expect(result.status).toBe(1);
  expect(result.stderr).toMatch(/It watches what was descriptor \d+ once/);
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
});

test('a stream that cannot be watched as the old one was ends the restart with a sentence', async () => {
  const folder = newFolder();
  const script = `
import os, select, subprocess
reading, writing = os.pipe()
subprocess.run(['sh', '-c', 'setsid sleep 600 & echo $! > other'], stdout=writing)
os.close(writing)
os.dup2(reading, 0)
os.close(reading)
interest = select.epoll()
interest.register(0, select.EPOLLIN)
print('ready', flush=True)
interest.poll(600)
`;
  writeFileSync(join(folder, 'program.py'), script);
  const { pid, output } = start(folder, 'python3', ['program.py']);
  await said(output, 'ready');
  remember(Number(readFileSync(join(folder, 'other'), 'utf8')));
  const image = join(folder, 'image');
  await saveAndEnd(pid, image);
  const result = await quicksave('restart', image, '--detach');
  expect(result.status).toBe(1);
  expect(result.stderr).toMatch(/watches descriptor 0, which is now a file or device that cannot be watched/);
  expect(readIfThere(`/proc/${pid}/stat`)).toBe(undefined);
});
