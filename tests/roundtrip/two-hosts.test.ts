/** From one host to another: through a pipe into ssh, and with ssh:// as the name of an image. */
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  childrenOf,
  command,
  compiled,
  full,
  gone,
  isAlive,
  newFolder,
  remember,
  said,
  start,
  stateOf,
  type Target,
  waitFor,
} from '../support/harness.ts';
import { type Finished, hasTwoHosts, makeTwoHosts, type TwoHosts } from '../support/two-hosts.ts';

/** More than a pipe and the windows of a connection hold. */
const ballastMiB = 12;
const MEBIBYTE = 1024 * 1024;

let hosts: TwoHosts;

beforeAll(async () => {
  if (hasTwoHosts) hosts = await makeTwoHosts();
});

afterAll(async () => {
  if (hasTwoHosts) await hosts.stop();
});

async function started(folder: string): Promise<Target> {
  const target = start(folder, 'nsenter', [...hosts.atNear, compiled('thread-state')], { ballastMiB });
  await said(target.output, 'ready');
  return target;
}

/** A command line of quicksave at the near host. */
const quicksave = (...args: string[]): string => [command, ...args].map(quoted).join(' ');

const quoted = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;

const save = (pid: number, address: string): string =>
  quicksave('checkpoint', String(pid), '--output', address, '--compress', 'none', '--kill');

async function mustRun(line: string): Promise<string> {
  const { status, stdout, stderr } = await hosts.run(line).done;
  if (status !== 0) throw new Error(`${line} ended with ${status}: ${stderr}`);
  return stdout;
}

const partials = (folder: string): string[] => readdirSync(folder).filter((name) => name.includes('.partial'));

