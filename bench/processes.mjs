// What the benchmark runs: targets, the command, the references; and how nothing of it is left behind.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, statSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..');
export const MEBIBYTE = 1024 * 1024;
const command = join(root, 'bin', 'quicksave');
const programs = join(root, 'bench', 'programs');

/** Pid and start time, so that a number that somebody else has by now is left alone. */
const started = new Map();
const folders = new Map();

process.on('exit', cleanUp);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => process.exit(128 + constants.signals[signal]));
}

/** Ends what still runs and removes what was made. The next question begins anew. */
export function cleanUp() {
  for (const pid of started.keys()) endIfAlive(pid);
  for (const folder of folders.values()) rmSync(folder, { recursive: true, force: true });
  started.clear();
  folders.clear();
}

function folderIn(base) {
  if (!folders.has(base)) folders.set(base, mkdtempSync(join(base, 'quicksave-bench-')));
  return folders.get(base);
}

/** In memory, whatever the temporary folder is: a disk is not what is measured. */
const inMemory = (name) => join(folderIn('/dev/shm'), name);

function compiled(name) {
  const binary = join(folderIn(tmpdir()), name);
  if (!existsSync(binary)) {
    const flags = ['-O2', '-Wall', '-Wextra', '-Werror', '-pthread'];
    execFileSync('gcc', [...flags, join(programs, `${name}.c`), '-o', binary]);
  }
  return binary;
}

async function until(what, condition, limitMs = 60_000) {
  for (const deadline = Date.now() + limitMs; Date.now() < deadline; ) {
    const found = condition();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  throw new Error(`waited ${limitMs} ms in vain for ${what}`);
}

function statOf(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state, ...rest] = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { state, startTime: rest[18] };
  } catch {
    return { state: undefined, startTime: undefined };
  }
}

function endIfAlive(pid) {
  const { startTime } = statOf(pid);
  if (startTime !== undefined && startTime === started.get(pid)) process.kill(pid, 'SIGKILL');
}

/** Until its number is free: an init that reaps late is not what is measured. */
async function gone(pid) {
  await until(`process ${pid} to be reaped`, () => statOf(pid).state === undefined);
  started.delete(pid);
}

const handleOf = (pid, output) => {
  started.set(pid, statOf(pid).startTime);
  return {
    pid,
    output,
    end: () => {
      endIfAlive(pid);
      return gone(pid);
    },
  };
};

/** Whoever runs the benchmark may have descriptors open that every child inherits, and a pipe to the outside is refused. */
const closeInherited =
  'for fd in $(ls /proc/$$/fd); do case $fd in 0|1|2) ;; *) eval "exec $fd>&-" ;; esac; done; exec "$@"';

let numberOfTargets = 0;

/** A program of our own with so much memory: see programs/target.c. */
export const startTarget = ({ bytes, mappings = 1, threads = 1, idle = false, noise = false }) =>
  startProgram('target', bytes, mappings, threads - 1, idle ? 'idle' : 'busy', ...(noise ? ['noise'] : []));

/** A program of our own that writes to all its memory all the time: see programs/rewriter.c. */
export const startRewriter = (bytes) => startProgram('rewriter', bytes);

/** A server and a client of it: see programs/requests.c. */
export async function startServer() {
  const server = await startProgram('requests', 'serve');
  return { ...server, port: /ready (\d+)/.exec(readFileSync(server.output, 'utf8'))[1] };
}
export const startClient = (port) => startProgram('requests', 'ask', port);

async function startProgram(name, ...args) {
  const output = inMemory(`output.${numberOfTargets++}`);
  const program = [compiled(name), ...args].map(String);
  const out = openSync(output, 'w');
  const child = spawn('bash', ['-c', closeInherited, 'bash', ...program], {
    stdio: ['ignore', out, out],
    detached: true,
    cwd: folderIn('/dev/shm'),
  });
  closeSync(out);
  const target = handleOf(child.pid, output);
  await until('the target to be ready', () => {
    if (child.exitCode !== null) throw new Error(`the target failed: ${readFileSync(output, 'utf8')}`);
    return readFileSync(output, 'utf8').includes('ready');
  });
  return target;
}

