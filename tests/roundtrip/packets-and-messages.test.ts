/** What raw, packet, ICMP and netlink sockets need of the host: rights, numbers, and the groups that may ping. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import {
  bringBack,
  command,
  compiled,
  has,
  isAlive,
  newFolder,
  quicksave,
  readIfThere,
  said,
  saveAndEnd,
  start,
  type Target,
  waitFor,
} from '../support/harness.ts';

const RANGE = '/proc/sys/net/ipv4/ping_group_range';
const range = readFileSync(RANGE, 'latin1');
afterAll(() => writeFileSync(RANGE, range));

interface Pinging {
  readonly folder: string;
  readonly image: string;
  readonly target: Target;
}

async function pinging(): Promise<Pinging> {
  writeFileSync(RANGE, '0 2147483647');
  const folder = newFolder();
  const target = start(folder, compiled('packets-and-messages'));
  await said(target.output, 'ready, with ping');
  return { folder, image: join(folder, 'image'), target };
}

async function verdict({ folder, target }: Pinging): Promise<string> {
  writeFileSync(join(folder, 'go'), '');
  return waitFor('a verdict', () => /^(ok|not ok.*)$/m.exec(readIfThere(target.output) ?? '')?.[0]);
}

test('three restarts keep sockets of ICMP, connected and bound, of IPv4 and IPv6', async () => {
  const all = await pinging();
  for (let cycle = 0; cycle < 3; cycle++) {
    await saveAndEnd(all.target.pid, all.image);
    expect(await bringBack(all.image)).toBe(all.target.pid);
  }
  expect(await verdict(all)).toBe('ok');
});

test('what the host does not give is refused before anything is made', async () => {
  const all = await pinging();
  const { pid } = all.target;
  await saveAndEnd(pid, all.image);
  writeFileSync(RANGE, '1 0');
  const holder = start(all.folder, 'python3', [
    '-c',
    `import socket, time; s = socket.socket(16, 3, 2); s.bind((${pid}, 0)); print("holds", flush=True); time.sleep(600)`,
  ]);
  await said(holder.output, 'holds');
  const { status, stderr } = await quicksave('restart', all.image, '--detach');
  expect(status).toBe(1);
  expect(stderr).toMatch(/an ICMP socket of .*, which only who has a group of net\.ipv4\.ping_group_range may make/);
  expect(stderr).toMatch(new RegExp(`NETLINK_USERSOCK, number ${pid}\\), and another program has that number`));
  expect(isAlive(pid)).toBe(false);
  process.kill(holder.pid, 'SIGKILL');
  await waitFor('the number to be free', () => !isAlive(holder.pid));
  writeFileSync(RANGE, '0 2147483647');
  expect(await bringBack(all.image)).toBe(pid);
  expect(await verdict(all)).toBe('ok');
});

test.skipIf(!has('setpriv') || process.getuid?.() !== 0)(
  'a restart without CAP_NET_RAW says what needs it',
  async () => {
    const all = await pinging();
    const { pid } = all.target;
    await saveAndEnd(pid, all.image);
    const words = ['--bounding-set', '-net_raw', '--inh-caps', '-net_raw', command, 'restart', all.image, '--detach'];
    const { status, stderr } = spawnSync('setpriv', words, { encoding: 'utf8' });
    expect(status).toBe(1);
    expect(stderr).toMatch(/a raw socket of IP protocol 58, which only who has CAP_NET_RAW may make/);
    expect(stderr).toMatch(/a packet socket, which only who has CAP_NET_RAW may make/);
    expect(isAlive(pid)).toBe(false);
  },
);
