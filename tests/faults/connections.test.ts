/** Choices about TCP connections, what stands in the way of bringing them back, and what a save leaves behind for that. */

import { once } from 'node:events';
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
  expect(result.stderr).toMatch(new RegExp(`listens on 127\\.0\\.0\\.1:${port}, and a connection waits in it`));
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