/** The longest time in ms that the program has noted since it was asked last: see its source. */
export async function longestGap({ pid, output }) {
  const before = readFileSync(output, 'utf8').length;
  process.kill(pid, 'SIGUSR1');
  const answer = await until('an answer of the target', () =>
    /^\d+\n$/.exec(readFileSync(output, 'utf8').slice(before)),
  );
  return Number(answer[0]) / 1e6;
}

/** Runs a command that must succeed; ms of the whole command, and what it said. */
export function timed(program, args) {
  const begin = performance.now();
  const { status, signal, error, stdout, stderr } = spawnSync(program, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ms = performance.now() - begin;
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${[program, ...args].join(' ')} ended with ${signal ?? status}: ${stderr}`);
  return { ms, stdout, stderr };
}

export const quicksave = (...args) => timed(command, args);

/** Saves a target, which goes on: ms of the whole command, of the pause reported, and of the pause as the target saw it. */
export async function save(target) {
  const image = inMemory('image');
  await longestGap(target);
  const { ms, stderr } = quicksave('checkpoint', String(target.pid), '--output', image);
  const seen = await longestGap(target);
  rmSync(image);
  return { checkpoint: ms, pause: pauseIn(stderr), seen };
}

/** Saves a server, which goes on: ms of the pause reported. */
export function saveServer({ pid }) {
  const image = inMemory('image');
  const { stderr } = quicksave('checkpoint', String(pid), '--output', image);
  rmSync(image);
  return pauseIn(stderr);
}

function pauseIn(summary) {
  const [, pause, unit] = /pause ([\d.]+) (ms|s)\b/.exec(summary) ?? [];
  if (pause === undefined) throw new Error(`no pause in the summary: ${summary}`);
  return Number(pause) * (unit === 's' ? 1000 : 1);
}

/** Saves a target, lets it change a page in a hundred, and saves it again with the first image as the parent. */
export async function saveTwice(target, options) {
  const [first, second] = [inMemory('first'), inMemory('second')];
  const pid = String(target.pid);
  quicksave('checkpoint', pid, '--output', first, ...options);
  await changeSome(target);
  const { ms, stderr } = quicksave('checkpoint', pid, '--output', second, '--parent', first, ...options);
  const [whole, image] = [first, second].map((path) => statSync(path).size / MEBIBYTE);
  for (const path of [first, second]) rmSync(path);
  return { whole, image, checkpoint: ms, pause: pauseIn(stderr) };
}

/** It writes to each hundredth page, and says so. */
async function changeSome({ pid, output }) {
  const before = readFileSync(output, 'utf8').length;
  process.kill(pid, 'SIGUSR2');
  await until('the target to change its memory', () => readFileSync(output, 'utf8').slice(before).includes('changed'));
}

/** Saves a target, which goes on, and ends it: ms of the command, MiB of the image, ms of a restart, which is ended too. */
export async function saveAndBringBack(target, { onDisk = false, compress }) {
  const image = onDisk ? join(folderIn(tmpdir()), 'image') : inMemory('image');
  const { ms } = quicksave('checkpoint', String(target.pid), '--output', image, '--compress', compress);
  const mebibytes = statSync(image).size / MEBIBYTE;
  await target.end();
  const { ms: restart, stdout } = quicksave('restart', image, '--detach');
  await handleOf(Number(stdout), target.output).end();
  rmSync(image);
  return { checkpoint: ms, restart, mebibytes };
}

/** Key files for encrypting, and for signing and verifying. */
export function makeKeys() {
  const [secret, signing] = ['secret', 'signing'].map((name) => inMemory(`${name}.key`));
  if (!existsSync(secret)) quicksave('keygen', secret);
  if (!existsSync(signing)) quicksave('keygen', '--signing', signing);
  return { secret, signing, verifying: `${signing}.pub` };
}

/**
 * Saves a target, which goes on, and ends it; ms of the save, of a restart, of verifying the image, and of reading its file with
 * cat(1). `protect` are options of the save, `open` of the restart and the check. Of an image on a disk nothing is in memory then.
 */
export async function saveVerifyAndBringBack(target, { onDisk, protect, open }) {
  const image = onDisk ? join(folderIn(tmpdir()), 'image') : inMemory('image');
  const options = ['--output', image, '--compress', 'none', ...protect];
  const { ms: checkpoint } = quicksave('checkpoint', String(target.pid), ...options);
  await target.end();
  const unread = () => onDisk && timed('dd', [`of=${image}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0']);
  unread();
  const { ms: read } = timed('bash', ['-c', `cat < ${image} > /dev/null`]);
  unread();
  const { ms: verify } = quicksave('verify', image, ...open);
  unread();
  const { ms: restart, stdout } = quicksave('restart', image, '--detach', ...open);
  await handleOf(Number(stdout), target.output).end();
  rmSync(image);
  return { checkpoint, restart, verify, read };
}

/**
 * Ends a target with a save and brings it back lazily, then ends it: ms until the command says that it runs, and until all its pages are there; the first
 * also with --detach, whose command returns then.
 */
export async function bringBackLazily(target) {
  const image = inMemory('image');
  quicksave('checkpoint', String(target.pid), '--kill', '--output', image, '--compress', 'none');
  await gone(target.pid);
  const begin = performance.now();
  const child = spawn(command, ['restart', image, '--lazy'], { stdio: ['ignore', 'ignore', 'pipe'] });
  await new Promise((resolve) => child.stderr.once('data', resolve));
  const running = performance.now() - begin;
  const again = handleOf(target.pid, target.output);
  const isTraced = () => !/^TracerPid:\t0$/m.test(readFileSync(`/proc/${target.pid}/status`, 'utf8'));
  await until('all pages to be there', () => !isTraced());
  const loaded = performance.now() - begin;
  await again.end();
  const begun = performance.now();
  // Whoever loads the rest keeps standard error, to say what goes wrong: nobody waits for its end here.
  const stdio = ['ignore', 'ignore', 'ignore'];
  const [status] = await once(spawn(command, ['restart', image, '--lazy', '--detach'], { stdio }), 'exit');
  const detached = performance.now() - begun;
  if (status !== 0) throw new Error(`the lazy restart ended with ${status}`);
  const background = handleOf(target.pid, target.output);
  await until('all pages to be there', () => !isTraced());
  await background.end();
  rmSync(image);
  return { running, loaded, detached };
}

/** Ends a target with a save and brings it back, then ends it: ms of the whole restart. */
export async function bringBack(target) {
  const image = inMemory('image');
  quicksave('checkpoint', String(target.pid), '--kill', '--output', image);
  await gone(target.pid);
  const { ms, stdout } = quicksave('restart', image, '--detach');
  const back = handleOf(Number(stdout), target.output);
  // It computes and answers, or there is nothing to be measured.
  await longestGap(back);
  await back.end();
  rmSync(image);
  return { restart: ms };
}

/** ms that the machine itself takes: see programs/reference.c. */
export function reference(kind, bytes) {
  const args = [kind, String(bytes), inMemory('reference')];
  return Number(timed(compiled('reference'), args).stdout) / 1e6;
}

export function writeAndRead(bytes) {
  const write = reference('write', bytes);
  const read = reference('read', bytes);
  rmSync(inMemory('reference'));
  return { write, read };
}

/**
 * The first touch of memory is several times slower on a virtual machine whose host has yet to back it, or has taken it back.
 * Touching so much and giving it back at once makes the kernel hand out backed pages to whatever is measured next.
 */
export const warmMemory = (bytes) => reference('touch', bytes);
