/** Real servers with connected clients outside of what is saved: nobody notices but by a delay. */

import { execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { clientOf, freePort, locksLeft, Received } from '../support/connections.ts';
import {
  bringBack,
  childrenOf,
  gone,
  has,
  mustRun,
  newFolder,
  readIfThere,
  remember,
  saveAndEnd,
  start,
  waitFor,
} from '../support/harness.ts';

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

const NGINX = `
daemon off; worker_processes 2; pid nginx.pid; error_log error.log;
events { worker_connections 64; }
http {
  access_log off; client_body_temp_path body; proxy_temp_path t1; fastcgi_temp_path t2; uwsgi_temp_path t3; scgi_temp_path t4;
  limit_req_zone $binary_remote_addr zone=known:1m rate=100000r/s;
  server {
    listen 127.0.0.1:PORT; root .; keepalive_timeout 600;
    location / { limit_req zone=known burst=1000 nodelay; }
    location /store/ { dav_methods PUT; }
  }
}
`;

test('nginx keeps its workers, idle clients, a download and an upload; then it reloads', async (context) => {
  if (!has('nginx')) context.skip('nginx is not installed');
  const folder = newFolder();
  const port = await freePort();
  // Its workers are another user's.
  chmodSync(folder, 0o755);
  mkdirSync(join(folder, 'store'));
  chmodSync(join(folder, 'store'), 0o777);
  writeFileSync(join(folder, 'page'), 'a page');
  const content = randomBytes(50_000_000);
  writeFileSync(join(folder, 'large'), content);
  writeFileSync(join(folder, 'nginx.conf'), NGINX.replace('PORT', String(port)));
  const server = start(folder, 'nginx', ['-p', folder, '-c', 'nginx.conf', '-e', 'error.log']);
  const connected = async () => {
    const client = await clientOf(port);
    return { client, received: new Received(client) };
  };
  const [idle, loading, storing] = [await connected(), await connected(), await connected()];
  const get = (name: string): string => `GET /${name} HTTP/1.1\r\nHost: x\r\n\r\n`;
  idle.client.write(get('page'));
  await waitFor('a page', () => idle.received.text.endsWith('a page'));
  loading.client.write(get('large'));
  await waitFor('the beginning of the download', () => loading.received.text.length > 100_000);
  loading.client.pause();
  storing.client.write('PUT /store/stored HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\nfirst half');
  await saveAndBringBack(server.pid, folder);
  const workers = childrenOf(server.pid);
  storing.client.write('second ...');
  loading.client.resume();
  idle.client.write(get('page'));
  await waitFor('the page again', () => idle.received.text.split('a page').length === 3);
  await waitFor('what was stored', () => storing.received.text.includes('201 Created'));
  expect(readFileSync(join(folder, 'store', 'stored'), 'utf8')).toBe('first halfsecond ...');
  const body = (): string => loading.received.text.slice(loading.received.text.indexOf('\r\n\r\n') + 4);
  await waitFor('the whole download', () => body().length >= content.length);
  expect(Buffer.from(body(), 'latin1').equals(content)).toBe(true);
  process.kill(server.pid, 'SIGHUP');
  await waitFor('other workers', () => {
    const now = childrenOf(server.pid);
    return now.length === 2 && !now.some((pid) => workers.includes(pid));
  });
  const late = await connected();
  late.client.write(get('page'));
  await waitFor('a page of the new workers', () => late.received.text.endsWith('a page'));
  process.kill(server.pid, 'SIGQUIT');
  await gone(server.pid);
  for (const { client } of [idle, loading, storing, late]) client.destroy();
}, 120_000);

/** Where Debian has the programs of its newest version. */
function postgresFolder(): string | undefined {
  const root = '/usr/lib/postgresql';
  const versions = existsSync(root) ? readdirSync(root) : [];
  const newest = versions.sort((a, b) => Number(b) - Number(a))[0];
  return newest === undefined ? undefined : join(root, newest, 'bin');
}

/** It refuses to run as root. */
const NOBODY = 65_534;
const asNobody = ['--reuid', String(NOBODY), '--regid', String(NOBODY), '--clear-groups'];

/**
 * The server, a client of it beside it over a UNIX socket, and the first process above both. The client reads what it is to do from a FIFO
 * that the first one keeps open.
 */
const DATABASE = `
exec 3<>commands
"$1/postgres" -D data -k "$PWD" -p "$2" -c listen_addresses=127.0.0.1 -c fsync=off -c shared_memory_type=sysv \\
  -c shared_buffers=16MB >log 2>&1 3>&- &
server=$!
until grep -qs 'ready to accept' log; do sleep 0.05; done
"$1/psql" -qAt -v ON_ERROR_STOP=1 -h "$PWD" -p "$2" -U nobody postgres -f commands >answers 2>&1 3>&- &
wait $server
`;

/** Fails, and does not wait, if nobody has the FIFO open. */
function sayTo(fifo: string, text: string): void {
  const fd = openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK);
  try {
    writeSync(fd, text);
  } finally {
    closeSync(fd);
  }
}

