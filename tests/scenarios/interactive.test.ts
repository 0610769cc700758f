/** Programs with a terminal, and a Node program with children: all of them go on as if nothing had been. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  bringBack,
  gone,
  has,
  mustRun,
  newFolder,
  quicksave,
  readIfThere,
  said,
  saveAndEnd,
  start,
  waitFor,
} from '../support/harness.ts';

test('tmux with a shell and an editor in it', async (context) => {
  const missing = ['tmux', 'vim', 'bash'].find((program) => !has(program));
  if (missing !== undefined) context.skip(`${missing} is not installed`);
  const folder = newFolder();
  const socket = join(folder, 'socket');
  const tmux = (...args: string[]): string =>
    execFileSync('tmux', ['-S', socket, ...args], { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' });
  const type = (...keys: string[]): void => void tmux('send-keys', ...keys);
  const shows = (text: string): Promise<true> =>
    waitFor(`${text} on the screen`, () => (tmux('capture-pane', '-p').includes(text) ? true : undefined));
  const server = start(folder, 'env', ['-u', 'TMUX', 'TERM=screen', 'tmux', '-D', '-f', '/dev/null', '-S', socket]);
  await waitFor('the server', () => (existsSync(socket) ? true : undefined));
  tmux('new-session', '-d', '-x', '80', '-y', '24', '-c', folder, 'bash --norc --noprofile');
  await shows('bash-');
  type('variable=kept; vim -u NONE -n text', 'Enter');
  await shows('~');
  type('iwritten before');
  await shows('written before');

  const image = join(folder, 'image');
  await mustRun('checkpoint', String(server.pid), '--output', image);
  type('!');
  await shows('written before!');
  await saveAndEnd(server.pid, image);
  await bringBack(image);

  await shows('written before!');
  type(' And after', 'Escape', ':wq', 'Enter');
  await waitFor('the file', () => readIfThere(join(folder, 'text')) === 'written before! And after\n');
  type('echo it is $variable', 'Enter');
  await shows('it is kept');
  type('exit', 'Enter');
  await waitFor('the session to end', () => tmux('list-sessions', '-F', 'is #{session_name}') === '');
  tmux('kill-server');
  await gone(server.pid);
});

const parent = `
import { fork, spawn } from 'node:child_process';
import { appendFileSync, existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
const me = fileURLToPath(import.meta.url);
if (!isMainThread) {
  let count = 0;
  parentPort.on('message', () => parentPort.postMessage(++count));
} else if (process.argv[2] === 'child') {
  let count = 0;
  process.on('message', () => process.send(++count));
} else {
  const answers = { child: 0, worker: 0, cat: 0 };
  const heard = (name, count) => {
    if (count !== answers[name] + 1) console.log('lost or doubled: ' + name + ' ' + count);
    answers[name] = count;
  };
  const child = fork(me, ['child']);
  const worker = new Worker(me);
  const cat = spawn('cat', []);
  child.on('message', (count) => heard('child', count));
  worker.on('message', (count) => heard('worker', count));
  let rest = '';
  cat.stdout.on('data', (bytes) => {
    const lines = (rest + bytes).split('\\n');
    rest = lines.pop();
    for (const line of lines) heard('cat', Number(line));
  });
  let sent = 0;
  const step = setInterval(() => {
    sent++;
    child.send('count');
    worker.postMessage('count');
    cat.stdin.write(sent + '\\n');
    if (sent === 50) console.log('ready');
    if (!existsSync('go')) return;
    clearInterval(step);
    const wait = setInterval(() => {
      if (Object.values(answers).some((count) => count !== sent)) return;
      clearInterval(wait);
      console.log('all answered');
      cat.stdin.end();
      cat.on('exit', (status) => {
        console.log('cat ' + status);
        child.disconnect();
        child.on('exit', () => process.exit(7));
      });
    }, 5);
  }, 5);
}
`;

test('Node with a forked child, a worker thread and another program', async () => {
  const folder = newFolder();
  const script = join(folder, 'parent.mjs');
  writeFileSync(script, parent);
  const { pid, output } = start(folder, process.execPath, [script]);
  await said(output, 'ready');
  const image = join(folder, 'image');
  await mustRun('checkpoint', String(pid), '--output', image);
  await saveAndEnd(pid, image);
  writeFileSync(join(folder, 'go'), '');
  const { status } = await quicksave('restart', image);
  expect(readFileSync(output, 'utf8')).toBe('ready\nall answered\ncat 0\n');
  expect(status).toBe(7);
});
