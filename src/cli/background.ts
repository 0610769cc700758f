/**
 * A lazy restart with --detach: the command returns when the program runs, and another process, of the same command, stays until all pages are there.
 * It says so to the command with one byte. Loaded before all else that the command does: until the other one begins, nothing happens.
 */
import { spawn } from 'node:child_process';
import { closeSync, openSync, writeSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { EXIT_FAILED } from './exit-status.ts';

/** In the environment of the process in the background: the pid of the command. */
const COMMAND = 'QUICKSAVE_LOADER_OF';
const REPORT_FD = 3;
const STANDARD_OUTPUT = 1;

/** True in the process in the background. */
export const isLoader = (): boolean => process.env[COMMAND] !== undefined;

/** True there if the command has ended meanwhile: nobody is told of a program that begins to run now. */
export const isForsaken = (): boolean => isLoader() && process.env[COMMAND] !== String(process.ppid);

/** Returns the exit status of the command, when the program runs or there will be none. */
export async function runLoader(): Promise<number> {
  const loader = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    stdio: ['inherit', 'inherit', 'inherit', 'pipe'],
    env: { ...process.env, [COMMAND]: String(process.pid) },
  });
  // What is asked of the command is asked of the restart, which answers.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => loader.kill(signal));
  const report = loader.stdio[REPORT_FD] as Readable;
  return await new Promise((resolve, reject) => {
    loader.once('error', reject);
    report.once('data', () => resolve(0));
    loader.once('exit', (status) => resolve(status ?? EXIT_FAILED));
  });
}

/** In the process in the background: the program runs. Whoever reads the command's output sees its end. */
export function reportRunning(): void {
  closeSync(STANDARD_OUTPUT);
  // Takes its number, the lowest that is free.
  openSync('/dev/null', 'w');
  writeSync(REPORT_FD, '.');
  closeSync(REPORT_FD);
}
