// What every question of the benchmark needs: targets, references, interleaved rounds, and numbers put together honestly.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..');
export const command = join(root, 'bin', 'quicksave');
export const MEBIBYTE = 1024 * 1024;

const memoryFolder = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
const started = new Set();
let folder;

/** A folder on tmpfs that goes with the benchmark. */
export function workFolder() {
  folder ??= mkdtempSync(join(memoryFolder, 'quicksave-bench-'));
  return folder;
}

export function cleanUp() {
  for (const pid of started) endIfAlive(pid);
  started.clear();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  folder = undefined;
}

function endIfAlive(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

function compiled(name) {
  const programs = join(workFolder(), 'programs');
  const binary = join(programs, name);
  if (existsSync(binary)) return binary;
  mkdirSync(programs, { recursive: true });
  const source = join(root, 'bench', 'programs', `${name}.c`);
  execFileSync('gcc', ['-O2', '-pthread', source, '-o', binary]);
  return binary;
}

export async function until(what, condition, limitMs = 60_000) {
  for (const deadline = Date.now() + limitMs; Date.now() < deadline; ) {
    const found = condition();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  throw new Error(`waited in vain for ${what}`);
}

/** Whoever runs the benchmark may have descriptors open that every child inherits, and a pipe to the outside is refused. */
const closeInherited =
  'for fd in $(ls /proc/$$/fd); do case $fd in 0|1|2) ;; *) eval "exec $fd>&-" ;; esac; done; exec "$@"';

let numberOfTargets = 0;

export async function startTarget({ bytes = 0, mappings = 1, threads = 0 }) {
  const output = join(workFolder(), `output.${numberOfTargets++}`);
  const out = openSync(output, 'w');
  const args = ['-c', closeInherited, 'bash', compiled('target'), String(bytes), String(mappings), String(threads)];
  const { pid } = spawn('bash', args, { stdio: ['ignore', out, out], detached: true, cwd: workFolder() });
  started.add(pid);
  await until('the target to be ready', () => readFileSync(output, 'utf8').includes('ready'));
  return { pid, output, end: () => end(pid) };
}

async function end(pid) {
  endIfAlive(pid);
  await gone(pid);
  started.delete(pid);
}

/** Its number is free: some parents reap late, which is not what is measured. */
export const gone = (pid) => until(`process ${pid} to be reaped`, () => !existsSync(`/proc/${pid}`));

/** The longest time in ms that the target itself has seen its clock stand still since it was asked last. */
export async function longestGap({ pid, output }) {
  const before = readFileSync(output, 'utf8').length;
  process.kill(pid, 'SIGUSR1');
  const text = await until('an answer', () => /^\d+\n$/.exec(readFileSync(output, 'utf8').slice(before))?.[0]);
  return Number(text) / 1e6;
}

/** Runs a command that must succeed; ms of the whole command, and what it said. */
export function timed(program, args) {
  const begin = performance.now();
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  const ms = performance.now() - begin;
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${status}: ${stderr}`);
  return { ms, stdout, stderr };
}

export const quicksave = (...args) => timed(command, args);

/** The pause that a save has reported, in ms. */
export const pauseIn = (stderr) => Number(/pause ([\d.]+) ms/.exec(stderr)?.[1]);

/** Saves and ends a target; ms of the whole command. */
export async function saveAndEnd({ pid }, image) {
  const { ms } = quicksave('checkpoint', String(pid), '--kill', '-o', image);
  await gone(pid);
  started.delete(pid);
  return ms;
}

/** Brings it back; ms of the whole command. */
export function bringBack(image) {
  const { ms, stdout } = quicksave('restart', image, '--detach');
  const pid = Number(stdout);
  started.add(pid);
  return { ms, end: () => end(pid) };
}

/** ms that the machine itself takes: see programs/reference.c. */
export function reference(kind, bytes) {
  const file = join(workFolder(), 'reference');
  const ns = execFileSync(compiled('reference'), [kind, String(bytes), file], { encoding: 'utf8' });
  return Number(ns) / 1e6;
}

export const forgetReference = () => rmSync(join(workFolder(), 'reference'), { force: true });

/**
 * Rounds of `measure`, which returns { name: ms }. Everything that is to be compared is measured within one round, because
 * the machine is another one a minute later. The first round warms caches, memory and the CPU up and does not count.
 */
export async function rounds(count, measure) {
  const samples = {};
  for (let round = 0; round <= count; round++) {
    const measured = await measure(round);
    if (round === 0) continue;
    for (const [name, ms] of Object.entries(measured)) {
      samples[name] ??= [];
      samples[name].push(ms);
    }
  }
  return Object.fromEntries(Object.entries(samples).map(([name, values]) => [name, summary(values)]));
}

function summary(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { min: sorted[0], median };
}

/** A line of the result: what was measured against what it may be. Both are summaries, or a number of ms for a fixed limit. */
export function judge(what, measured, limitOf, limitText) {
  const [min, median] = ['min', 'median'].map((key) => ({ is: measured[key], limit: limitOf(key) }));
  return {
    what,
    minMs: round(min.is),
    medianMs: round(median.is),
    limit: limitText,
    limitMinMs: round(min.limit),
    limitMedianMs: round(median.limit),
    ratio: round(median.is / median.limit),
    met: min.is <= min.limit && median.is <= median.limit,
  };
}

/** A line without a target. */
export const report = (what, measured) => ({ what, minMs: round(measured.min), medianMs: round(measured.median) });

const round = (value) => Math.round(value * 100) / 100;

export function save(path, text) {
  writeFileSync(path, text);
}
