/** Choices about TCP connections, what stands in the way of bringing them back, and what a save leaves behind for that. */

import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { clientOf, freePort, locksLeft, Received } from '../support/connections.ts';
import {
  bringBack,
  isAlive,
  mustRun,
  newFolder,
  quicksave,
  run,
  said,
  saveAndEnd,
  start,
  waitFor,
} from '../support/harness.ts';

/** Accepts one client; says what recv(2) gives on it, again and again. */
const oneClient = `
import socket, sys
listener = socket.create_server(('127.0.0.1', int(sys.argv[1])))
client = listener.accept()[0]
print('ready', flush=True)
while True:
    try: data = client.recv(100)
    except OSError as error: print(error.strerror, flush=True); break
    if not data: print('the end', flush=True); break
    client.sendall(data.upper())
`;

async function startServer(): Promise<{ pid: number; port: number; output: string; folder: string; client: Socket }> {
  const folder = newFolder();
  const port = await freePort();
  const target = start(folder, 'python3', ['-c', oneClient, String(port)]);
  const client = await clientOf(port);
  await said(target.output, 'ready');
  return { ...target, port, folder, client };
}

test('with --tcp refuse a connected program is refused with both addresses, and goes on', async () => {
  const { pid, port, folder, client } = await startServer();
  const received = new Received(client);
  const result = await quicksave('checkpoint', String(pid), '--output', join(folder, 'image'), '--tcp', 'refuse');
  expect(result.status).toBe(1);
  expect(result.stderr).toMatch(
    new RegExp(`connected from 127\\.0\\.0\\.1:${port} to 127\\.0\\.0\\.1:${client.localPort}`),
  );
  client.write('a');
  await waitFor('the answer', () => received.text === 'A');
  client.destroy();
});

test('with --tcp close a connection comes back as one that was reset, and the summary says so', async () => {
  const { pid, folder, client, output } = await startServer();
  client.on('error', () => {});
  const image = join(folder, 'image');
  const saved = await mustRun('checkpoint', String(pid), '--output', image, '--kill', '--tcp', 'close');
  expect(saved.stderr).toMatch(/was connected to 127\.0\.0\.1:\d+: it comes back as a connection that was reset/);
  await waitFor('the end of the program', () => !isAlive(pid));
  expect(locksLeft()).toEqual([]);
  await bringBack(image);
  await said(output, 'Connection reset by peer');
});

test('words that are no choice are wrong usage', async () => {
  expect((await quicksave('checkpoint', '1', '--output', 'image', '--tcp', 'perhaps')).status).toBe(2);
});

test('a save with --kill is refused while a connection waits to be accepted', async () => {
  const { pid, port, folder, client } = await startServer();
  const second = await clientOf(port);
  const result = await quicksave('checkpoint', String(pid), '--output', join(folder, 'image'), '--kill');
  const who = `${process.pid} \\(.*, fd \\d+\\)`;
  expect(result.stderr).toMatch(
    new RegExp(`listens on 127\\.0\\.0\\.1:${port}, and a connection waits in it to be accepted \\(of ${who}\\)`),
  );
  const goesOn = await mustRun('checkpoint', String(pid), '--output', join(folder, 'image'));
  expect(goesOn.stderr).toMatch(/had a connection to be accepted: they are not in the image/);
  expect(isAlive(pid)).toBe(true);
  client.destroy();
  second.destroy();
});

test('a port that has been taken is refused before anything is made, and the connection waits on', async () => {
  const { pid, port, folder, client } = await startServer();
  const received = new Received(client);
  const image = join(folder, 'image');
  await saveAndEnd(pid, image);
  client.write('late');
  const thief = createServer(() => {});
  thief.listen(port, '127.0.0.1');
  await once(thief, 'listening');
  const result = await quicksave('restart', image, '--detach');
  expect(result.status).toBe(1);
  expect(result.stderr).toMatch(new RegExp(`bound to 127\\.0\\.0\\.1:${port}, and another program has that port`));
  thief.close();
  await once(thief, 'close');
  expect(locksLeft()).toHaveLength(1);
  await bringBack(image);
  await waitFor('the answer', () => received.text === 'LATE');
  client.destroy();
});

