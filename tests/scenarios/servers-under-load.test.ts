/** Real servers at work, with many clients outside of what is saved: no request fails. With QUICKSAVE_FULL more saves, larger and longer. */
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, chownSync, existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { clientOf, freePort, Received } from '../support/connections.ts';
import {
  bringBack,
  full,
  gone,
  has,
  mustRun,
  newFolder,
  readIfThere,
  saveAndEnd,
  start,
  waitFor,
} from '../support/harness.ts';
import { nodeVersions } from '../support/nodes.ts';

interface Run {
  readonly status: number | null;
  readonly text: string;
}

const runOnce = (program: string, words: readonly string[]): Promise<Run> =>
  new Promise((resolve) => {
    const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => (text += bytes));
    child.once('close', (status) => resolve({ status, text }));
  });

/** Runs a program of requests again and again until the saves are done: it must succeed each time. */
async function whileSaved(pid: number, folder: string, saves: number, request: () => Promise<Run>): Promise<Run[]> {
  let isDone = false;
  const ran: Run[] = [];
  const asking = (async () => {
    while (!isDone) ran.push(await request());
  })();
  try {
    for (let save = 0; save < saves; save++) {
      await mustRun('checkpoint', String(pid), '--output', join(folder, 'image'));
    }
  } finally {
    isDone = true;
    await asking;
  }
  return ran;
}

test('redis-benchmark has no failed request while redis is saved again and again', {
  timeout: 600_000,
}, async (context) => {
  if (!has('redis-benchmark') || !has('redis-server')) context.skip('redis-server is not installed');
  const folder = newFolder();
  const port = String(await freePort());
  const server = start(folder, 'redis-server', [
    '--port',
    port,
    '--bind',
    '127.0.0.1',
    '--save',
    '',
    '--appendonly',
    'no',
  ]);
  (await clientOf(Number(port))).destroy();
  const words = ['-p', port, '-t', 'set,get', '-n', '5000', '-c', '20', '-q'];
  const runs = await whileSaved(server.pid, folder, full ? 50 : 3, () => runOnce('redis-benchmark', words));
  for (const { status, text } of runs) {
    expect(text).toMatch(/SET: [\d.]+ requests per second[\s\S]*GET: [\d.]+ requests per second/);
    expect(text).not.toMatch(/error/i);
    expect(status).toBe(0);
  }
});

const NGINX = `
daemon off; worker_processes 2; pid nginx.pid; error_log error.log;
events { worker_connections 64; }
http {
  access_log off; client_body_temp_path t0; proxy_temp_path t1; fastcgi_temp_path t2; uwsgi_temp_path t3; scgi_temp_path t4;
  server { listen 127.0.0.1:PORT; root .; keepalive_timeout 600; keepalive_requests 100000000; }
}
`;

test('wrk has no failed request while nginx is saved again and again', { timeout: 600_000 }, async (context) => {
  if (!has('wrk') || !has('nginx')) context.skip('wrk or nginx is not installed');
  const folder = newFolder();
  // Its workers are another user's.
  chmodSync(folder, 0o755);
  const port = await freePort();
  writeFileSync(join(folder, 'page'), 'a page');
  writeFileSync(join(folder, 'nginx.conf'), NGINX.replace('PORT', String(port)));
  const server = start(folder, 'nginx', ['-p', folder, '-c', 'nginx.conf', '-e', 'error.log']);
  (await clientOf(port)).destroy();
  const words = ['-t', '1', '-c', '20', '-d', '3s', '--timeout', '30s', `http://127.0.0.1:${port}/page`];
  const runs = await whileSaved(server.pid, folder, full ? 50 : 3, () => runOnce('wrk', words));
  for (const { status, text } of runs) {
    expect(text).toMatch(/Requests\/sec: +[1-9]/);
    expect(text).not.toMatch(/Socket errors|Non-2xx/);
    expect(status).toBe(0);
  }
});

/** Where Debian has it. */
function pgbenchFolder(): string | undefined {
  const root = '/usr/lib/postgresql';
  const folders = existsSync(root) ? readdirSync(root).map((version) => join(root, version, 'bin')) : [];
  return folders.find((folder) => existsSync(join(folder, 'pgbench')));
}

const NOBODY = 65_534;
const asNobody = ['--reuid', String(NOBODY), '--regid', String(NOBODY), '--clear-groups'];

