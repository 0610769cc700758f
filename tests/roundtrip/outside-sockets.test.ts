/** UNIX sockets and pipes whose other ends are outside of what is saved: --external and --close-external. */
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type * as Library from '../../src/index.ts';
import {
  bringBack,
  compiled,
  gone,
  isAlive,
  mustRun,
  newFolder,
  quicksave,
  readIfThere,
  said,
  saveAndEnd,
  start,
  type Target,
  waitFor,
} from '../support/harness.ts';

const entry = new URL('../../dist/index.js', import.meta.url).href;
const { check, checkpoint } = (await import(entry)) as typeof Library;

interface Connected {
  readonly folder: string;
  readonly image: string;
  readonly target: Target;
  readonly server: Target;
  /** Of all that it is connected to. */
  readonly names: readonly string[];
  /** Connects everything again. */
  readonly external: readonly string[];
}

async function connected(flags: readonly string[] = []): Promise<Connected> {
  const folder = newFolder();
  copyFileSync(join(import.meta.dirname, '../programs/outside-server.py'), join(folder, 'server.py'));
  const server = start(folder, 'python3', ['server.py']);
  await said(server.output, 'ready');
  const target = start(folder, compiled('outside-sockets', flags), [String(server.pid)]);
  await said(target.output, 'ready');
  const names = [join(folder, 'served'), join(folder, 'log'), `@quicksave outside ${server.pid}`];
  const external = names.flatMap((name) => ['--external', name]);
  return { folder, image: join(folder, 'image'), target, server, names, external };
}

async function verdict({ folder, target }: Connected): Promise<string> {
  writeFileSync(join(folder, 'go'), '');
  return waitFor('a verdict', () => /^(ok|not ok.*)$/m.exec(readIfThere(target.output) ?? '')?.[0]);
}

async function end(server: Target): Promise<void> {
  process.kill(server.pid, 'SIGKILL');
  await gone(server.pid);
}

test('who talks to a server outside passes without a checkpointer', async () => {
  expect(await verdict(await connected())).toBe('ok');
});

test('who talked to a server that has ended passes without a checkpointer', async () => {
  const all = await connected(['-DCLOSED']);
  await end(all.server);
  expect(await verdict(all)).toBe('ok');
});

test('with --external three restarts connect to the server again, which has heard nothing but an end', async () => {
  const all = await connected();
  expect(check(all.target.pid, { external: all.names }).problems).toEqual([]);
  for (let cycle = 0; cycle < 3; cycle++) {
    if (cycle === 1) await mustRun('checkpoint', String(all.target.pid), '--output', all.image, ...all.external);
    const { stderr: saved } = await mustRun(
      'checkpoint',
      String(all.target.pid),
      '--output',
      all.image,
      '--kill',
      ...all.external,
    );
    expect(saved).toMatch(/descriptor \d+ is connected to .*served outside: a restart connects it again$/m);
    if (cycle === 0) expect(saved).toMatch(/a restart connects it again, without what waits in it$/m);
    await gone(all.target.pid);
    expect(await bringBack(all.image)).toBe(all.target.pid);
  }
  expect(await verdict(all)).toBe('ok');
});

test('with --close-external three restarts find all closed, and what waited is there', async () => {
  const all = await connected(['-DCLOSED']);
  const pid = String(all.target.pid);
  const { stderr: saved } = await mustRun('checkpoint', pid, '--output', all.image, '--kill', '--close-external');
  expect(saved).toMatch(/is a socket whose other end is outside: a restart finds that closed/);
  expect(saved).toMatch(/is a pipe of which others have ends too: a restart finds those closed/);
  await gone(all.target.pid);
  expect(await bringBack(all.image)).toBe(all.target.pid);
  for (let cycle = 0; cycle < 2; cycle++) {
    await saveAndEnd(all.target.pid, all.image);
    expect(await bringBack(all.image)).toBe(all.target.pid);
  }
  expect(isAlive(all.server.pid)).toBe(true);
  expect(await verdict(all)).toBe('ok');
});

test('a save with --close-external that lets the program go on closes nothing', async () => {
  const all = await connected();
  const pid = String(all.target.pid);
  for (let round = 0; round < 2; round++) await mustRun('checkpoint', pid, '--output', all.image, '--close-external');
  expect(await verdict(all)).toBe('ok');
});