test('what a save has left for a restart that never comes is found by check and removed by cleanup', async () => {
  const { pid, folder, client } = await startServer();
  const received = new Received(client);
  await saveAndEnd(pid, join(folder, 'image'));
  const [table] = locksLeft();
  const { stdout } = await mustRun('check');
  expect(stdout.toString()).toContain(`${table}`);
  expect((await mustRun('cleanup')).stdout.toString()).toContain(`removed ${table}`);
  expect(locksLeft()).toEqual([]);
  expect((await mustRun('cleanup')).stdout.toString()).toContain('nothing is left');
  client.write('is anybody there?');
  await waitFor('the reset', () => received.error !== undefined);
});

/** A listener without room: its kernel does not answer those who ask next, until what waits is accepted. */
const busyServer = `
import os, socket, sys, time
listener = socket.socket()
listener.bind(('127.0.0.1', int(sys.argv[1])))
listener.listen(0)
fillers = []
while True:
    filler = socket.socket(); filler.setblocking(False); filler.connect_ex(('127.0.0.1', int(sys.argv[1]))); fillers.append(filler)
    time.sleep(0.05)
    with open('/proc/net/tcp') as table: states = [line.split()[3] for line in table if line.split()[2].endswith(':%04X' % int(sys.argv[1]))]
    if '02' in states: break
print('busy', flush=True)
while not os.path.exists('go'): time.sleep(0.01)
heard = set()
listener.settimeout(0.1)
while len(heard) < 2:
    try: client = listener.accept()[0]
    except socket.timeout: continue
    client.settimeout(0.1)
    try: word = client.recv(10).decode()
    except socket.timeout: fillers.append(client); continue
    if word: heard.add(word); client.sendall(word.upper().encode())
print('heard', *sorted(heard), flush=True)
`;

/** One thread stands in connect(2); a socket that does not block is to be polled. */
const twoAskers = `
import select, socket, sys
place = ('127.0.0.1', int(sys.argv[1]))
polled = socket.socket(); polled.setblocking(False)
assert polled.connect_ex(place) == 115
print('ready', flush=True)
waits = socket.socket(); waits.connect(place)
waits.sendall(b'waits'); print(waits.recv(10).decode(), flush=True)
select.select([], [polled], [])
assert polled.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
polled.setblocking(True); polled.sendall(b'polled'); print(polled.recv(10).decode(), flush=True)
`;

function linkIfThere(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

test('connections that have not been answered yet go on to wait, and are answered after a restart', async () => {
  const folder = newFolder();
  const port = await freePort();
  const server = start(folder, 'python3', ['-c', busyServer, String(port)]);
  await said(server.output, 'busy');
  const target = start(folder, 'python3', ['-c', twoAskers, String(port)]);
  await said(target.output, 'ready');
  const asking = (): number => {
    const folder = `/proc/${target.pid}/fd`;
    if (!existsSync(folder)) return 0;
    const sockets = readdirSync(folder).map((fd) => linkIfThere(join(folder, fd)));
    const rows = readFileSync('/proc/net/tcp', 'utf8')
      .split('\n')
      .map((row) => row.trim().split(/\s+/));
    return rows.filter(([, , , state, , , , , , inode]) => state === '02' && sockets.includes(`socket:[${inode}]`))
      .length;
  };
  await waitFor('both to ask', () => asking() === 2);
  const image = join(folder, 'image');
  await mustRun('checkpoint', String(target.pid), '--output', image);
  expect(asking()).toBe(2);
  await saveAndEnd(target.pid, image);
  await bringBack(image);
  await waitFor('both to ask again', () => asking() === 2);
  await saveAndEnd(target.pid, image);
  const back = run(['restart', image]);
  await waitFor('both to ask a third time', () => asking() === 2);
  writeFileSync(join(folder, 'go'), '');
  expect((await back.done).status).toBe(0);
  expect(readFileSync(target.output, 'utf8')).toBe('ready\nWAITS\nPOLLED\n');
  expect(await server.ended).toEqual({ status: 0, signal: null });
  expect(readFileSync(server.output, 'utf8')).toBe('busy\nheard polled waits\n');
});
