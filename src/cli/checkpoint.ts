/** `quicksave checkpoint PID|--self --output FILE|-` */
import { fstatSync } from 'node:fs';
import { isatty } from 'node:tty';
import { checkpoint } from '../checkpoint/checkpoint.ts';
import { openOutput } from '../checkpoint/remote-output.ts';
import type { CheckpointSummary } from '../checkpoint/request.ts';
import { ownParent } from '../checkpoint/saver.ts';
import { readProtection } from '../image/protection.ts';
import { sizeText } from '../report/table.ts';
import { asPid } from '../support/brand.ts';
import { elapsedText } from '../support/duration.ts';
import { QuicksaveError } from '../support/errors.ts';
import { parseCompression } from './compression-option.ts';
import { interruptible } from './interruptible.ts';
import { parseOutside, parseTcp } from './outside-option.ts';
import { printLine } from './print-error.ts';
import { asJson, printResult } from './print-result.ts';
import { treeText } from './tree-text.ts';
import { UsageError } from './usage-error.ts';

interface Options {
  readonly output: string;
  readonly self?: boolean;
  readonly kill?: boolean;
  readonly tcp: string;
  readonly external?: readonly string[];
  readonly closeExternal?: boolean;
  readonly parent?: string;
  readonly track?: boolean;
  readonly compress: string | true;
  readonly encrypt?: readonly string[];
  readonly sign?: string;
  readonly key?: readonly string[];
  readonly json?: boolean;
}

const STANDARD_OUTPUT = 1;

export function runCheckpoint(pidText: string | undefined, options: Options): void {
  const savesItself = options.self ?? false;
  if (savesItself !== (pidText === undefined)) {
    throw new UsageError('give the process to save: its id, or --self for the one that runs this command.');
  }
  const pid = pidText === undefined ? ownParent() : parsePid(pidText);
  const compression = parseCompression(options.compress);
  const tcp = parseTcp(options.tcp);
  const { encrypt, sign, parent } = options;
  // A key in the environment that is not there is no reason not to save.
  const keys = parent === undefined ? [] : options.key;
  const { protection, access } = readProtection({ encrypt, sign, keys });
  if (options.output === '-' && isatty(STANDARD_OUTPUT)) {
    throw new UsageError('an image is not written to a terminal; give a file, or send it into a pipe.');
  }
  if (options.output === '-' && options.json) {
    throw new UsageError('standard output takes the image, so it cannot take --json; give a file.');
  }
  const output = openOutput(options.output);
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
    checkpoint({
      pid,
      savesItself,
      output,
      kill: options.kill ?? false,
      tcp,
      outside: parseOutside(options),
      compression,
      parent,
      access,
      protection,
      track: options.track ?? false,
      onPages,
    }),
  );
  if (options.json) printResult(asJson(summary));
  else printSummary(summary);
}

function printSummary(summary: CheckpointSummary): void {
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
  const size = `${sizeText(summary.imageBytes)}${ratioText(summary)}`;
  const pause = summary.killed ? 'ended' : `pause ${pauseText(summary.pauseMs)}`;
  const total = `${elapsedText(summary.totalMs)} in all`;
  const inherited = summary.parentPages === 0 ? '' : ` (${summary.parentPages} of the parent)`;
  const shared = summary.relativePages === 0 ? '' : ` (${summary.relativePages} shared)`;
  return `saved ${treeText(summary)}, ${summary.pages} pages${inherited}${shared}, ${size}, ${pause}, ${total}`;
}

const pauseText = (ms: number): string => (ms < 1000 ? `${ms.toFixed(1)} ms` : elapsedText(ms));

/** Nothing where compression brings nothing. */
function ratioText({ pageBytes, storedBytes }: CheckpointSummary): string {
  const ratio = pageBytes / Math.max(storedBytes, 1);
  return ratio < 1.05 ? '' : ` (${ratio.toFixed(1)}:1)`;
}

export function parsePid(text: string): ReturnType<typeof asPid> {
  if (!/^[1-9]\d{0,9}$/.test(text)) throw new UsageError(`"${text}" is not a process id.`);
  return asPid(Number(text));
}
