/** Real servers with connected clients outside of what is saved: nobody notices but by a delay. */
import { createHash, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { clientOf, freePort, locksLeft, Received } from '../support/connections.ts';
import { bringBack, has, mustRun, newFolder, saveAndEnd, start, waitFor } from '../support/harness.ts';

/** Saved in place and, ended and brought back, in the middle of whatever it does. */
async function saveAndBringBack(pid: number, folder: string, cycles = 1): Promise<void> {
  const image = join(folder, 'image');
  for (let cycle = 0; cycle < cycles; cycle++) {
    await mustRun('checkpoint', String(pid), '--output', image);
    await saveAndEnd(pid, image);
    expect(locksLeft()).toHaveLength(1);
    expect(await bringBack(image)).toBe(pid);
    expect(locksLeft()).toEqual([]);
  }
}

test.for([
  ['IPv4', '127.0.0.1'],
  ['IPv6', '::1'],
] as const)(
  'redis over %s answers every command of a pipeline once, in order, through saves and restarts',
  { timeout: 120_000 },
  async ([, host], context) => {
    if (!has('redis-server')) context.skip('redis-server is not installed');

    const folder = newFolder();
    const port = await freePort(host);
    const options = ['--port', String(port), '--bind', host, '--io-threads', '1', '--save', '', '--appendonly', 'no'];
    const server = start(folder, 'redis-server', options);
    const client = await clientOf(port, host);
    const received = new Received(client);
    const idle = await clientOf(port, host);
    const idleReceived = new Received(idle);
    let asked = 0;
    const LEAST = 10_000;
    const flow = setInterval(() => {
      client.write('INCR counter\r\n'.repeat(100));
      asked += 100;
    }, 10);
    try {
      await saveAndBringBack(server.pid, folder);
      await waitFor('enough commands', () => asked >= LEAST);
    } finally {
      clearInterval(flow);
    }
    const answers = (): string[] => received.text.split('\r\n').slice(0, -1);
    await waitFor(
      'all answers',
      () => answers().length >= asked || received.ended || received.error !== undefined,
      60_000,
    );
    expect(received.error).toBe(undefined);
    expect(answers()).toEqual(Array.from({ length: asked }, (__, index) => `:${index + 1}`));
    idle.write('PING\r\n');
    await waitFor('an answer on the idle connection', () => idleReceived.text === '+PONG\r\n');
    client.destroy();
    idle.destroy();
  },
);

test('a download from python3 http.server goes on, and its checksum is right', async () => {
  const folder = newFolder();
  const content = randomBytes(50_000_000);
  writeFileSync(join(folder, 'large'), content);
  const port = await freePort();
  const server = start(folder, 'python3', ['-m', 'http.server', '--bind', '127.0.0.1', String(port)]);
  const client = await clientOf(port);
  const digest = createHash('sha256');
  let head = '';
  let length = 0;
  /** The reader stops there, and the server waits for room. */
  let limit = 5_000_000;
  client.on('data', (bytes) => {
    let body = bytes;
    if (!head.includes('\r\n\r\n')) {
      head += bytes.toString('latin1');
      const end = head.indexOf('\r\n\r\n');
      if (end < 0) return;
      body = Buffer.from(head.slice(end + 4), 'latin1');
      head = head.slice(0, end + 4);
    }
    length += body.length;
    digest.update(body);
    if (length > limit) client.pause();
  });
  client.write('GET /large HTTP/1.0\r\n\r\n');
  await waitFor('the reader to stop', () => length > limit);
  await saveAndBringBack(server.pid, folder);
  limit = content.length;
  client.resume();
  await waitFor('the whole download', () => length >= content.length, 60_000);
  expect(head).toContain('200 OK');
  expect(digest.digest('hex')).toBe(createHash('sha256').update(content).digest('hex'));
  client.destroy();
}, 120_000);

test('memcached keeps its clients and what they have stored', async (context) => {
  if (!has('memcached')) context.skip('memcached is not installed');
  const folder = newFolder();
  const port = await freePort();
  const server = start(folder, 'memcached', [
    '-u',
    'root',
    '-l',
    '127.0.0.1',
    '-p',
    String(port),
    '-U',
    '0',
    '-t',
    '2',
  ]);
  const clients = await Promise.all(Array.from({ length: 20 }, () => clientOf(port)));
  const received = clients.map((client) => new Received(client));
  for (const [index, client] of clients.entries())
    client.write(`set key${index} 0 0 6\r\nvalue${index % 10}\r\nget key`);
  await waitFor('the answers', () => received.every(({ text }) => text === 'STORED\r\n'));
  await saveAndBringBack(server.pid, folder);
  // The second half of a command that was cut in two by the saves.
  for (const [index, client] of clients.entries()) client.write(`${index}\r\n`);
  const stored = (index: number): string => `STORED\r\nVALUE key${index} 0 6\r\nvalue${index % 10}\r\nEND\r\n`;
  await waitFor('the values', () => received.every(({ text }, index) => text.length >= stored(index).length));
  expect(received.map(({ text }) => text)).toEqual(received.map((__, index) => stored(index)));
  for (const client of clients) client.destroy();
}, 120_000);
