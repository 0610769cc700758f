/**
 * What every system test needs: target programs with nothing but their own descriptors, the command, waiting for conditions,
 * and ending by pid whatever a test has started.
 */
import { execFileSync, spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach } from 'vitest';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
export const command = join(root, 'bin', 'quicksave');
const programs = join(root, 'tests', 'programs');
/** The long form of the tests that have one: as many rounds as the issue asks for. */
export const full = process.env['QUICKSAVE_FULL'] === '1';

const started = new Map<number, number | undefined>();
const folders: string[] = [];

afterEach(async () => {
  for (const [pid, startTime] of started) {
    if (startTimeOf(pid) === startTime) killIfThere(pid);
  }
  for (const pid of started.keys()) await gone(pid);
  started.clear();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** A program that has just said its last word may end in the meantime. */
function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** A folder of the test's own, in memory where the host has such a file system. */
export function newFolder(): string {
  const base = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
  const folder = mkdtempSync(join(base, 'quicksave-test-'));
  folders.push(folder);
  return folder;
}

/** Compiles a program of tests/programs, if it is not up to date. */
export function compiled(name: string, flags: readonly string[] = []): string {
  const build = join(programs, 'build');
  mkdirSync(build, { recursive: true });
  const source = join(programs, `${name}.c`);
  const binary = join(build, [name, ...flags].join('').replaceAll('/', '_'));
  const changed = Math.max(...[source, join(programs, 'self-check.h')].map((path) => statSync(path).mtimeMs));
  if (!existsSync(binary) || statSync(binary).mtimeMs < changed) {
    execFileSync('gcc', ['-O1', '-g', '-Wall', '-Wextra', '-Werror', '-pthread', ...flags, source, '-o', binary]);
  }
  return binary;
}

/** True if the program is on this machine. */
export function has(program: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((folder) => existsSync(join(folder, program)));
}

export interface Target {
  readonly pid: number;
  /** The program's standard output and error go there. */
  readonly output: string;
  /** How it ended, as far as we are its parent. */
  readonly ended: Promise<{ status: number | null; signal: NodeJS.Signals | null }>;
}

/** Whoever runs the tests may have descriptors open that every child inherits. */
const closeInherited =
  'for fd in $(ls /proc/$$/fd); do case $fd in 0|1|2) ;; *) eval "exec $fd>&-" ;; esac; done; exec "$@"';

/** Starts a program that has no descriptors but /dev/null and a file, in a session of its own. */
export function start(
  folder: string,
  program: string,
  args: readonly string[] = [],
  options: { ballastMiB?: number } = {},
): Target {
  const output = join(folder, `output.${started.size}`);
  const out = openSync(output, 'w');
  const clean = ['-c', closeInherited, 'bash', program, ...args];
  const { ballastMiB } = options;
  const env = ballastMiB === undefined ? process.env : { ...process.env, BALLAST: String(ballastMiB) };
  const child = spawn('bash', clean, { stdio: ['ignore', out, out], detached: true, cwd: folder, env });
  // The program's alone: a save would name us as another holder.
  closeSync(out);
  const { pid } = child;
  if (pid === undefined) throw new Error(`${program} could not be started`);
  remember(pid);
  const ended = new Promise<{ status: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once('exit', (status, signal) => resolve({ status, signal }));
  });
  return { pid, output, ended };
}

export interface Terminal {
  readonly pid: number;
  type(text: string): void;
  /** Waits until what was shown since the last call matches, and returns the match. */
  shows(pattern: RegExp): Promise<RegExpExecArray>;
}

/** An interactive shell with job control on a terminal of its own. */
export function openTerminal(folder: string): Terminal {
  const shell = ['-c', 'import pty, sys; pty.spawn(sys.argv[1:])', 'bash', '--norc', '--noprofile', '-i'];
  const child = spawn('bash', ['-c', closeInherited, 'bash', 'python3', ...shell], {
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
    cwd: folder,
    env: { ...process.env, HISTFILE: '', TERM: 'dumb' },
  });
  const { pid } = child;
  if (pid === undefined) throw new Error('python3 could not be started');
  remember(pid);
  let shown = '';
  child.stdout.on('data', (bytes: Buffer) => {
    shown += bytes.toString();
  });
  return {
    pid,
    type: (text) => void child.stdin.write(text),
    shows: (pattern) =>
      waitFor(`${pattern} on the terminal`, () => {
        const match = pattern.exec(shown);
        if (match !== null) shown = shown.slice(match.index + match[0].length);
        return match ?? undefined;
      }).catch((error: unknown) => {
        throw new Error(`${String(error)}; it shows: ${shown}`);
      }),
  };
}

/** The processes whose parent this is, oldest first. */
export function childrenOf(pid: number): number[] {
  const text = readIfThere(`/proc/${pid}/task/${pid}/children`) ?? '';
  return text.split(' ').filter(Boolean).map(Number);
}

/** Will be ended after the test. */
export function remember(pid: number): void {
  started.set(pid, startTimeOf(pid));
}

function startTimeOf(pid: number): number | undefined {
  const text = readIfThere(`/proc/${pid}/stat`);
  return text === undefined ? undefined : Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[19]);
}