describe.skipIf(!hasTwoHosts)('between two hosts (needs Debian openssh-server, iproute2, and root)', () => {
  test('a program moves to another host through a pipe into ssh', async () => {
    const folder = newFolder();
    const target = await started(folder);
    const { status, stdout, stderr } = await hosts.run(
      `set -o pipefail; ${quicksave('checkpoint', String(target.pid), '-o', '-', '--kill')} | ssh far ${command} restart - --detach`,
    ).done;
    expect(stderr).toMatch(/^restarted process/m);
    expect({ status, stdout }).toEqual({ status: 0, stdout: `${target.pid}\n` });
    await gone(target.pid);
    expect(hosts.networks.far).not.toBe(hosts.networks.near);
    expect(await mustRun(`ssh far readlink /proc/${target.pid}/ns/net`)).toBe(`${hosts.networks.far}\n`);
    writeFileSync(join(folder, 'go'), '');
    await said(target.output, 'ok');
  });

  test('an image goes to another host by name, and comes from there, whatever the name is', async () => {
    const folder = newFolder();
    const target = await started(folder);
    const trace = `trace-of-${basename(folder)}`;
    const name = `-it's $(touch ${trace})\`touch ${trace}\`;touch ${trace};"\\ é&|!.qs`;
    const address = `ssh://far${folder}/${encodeURIComponent(name)}`;
    await mustRun(save(target.pid, address));
    await gone(target.pid);
    expect(readdirSync(folder).includes(name)).toBe(true);
    expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
    expect(partials(folder)).toEqual([]);
    for (const one of [folder, homedir(), process.cwd()]) expect(existsSync(join(one, trace))).toBe(false);
    if (full) expect(await mustRun(quicksave('verify', address))).toMatch(/^intact/);
    const back = Number(await mustRun(quicksave('restart', address, '--detach')));
    remember(back);
    expect(back).toBe(target.pid);
    writeFileSync(join(folder, 'go'), '');
    await said(target.output, 'ok');
  });

  test('what cannot be done is told in one sentence, and the program goes on', async () => {
    const folder = newFolder();
    const target = await started(folder);
    mkdirSync(join(folder, 'there'));
    const told = async (line: string, env?: Record<string, string>): Promise<string> => {
      const { status, stderr }: Finished = await hosts.run(line, env).done;
      expect(status).toBe(1);
      expect(stderr.trim().split('\n')).toHaveLength(2);
      return stderr;
    };
    const to = (address: string): string => save(target.pid, address);
    expect(await told(to(`ssh://far${folder}/none/image`))).toMatch(/does not exist on far.*\n.*\[no-folder]/);
    expect(await told(to(`ssh://far${folder}/there`))).toMatch(/no file.*\n.*\[cannot-write]/);
    expect(await told(to('ssh://far/proc/image'))).toMatch(/cannot be written on far.*\n.*\[cannot-write]/);
    expect(await told(to(`ssh://stranger${folder}/image`))).toMatch(/Permission denied.*\n.*\[remote-denied]/);
    expect(await told(to(`ssh://far:1${folder}/image`))).toMatch(/refused.*\n.*\[remote-unreachable]/);
    expect(await told(quicksave('restart', `ssh://far${folder}/image`))).toMatch(/no file.*\n.*\[remote-missing]/);
    expect(isAlive(target.pid)).toBe(true);
    expect(partials(folder)).toEqual([]);
  });

  test('a connection that breaks off in the middle leaves nothing at the other end, and the program goes on', async () => {
    const folder = newFolder();
    const target = await started(folder);
    const release = join(folder, 'release');
    const held = hosts.run(save(target.pid, `ssh://far${folder}/image`), {
      HOLD_INPUT: String(3 * MEBIBYTE),
      RELEASE: release,
    });
    await waitFor('half of an image', () => sizesOf(folder).some((size) => size > 2 * MEBIBYTE));
    hosts.cut();
    writeFileSync(release, '');
    const { status, stderr } = await held.done;
    expect(stderr).toMatch(/broke off.*\n.*\[connection-lost]\n$/);
    expect(status).toBe(1);
    await waitFor('the far end to clear away', () => partials(folder).length === 0);
    expect(existsSync(join(folder, 'image'))).toBe(false);
    writeFileSync(join(folder, 'go'), '');
    await said(target.output, 'ok');
  });

  test('the command killed in the middle leaves nothing at the other end, and the program goes on', async () => {
    const folder = newFolder();
    const target = await started(folder);
    const release = join(folder, 'release');
    const line = `exec ${save(target.pid, `ssh://far${folder}/image`)}`;
    const held = hosts.run(line, { HOLD_INPUT: String(3 * MEBIBYTE), RELEASE: release });
    await waitFor('half of an image', () => sizesOf(folder).some((size) => size > 2 * MEBIBYTE));
    const couriers = childrenOf(held.pid);
    process.kill(held.pid, 'SIGKILL');
    await held.done;
    writeFileSync(release, '');
    for (const one of couriers) await gone(one);
    expect(couriers).toHaveLength(1);
    expect(partials(folder)).toEqual([]);
    expect(existsSync(join(folder, 'image'))).toBe(false);
    writeFileSync(join(folder, 'go'), '');
    await said(target.output, 'ok');
  });

  test('a restart whose connection breaks off leaves no process', async () => {
    const folder = newFolder();
    const target = await started(folder);
    const address = `ssh://far${folder}/image`;
    await mustRun(save(target.pid, address));
    await gone(target.pid);
    const release = join(folder, 'release');
    const env = { HOLD_OUTPUT: String(3 * MEBIBYTE), RELEASE: release };
    const held = hosts.run(quicksave('restart', address, '--detach'), env);
    await waitFor('the half-made process', () => stateOf(target.pid) !== undefined);
    hosts.cut();
    writeFileSync(release, '');
    const { status, stderr } = await held.done;
    expect(stderr).toMatch(/broke off.*\n.*\[connection-lost]\n$/);
    expect(status).toBe(1);
    expect(stateOf(target.pid)).toBeUndefined();
  });
});

/** Of images that are not whole yet. */
const sizesOf = (folder: string): number[] => partials(folder).map((name) => statSync(join(folder, name)).size);