test('PostgreSQL keeps its sessions in the middle of transactions, over a UNIX socket and over TCP', async (context) => {
  const programs = postgresFolder();
  if (programs === undefined) return context.skip('PostgreSQL is not installed');
  const folder = newFolder();
  const port = String(await freePort());
  const at = (name: string): string => join(folder, name);
  chownSync(folder, NOBODY, NOBODY);
  const initdb = [join(programs, 'initdb'), '-N', '-A', 'trust', '-U', 'nobody', '-D', at('data')];
  execFileSync('setpriv', [...asNobody, ...initdb], { cwd: folder });
  execFileSync('setpriv', [...asNobody, 'mkfifo', at('commands')]);
  const tree = start(folder, 'setpriv', [...asNobody, 'bash', '-c', DATABASE, 'bash', programs, port]);
  const inside = {
    say: (text: string): void => sayTo(at('commands'), `${text}\n`),
    heard: (): string => readIfThere(at('answers')) ?? '',
  };
  await waitFor('the client inside', () => readIfThere(at('answers')) !== undefined);
  const client = ['-qAt', '-v', 'ON_ERROR_STOP=1', '-h', '127.0.0.1', '-p', port, '-U', 'nobody', 'postgres'];
  const psql = spawn(join(programs, 'psql'), client, { stdio: ['pipe', 'pipe', 'inherit'] });
  onTestFinished(() => void psql.kill());
  let answers = '';
  psql.stdout.on('data', (bytes: Buffer) => {
    answers += bytes.toString();
  });
  const outside = { say: (text: string): void => void psql.stdin.write(`${text}\n`), heard: () => answers };
  const hears = (who: typeof inside, text: string): Promise<unknown> =>
    waitFor(`${text} from PostgreSQL`, () => {
      if (who.heard().endsWith(`${text}\n`)) return true;
      if (/ERROR|FATAL|error:/.test(who.heard())) throw new Error(who.heard());
      return undefined;
    });

  inside.say('CREATE TABLE ledger (who text, amount int); CREATE TEMP TABLE mine AS SELECT 17 AS own;');
  inside.say("BEGIN; INSERT INTO ledger VALUES ('inside', 1); SELECT pg_advisory_lock(42) IS NULL;");
  await hears(inside, 'f');
  outside.say(
    "BEGIN; DECLARE numbers CURSOR FOR SELECT generate_series(1, 1000000); INSERT INTO ledger VALUES ('outside', 2);",
  );
  outside.say('FETCH 3 FROM numbers;');
  await hears(outside, '1\n2\n3');
  outside.say('SELECT pg_advisory_xact_lock(42) IS NULL;');
  const isWaiting = 'EXISTS (SELECT FROM pg_locks WHERE NOT granted)';
  inside.say(`DO $$ BEGIN WHILE NOT ${isWaiting} LOOP PERFORM pg_sleep(0.01); END LOOP; END $$; SELECT 'it waits';`);
  await hears(inside, 'it waits');
  await saveAndBringBack(tree.pid, folder);
  for (const pid of childrenOf(tree.pid)) remember(pid);
  expect(outside.heard()).toBe('1\n2\n3\n');
  inside.say('SELECT own, count(*) FROM mine, ledger GROUP BY own;');
  await hears(inside, '17|1');
  inside.say('COMMIT; SELECT pg_advisory_unlock(42);');
  await hears(inside, 't');
  await hears(outside, 'f');
  outside.say('FETCH 2 FROM numbers; COMMIT; SELECT sum(amount) FROM ledger;');
  await hears(outside, '4\n5\n3');
  expect(readFileSync(at('log'), 'utf8')).not.toMatch(/terminated|FATAL|PANIC|ERROR/);
  const server = Number(readFileSync(at('data/postmaster.pid'), 'utf8').split('\n')[0]);
  const all = [tree.pid, ...childrenOf(tree.pid)];
  process.kill(server, 'SIGINT');
  for (const pid of all) await gone(pid);
  expect(readFileSync(at('log'), 'utf8')).toContain('database system is shut down');
}, 120_000);