test('without them each is refused, with the name of the server and what to give', async () => {
  const all = await connected(['-DCLOSED']);
  const refusedBy = async (...options: string[]): Promise<string> => {
    const result = await quicksave('checkpoint', String(all.target.pid), '--output', all.image, ...options);
    expect(result.status).toBe(1);
    return result.stderr;
  };
  const sentence = await refusedBy();
  expect(sentence).toMatch(new RegExp(`other end ${all.server.pid} \\(python3, fd \\d+\\) holds`));
  expect(sentence).toMatch(/--external served \(a restart connects it again\) or --close-external/);
  expect(sentence).toMatch(/It has a pipe open that .*\n.*--close-external/);
  // The library says and does the same.
  expect(check(all.target.pid).problems.map(({ code }) => code)).toContain('socket-to-outside');
  expect(check(all.target.pid, { closeExternal: true }).problems).toEqual([]);
  expect((await quicksave('check', String(all.target.pid), '--close-external')).stdout.toString()).not.toMatch(
    /--external/,
  );
  await expect(checkpoint(all.target.pid, all.image, { external: [''] })).rejects.toMatchObject({
    code: 'wrong-usage',
  });
  const { remarks } = await checkpoint(all.target.pid, all.image, { closeExternal: true });
  expect(remarks.filter((one) => one.includes('a restart finds'))).not.toEqual([]);
  // A name that nothing is connected to changes nothing.
  expect(await refusedBy('--external', join(all.folder, 'slower'))).toMatch(/--external served/);
  expect((await quicksave('checkpoint', '1', '--output', 'image', '--external', '')).status).toBe(2);
  await end(all.server);
  expect(await verdict(all)).toBe('ok');
});

test('a restart without the server is refused before anything is made', async () => {
  const all = await connected();
  const { target, image, external } = all;
  await mustRun('checkpoint', String(target.pid), '--output', image, '--kill', ...external);
  await gone(target.pid);
  await end(all.server);
  const result = await quicksave('restart', image, '--detach');
  expect(result.status).toBe(1);
  expect(result.stderr).toMatch(/connected to .*\/served outside .*where no such socket is now/);
  expect(result.stderr).toMatch(new RegExp(`connected to @quicksave outside ${all.server.pid} outside`));
  expect(isAlive(target.pid)).toBe(false);
});

/** Accepts when it is told to go on; says what each connection has, and how it goes on. */
const lateServer = `
import os, socket, time
listener = socket.socket(socket.AF_UNIX); listener.bind('late'); listener.listen(); listener.settimeout(0.5)
print('ready', flush=True)
while not os.path.exists('go'): time.sleep(0.01)
heard = []
while True:
    try: end = listener.accept()[0]
    except socket.timeout: break
    end.settimeout(0.3)
    try: heard.append(end.recv(99).decode() + '+' + end.recv(99).decode())
    except socket.timeout: heard.append('open')
print('heard', *heard, flush=True)
`;
const client = `
import socket, time
s = socket.socket(socket.AF_UNIX); s.connect('late'); s.send(b'hello')
print('ready', flush=True)
time.sleep(600)
`;

test('a connection of another that waits to be accepted is refused by its name, or comes back as closed', async () => {
  const folder = newFolder();
  const image = join(folder, 'image');
  const server = start(folder, 'python3', ['-c', lateServer]);
  await said(server.output, 'ready');
  const other = start(folder, 'python3', ['-c', client]);
  await said(other.output, 'ready');
  const pid = String(server.pid);
  const refused = await quicksave('checkpoint', pid, '--output', image, '--kill');
  expect(refused.status).toBe(1);
  expect(refused.stderr).toMatch(new RegExp(`A connection of ${other.pid} \\(python3, fd \\d+\\), outside`));
  expect(refused.stderr).toMatch(/--close-external \(it comes back as closed by the other end\)/);
  expect(check(server.pid).problems.map(({ code }) => code)).toEqual(['pending-connection']);
  const saved = await mustRun('checkpoint', pid, '--output', image, '--kill', '--close-external');
  expect(saved.stderr).toMatch(/has a connection of others that waits to be accepted: a restart finds it closed/);
  await gone(server.pid);
  for (let cycle = 0; cycle < 2; cycle++) {
    expect(await bringBack(image)).toBe(server.pid);
    await saveAndEnd(server.pid, image);
  }
  await bringBack(image);
  writeFileSync(join(folder, 'go'), '');
  await said(server.output, 'heard hello+');
  expect(isAlive(other.pid)).toBe(true);
});

test('a connection that waits in a listener of another is made again with --external', async () => {
  const folder = newFolder();
  const image = join(folder, 'image');
  const server = start(folder, 'python3', ['-c', lateServer]);
  await said(server.output, 'ready');
  const target = start(folder, 'python3', ['-c', client]);
  await said(target.output, 'ready');
  const refused = await quicksave('checkpoint', String(target.pid), '--output', image);
  expect(refused.stderr).toMatch(new RegExp(`whose other end ${server.pid} \\(python3, fd \\d+\\) holds`));
  await mustRun('checkpoint', String(target.pid), '--output', image, '--kill', '--external', join(folder, 'late'));
  await gone(target.pid);
  await bringBack(image);
  writeFileSync(join(folder, 'go'), '');
  // What it has sent is with the server, on the first.
  await said(server.output, 'heard hello+ open');
});
