// A web server that takes seconds to be ready is warmed up once, saved, and brought back in a fraction of that time, as often as it is wanted.
//
//     node examples/warm-server.mjs [WARM_UP_MS]
import { spawn } from 'node:child_process';
import { mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkpoint, restart } from 'quicksave';

const warmUpMs = Number(process.argv[2] ?? 5000);
const folder = mkdtempSync(join(tmpdir(), 'quicksave-example-'));
const port = await freePort();

// Routes as in Express. What takes so long (templates, a model, a cache) is here a table.
writeFileSync(
  join(folder, 'server.mjs'),
  `
import { createServer } from 'node:http';
const routes = new Map();
const app = { get: (path, answer) => routes.set(path, answer) };
const table = new Map();
const end = performance.now() + ${warmUpMs};
for (let word = 0; performance.now() < end; word++) if (word % 1000 === 0) table.set('word' + word, word * word);
let requests = 0;
app.get('/size', () => ({ size: table.size, requests: ++requests }));
createServer((request, response) => {
  const answer = routes.get(request.url);
  response.statusCode = answer === undefined ? 404 : 200;
  response.end(JSON.stringify(answer?.() ?? null));
}).listen(${port}, '127.0.0.1');
`,
);

const nothing = openSync('/dev/null', 'r+');
const cold = performance.now();
// What a shell may have left open would stand in the way. The rings (io_uring) of Node 22 and newer can be saved as root.
const closing = 'for fd in $(ls /proc/$$/fd); do [ $fd -gt 2 ] && eval "exec $fd>&-"; done; exec "$0" "$@"';
const child = spawn('bash', ['-c', closing, process.execPath, 'server.mjs'], {
  cwd: folder,
  detached: true,
  stdio: [nothing, nothing, nothing],
});
const ended = new Promise((resolve) => child.once('exit', resolve));
const first = await answered();
const coldMs = performance.now() - cold;

const image = join(folder, 'image');
await checkpoint(child.pid, image, { kill: true });
await ended;

const warm = performance.now();
const { pid, exited } = await restart(image, { streams: [nothing, nothing, nothing] });
const second = await answered();
const warmMs = performance.now() - warm;
process.kill(pid);
await exited();
rmSync(folder, { recursive: true });

if (second.size !== first.size || second.requests !== first.requests + 1) throw new Error('it is another server');
console.log(`started in ${coldMs.toFixed(0)} ms, brought back in ${warmMs.toFixed(0)} ms: ${JSON.stringify(second)}`);

/** What the server says, as soon as it does. */
async function answered() {
  for (;;) {
    const text = await new Promise((resolve) => {
      get({ host: '127.0.0.1', port, path: '/size', agent: false }, async (response) => {
        resolve((await response.toArray()).join(''));
      }).on('error', () => resolve(undefined));
    });
    if (text !== undefined) return JSON.parse(text);
    await sleep(5);
  }
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const found = server.address().port;
  await new Promise((resolve) => server.close(resolve));
  return found;
}