test.runIf(full)('pgbench has no error through five saves of PostgreSQL', { timeout: 600_000 }, async (context) => {
  const programs = pgbenchFolder();
  if (programs === undefined) return context.skip('PostgreSQL is not installed');
  const folder = newFolder();
  const port = String(await freePort());
  chownSync(folder, NOBODY, NOBODY);
  const initdb = [join(programs, 'initdb'), '-N', '-A', 'trust', '-U', 'nobody', '-D', join(folder, 'data')];
  execFileSync('setpriv', [...asNobody, ...initdb], { cwd: folder });
  const settings = ['listen_addresses=127.0.0.1', 'fsync=off', 'shared_memory_type=sysv', 'shared_buffers=16MB'];
  const server = start(folder, 'setpriv', [
    ...asNobody,
    ...[join(programs, 'postgres'), '-D', 'data', '-k', folder, '-p', port],
    ...settings.flatMap((one) => ['-c', one]),
  ]);
  await waitFor('PostgreSQL', () => readIfThere(server.output)?.includes('ready to accept'));
  const bench = (...words: string[]): Promise<Run> =>
    runOnce(join(programs, 'pgbench'), ['-h', '127.0.0.1', '-p', port, '-U', 'nobody', ...words, 'postgres']);
  expect(await bench('-i', '-q')).toMatchObject({ status: 0 });
  const runs = await whileSaved(server.pid, folder, 5, () => bench('-n', '-c', '4', '-t', '500'));
  for (const { status, text } of runs) {
    expect(text).toMatch(/number of transactions actually processed: 2000\/2000/);
    expect(text).not.toMatch(/error|aborted/i);
    expect(status).toBe(0);
  }
  process.kill(server.pid, 'SIGINT');
  await gone(server.pid);
});

const NODE_SERVER = `
const server = require('node:http').createServer((request, response) => response.end('answer to ' + request.url));
server.keepAliveTimeout = 600000;
server.on('upgrade', (request, socket) => {
  socket.write('HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: echo\\r\\n\\r\\n');
  let heard = 0;
  socket.on('data', (bytes) => socket.write(++heard + ':' + bytes));
});
server.listen(Number(process.argv[2]), '127.0.0.1');
`;

test.for(nodeVersions)(
  'a server of $name keeps 200 connections, half of which are no longer HTTP',
  async ({ program: node, missing }, context) => {
    if (missing !== undefined) context.skip(missing);
    const folder = newFolder();
    writeFileSync(join(folder, 'server.cjs'), NODE_SERVER);
    const port = await freePort();
    const server = start(folder, node, ['server.cjs', String(port)]);
    const clients = await Promise.all(Array.from({ length: 200 }, () => clientOf(port)));
    onTestFinished(() => {
      for (const client of clients) client.destroy();
    });
    const received = clients.map((client) => new Received(client));
    const isEcho = (index: number): boolean => index % 2 === 1;
    const all = (what: string, text: (index: number) => string): Promise<unknown> =>
      waitFor(what, () => received.every((one, index) => one.text.endsWith(text(index))));
    for (const [index, client] of clients.entries()) {
      const upgrade = isEcho(index) ? 'Connection: Upgrade\r\nUpgrade: echo\r\n' : '';
      client.write(`GET /${index} HTTP/1.1\r\nHost: x\r\n${upgrade}\r\n`);
    }
    await all('the first answers', (index) => (isEcho(index) ? 'Upgrade: echo\r\n\r\n' : `answer to /${index}`));
    for (const [index, client] of clients.entries()) if (isEcho(index)) client.write('before');
    await all('the first echoes', (index) => (isEcho(index) ? '1:before' : `answer to /${index}`));
    // Half a request, or what is sent while nobody is there.
    for (const [index, client] of clients.entries())
      if (!isEcho(index)) client.write(`GET /${index}/again HTTP/1.1\r\n`);
    const image = join(folder, 'image');
    await mustRun('checkpoint', String(server.pid), '--output', image);
    await saveAndEnd(server.pid, image);
    for (const [index, client] of clients.entries()) client.write(isEcho(index) ? 'behind' : 'Host: x\r\n\r\n');
    expect(await bringBack(image)).toBe(server.pid);
    await all('the last answers', (index) => (isEcho(index) ? '2:behind' : `answer to /${index}/again`));
    expect(received.filter(({ ended, error }) => ended || error !== undefined)).toEqual([]);
  },
);

const IRC = `
[Global]
Name = irc.example
Ports = PORT
Listen = 127.0.0.1
ServerUID = root
ServerGID = root
[Options]
DNS = no
Ident = no
PAM = no
`;

