/** `quicksave checkpoint PID|--self --output FILE|-` */
import { fstatSync } from 'node:fs';
import { isatty } from 'node:tty';
import { checkpoint } from '../checkpoint/checkpoint.ts';
import { outputTo, streamOutput } from '../checkpoint/output.ts';
import type { CheckpointSummary } from '../checkpoint/request.ts';
import { ownParent } from '../checkpoint/saver.ts';
import { asPid } from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';
import { interruptible } from './interruptible.ts';
import { printLine } from './print-error.ts';
import { treeText } from './tree-text.ts';
import { UsageError } from './usage-error.ts';

interface Options {
  readonly output: string;
  readonly self?: boolean;
  readonly kill?: boolean;
  readonly compress: string | true;
}

const STANDARD_OUTPUT = 1;
const MEBIBYTE = 1024 * 1024;

export function runCheckpoint(pidText: string | undefined, options: Options): void {
  const savesItself = options.self ?? false;
  if (savesItself !== (pidText === undefined)) {
    throw new UsageError('give the process to save: its id, or --self for the one that runs this command.');
  }
  const pid = pidText === undefined ? ownParent() : parsePid(pidText);
  const level = parseCompression(options.compress);
  if (options.output === '-' && isatty(STANDARD_OUTPUT)) {
    throw new UsageError('an image is not written to a terminal; give a file, or send it into a pipe.');
  }
  const output = options.output === '-' ? streamOutput(STANDARD_OUTPUT) : outputTo(options.output);
  if (options.kill && isNothing(output.fd)) {
    output.abandon();
    throw new QuicksaveError(
      'cannot-write',
      `The image would go nowhere (/dev/null), and process ${pid} would be lost.`,
      {
        remedy: 'Give a file or a pipe; a closed standard output counts as /dev/null.',
      },
    );
  }
  const sentence = `The save was interrupted; process ${pid} goes on, and no image was made.`;
  const summary = interruptible(`saving ${pid}`, sentence, (onPages) =>
    checkpoint({ pid, savesItself, output, kill: options.kill ?? false, level, onPages }),
  );
  printLine(summaryLine(summary));
  for (const remark of summary.remarks) printLine(`  ${remark}`);
}

/** 1:3 in devices.txt of the kernel. */
const NULL_DEVICE = 0x103;

function isNothing(fd: number): boolean {
  const { rdev } = fstatSync(fd);
  return rdev === NULL_DEVICE;
}

function summaryLine(summary: CheckpointSummary): string {
  const size = `${(summary.imageBytes / MEBIBYTE).toFixed(1)} MiB`;
  const pause = summary.killed ? 'ended' : `pause ${summary.pauseMs.toFixed(1)} ms`;
  const total = `${summary.totalMs.toFixed(0)} ms in all`;
  return `saved ${treeText(summary)}, ${summary.pages} pages, ${size}, ${pause}, ${total}`;
}

export function parsePid(text: string): ReturnType<typeof asPid> {
  if (!/^[1-9]\d{0,9}$/.test(text)) throw new UsageError(`"${text}" is not a process id.`);
  return asPid(Number(text));
}

const DEFAULT_LEVEL = 1;

export function parseCompression(text: string | true): number | undefined {
  if (text === true || text === 'zstd') return DEFAULT_LEVEL;
  if (text === 'none') return undefined;
  const level = /^zstd:(\d{1,2})$/.exec(text)?.[1];
  if (level === undefined || Number(level) < 1 || Number(level) > 19) {
    throw new UsageError(`--compress takes none, zstd or zstd:LEVEL (1 to 19), not "${text}".`);
  }
  return Number(level);
}