export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** One letter; undefined when there is no such process. */
export function stateOf(pid: number): string | undefined {
  const text = readIfThere(`/proc/${pid}/stat`);
  return text?.slice(text.lastIndexOf(')') + 2, text.lastIndexOf(')') + 3);
}

/** A process with that number that is half-made or runs that program: on a busy machine the number may be somebody else's by now. */
export function isLeft(pid: number, program: string): boolean {
  try {
    const executable = readlinkSync(`/proc/${pid}/exe`);
    return executable.includes('memfd:quicksave') || executable.includes(program);
  } catch {
    return false;
  }
}

export const isAlive = (pid: number): boolean => !['Z', 'X', undefined].includes(stateOf(pid));

export async function waitFor<T>(what: string, look: () => T | undefined | false, limitMs = 30_000): Promise<T> {
  const deadline = Date.now() + limitMs;
  for (;;) {
    const found = look();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > deadline) throw new Error(`waited ${limitMs} ms in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Waits until the process is reaped: its number is free. */
export const gone = (pid: number): Promise<true> =>
  waitFor(`process ${pid} to be gone`, () => (stateOf(pid) === undefined ? true : undefined));

/** Waits until a file has this text in it. */
export const said = (file: string, text: string): Promise<true> =>
  waitFor(`${text} in ${file}`, () => (readIfThere(file)?.includes(text) ? true : undefined));

export interface CommandResult {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface RunningCommand {
  readonly pid: number;
  readonly kill: (signal: NodeJS.Signals) => void;
  /** What it has said so far. */
  readonly stderr: () => string;
  /** Begins to read the standard output of a command that was started `stalled`. */
  readonly read: () => void;
  readonly done: Promise<CommandResult>;
}

export function run(
  args: readonly string[],
  options: { stdin?: Buffer; cwd?: string; stalled?: boolean; memoryMiB?: number; env?: Record<string, string> } = {},
): RunningCommand {
  const { memoryMiB } = options;
  // RLIMIT_DATA counts what a process can write to.
  const bounded = ['-c', `ulimit -d ${(memoryMiB ?? 0) * 1024}; exec "$0" "$@"`, command, ...args];
  const [program, words] = memoryMiB === undefined ? [command, args] : ['bash', bounded];
  const child = spawn(program, words, {
    stdio: [options.stdin === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    cwd: options.cwd ?? root,
    env: { ...process.env, ...options.env },
  });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  const read = (): void => void child.stdout?.on('data', (bytes: Buffer) => out.push(bytes));
  if (!options.stalled) read();
  child.stderr?.on('data', (bytes: Buffer) => err.push(bytes));
  if (options.stdin !== undefined) {
    child.stdin?.on('error', () => {
      // A command that refuses its input need not read it.
    });
    child.stdin?.end(options.stdin);
  }
  const done = new Promise<CommandResult>((resolve) => {
    child.once('close', (status, signal) => {
      resolve({ status, signal, stdout: Buffer.concat(out), stderr: Buffer.concat(err).toString() });
    });
  });
  return {
    pid: child.pid ?? -1,
    kill: (signal) => void child.kill(signal),
    stderr: () => Buffer.concat(err).toString(),
    read,
    done,
  };
}

export const quicksave = (...args: string[]): Promise<CommandResult> => run(args).done;

/** Runs the command and fails with what it said unless it succeeds. */
export async function mustRun(...args: string[]): Promise<CommandResult> {
  const result = await quicksave(...args);
  if (result.status !== 0) throw new Error(`quicksave ${args.join(' ')} ended with ${result.status}: ${result.stderr}`);
  return result;
}

/** Saves with --kill and waits until the number is free again. */
export async function saveAndEnd(pid: number, image: string): Promise<void> {
  await mustRun('checkpoint', String(pid), '--output', image, '--kill');
  await gone(pid);
}

/**
 * Saves, ends and brings back a program, and waits until it has ended with status 0. False if it had finished before it could be
 * saved.
 */
export async function interrupt(pid: number, image: string): Promise<boolean> {
  const saved = await quicksave('checkpoint', String(pid), '--output', image, '--kill');
  if (saved.status === 1 && /has ended|ended before|no process/.test(saved.stderr)) return false;
  if (saved.status !== 0) throw new Error(`the save ended with ${saved.status}: ${saved.stderr}`);
  await gone(pid);
  await mustRun('restart', image);
  return true;
}

/** Brings it back in the background; it will be ended after the test. */
export async function bringBack(image: string): Promise<number> {
  const result = await mustRun('restart', image, '--detach');
  const pid = Number(result.stdout.toString().trim());
  remember(pid);
  return pid;
}

/** What a target must have unchanged after a save: descriptors and mappings. */
export function footprint(pid: number): { descriptors: string[]; maps: string } {
  return {
    descriptors: readdirSync(`/proc/${pid}/fd`),
    maps: readFileSync(`/proc/${pid}/maps`, 'utf8').replace(/^(\S+ ){5}\s*\[heap\]$/gm, ''),
  };
}