test('an IRC server keeps its users and their channel', { timeout: 60_000 }, async (context) => {
  if (!has('ngircd')) context.skip('ngircd is not installed');
  const folder = newFolder();
  const port = await freePort();
  writeFileSync(join(folder, 'ngircd.conf'), IRC.replace('PORT', String(port)));
  const server = start(folder, 'ngircd', ['--nodaemon', '--config', join(folder, 'ngircd.conf')]);
  const [ada, bob] = [await clientOf(port), await clientOf(port)];
  const heard = [ada, bob].map((client) => new Received(client));
  const hears = (index: 0 | 1, text: string): Promise<unknown> =>
    waitFor(`"${text}" from IRC`, () => heard[index]?.text.includes(text));
  ada.write('NICK ada\r\nUSER ada 0 * :Ada\r\nJOIN #room\r\n');
  await hears(0, ' 366 ada #room');
  bob.write('NICK bob\r\nUSER bob 0 * :Bob\r\nJOIN #room\r\n');
  await hears(0, 'JOIN :#room');
  await hears(1, ' 366 bob #room');
  const image = join(folder, 'image');
  ada.write('PRIVMSG #room :half a ');
  await mustRun('checkpoint', String(server.pid), '--output', image);
  await saveAndEnd(server.pid, image);
  ada.write('line\r\n');
  bob.write('PRIVMSG ada :to you alone\r\n');
  expect(await bringBack(image)).toBe(server.pid);
  await hears(1, 'PRIVMSG #room :half a line');
  await hears(0, 'PRIVMSG ada :to you alone');
  expect(heard.some(({ ended, error }) => ended || error !== undefined)).toBe(false);
  for (const client of [ada, bob]) client.destroy();
});

/** A packet of MQTT 3.1.1 of less than 128 bytes: what it is, and its parts, texts with their lengths before them. */
function mqtt(kind: number, ...parts: readonly (string | readonly number[])[]): Buffer {
  const body = parts.map((part) =>
    typeof part === 'string' ? Buffer.concat([Buffer.from([0, part.length]), Buffer.from(part)]) : Buffer.from(part),
  );
  const whole = Buffer.concat(body);
  return Buffer.concat([Buffer.from([kind, whole.length]), whole]);
}

/** With an acknowledgement (QoS 1). */
const publish = (id: number, text: string): Buffer => mqtt(0x32, 'news', [0, id], [...Buffer.from(text)]);

test('an MQTT broker keeps who has subscribed, and what is sent while it is away', {
  timeout: 60_000,
}, async (context) => {
  if (!has('mosquitto')) context.skip('mosquitto is not installed');
  const folder = newFolder();
  const port = await freePort();
  writeFileSync(join(folder, 'broker.conf'), `listener ${port} 127.0.0.1\nallow_anonymous true\nuser root\n`);
  const server = start(folder, 'mosquitto', ['-c', 'broker.conf']);
  const [reader, writer] = [await clientOf(port), await clientOf(port)];
  const heard = { reader: new Received(reader), writer: new Received(writer) };
  const hears = (who: 'reader' | 'writer', text: string): Promise<unknown> =>
    waitFor(`"${text}" from the broker`, () => heard[who].text.includes(text));
  reader.write(mqtt(0x10, 'MQTT', [4, 2, 0, 0], 'reader'));
  writer.write(mqtt(0x10, 'MQTT', [4, 2, 0, 0], 'writer'));
  reader.write(mqtt(0x82, [0, 1], 'news', [0]));
  await hears('reader', '\x90\x03\x00\x01\x00');
  writer.write(publish(1, 'before'));
  await hears('reader', 'before');
  await hears('writer', '\x40\x02\x00\x01');
  // The first half of a packet is there already.
  const half = publish(2, 'in two halves');
  writer.write(half.subarray(0, 9));
  const image = join(folder, 'image');
  await mustRun('checkpoint', String(server.pid), '--output', image);
  await saveAndEnd(server.pid, image);
  writer.write(Buffer.concat([half.subarray(9), publish(3, 'while it was away')]));
  expect(await bringBack(image)).toBe(server.pid);
  await hears('reader', 'in two halves');
  await hears('reader', 'while it was away');
  await hears('writer', '\x40\x02\x00\x03');
  expect(Object.values(heard).some(({ ended, error }) => ended || error !== undefined)).toBe(false);
  for (const client of [reader, writer]) client.destroy();
});

const DOWN_MS = 60_000;

/** Whoever has sent something sends it again after longer and longer times: up to as long again as nobody was there. */
test.runIf(full)(
  'connections go on when the server has been away for a minute',
  { timeout: 300_000 },
  async (context) => {
    if (!has('redis-server')) context.skip('redis-server is not installed');
    const folder = newFolder();
    const port = await freePort();
    const server = start(folder, 'redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '']);
    const [busy, idle] = [await clientOf(port), await clientOf(port)];
    const received = [busy, idle].map((client) => new Received(client));
    busy.write('SET key value\r\n');
    await waitFor('an answer', () => received[0]?.text === '+OK\r\n');
    const image = join(folder, 'image');
    await saveAndEnd(server.pid, image);
    busy.write('GET key\r\n');
    const since = Date.now();
    await waitFor('a minute', () => Date.now() - since > DOWN_MS, 2 * DOWN_MS);
    expect(await bringBack(image)).toBe(server.pid);
    idle.write('GET key\r\n');
    await waitFor('the answers', () => received.every(({ text }) => text.endsWith('$5\r\nvalue\r\n')), 3 * DOWN_MS);
    expect(received.some(({ ended, error }) => ended || error !== undefined)).toBe(false);
    for (const client of [busy, idle]) client.destroy();
  },
);
