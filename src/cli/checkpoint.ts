/** `quicksave checkpoint PID --output FILE|-` */

import { InvalidArgumentError } from 'commander';
import { checkpoint } from '../checkpoint/checkpoint.ts';
import { outputTo, streamOutput } from '../checkpoint/output.ts';
import { asPid } from '../support/brand.ts';
import { printLine } from './print-error.ts';

interface Options {
  readonly output: string;
  readonly kill?: boolean;
  readonly compress: string | true;
}

const STANDARD_OUTPUT = 1;
const MEBIBYTE = 1024 * 1024;

export function runCheckpoint(pidText: string, options: Options): void {
  const pid = parsePid(pidText);
  const level = parseCompression(options.compress);
  const output = options.output === '-' ? streamOutput(STANDARD_OUTPUT) : outputTo(options.output);
  const summary = checkpoint({ pid, output, kill: options.kill ?? false, level, onPages: () => {} });
  const threads = summary.threads === 1 ? '1 thread' : `${summary.threads} threads`;
  const size = (summary.imageBytes / MEBIBYTE).toFixed(1);
  printLine(
    `saved process ${pid}: ${threads}, ${summary.pages} pages, ${size} MiB, ` +
      `${summary.killed ? 'ended' : `pause ${summary.pauseMs.toFixed(1)} ms`}, ${summary.totalMs.toFixed(0)} ms in all`,
  );
  for (const remark of summary.remarks) printLine(`  ${remark}`);
}

export function parsePid(text: string): ReturnType<typeof asPid> {
  if (!/^[1-9]\d{0,9}$/.test(text)) throw new InvalidArgumentError(`"${text}" is not a process id.`);
  return asPid(Number(text));
}

const DEFAULT_LEVEL = 1;

function parseCompression(text: string | true): number | undefined {
  if (text === true || text === 'zstd') return DEFAULT_LEVEL;
  if (text === 'none') return undefined;
  const level = /^zstd:(\d{1,2})$/.exec(text)?.[1];
  if (level === undefined || Number(level) < 1 || Number(level) > 19) {
    throw new InvalidArgumentError(`--compress takes none, zstd or zstd:LEVEL (1 to 19), not "${text}".`);
  }
  return Number(level);
}
