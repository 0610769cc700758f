/** The one place where errors become text or data: what, which process or file, why, what to do. */

import { release } from 'node:os';
import { printable } from '../report/table.ts';
import { trailOf } from '../support/call-trail.ts';
import type { ErrorCode } from '../support/error-pages/catalogue.ts';
import { QuicksaveError, RefusedError } from '../support/errors.ts';
import { remedyForLack } from '../support/lacking.ts';
import { VERSION } from '../support/version.ts';
import { coloured } from './colour.ts';
import { EXIT_FAILED, EXIT_USAGE } from './exit-status.ts';
import { asJson } from './print-result.ts';
import { UsageError } from './usage-error.ts';
import { writeWhole } from './write-whole.ts';

const STANDARD_OUTPUT = 1;
const STANDARD_ERROR = 2;

/** A line for a person. What was done is done, whether or not somebody reads about it: a stream that takes nothing is no error. */
export const printLine = (text: string): void => print(`${text}\n`);

export const print = (text: string): void => printTo(STANDARD_ERROR, text);

function printTo(fd: number, text: string): void {
  try {
    writeWhole(fd, text);
  } catch {
    // There is nobody to tell.
  }
}

/** How errors are told. */
export interface ErrorStyle {
  /** With what helps to find a fault of quicksave. */
  readonly debug: boolean;
  /** As data on standard output too. */
  readonly json: boolean;
}

/** Says what went wrong; the exit status. */
export function failWith(error: unknown, { debug, json }: ErrorStyle): number {
  const described = describe(error);
  if (json) printTo(STANDARD_OUTPUT, asJson({ error: described }));
  printError(described);
  if (debug) for (const line of debugLines(error)) printLine(printable(line));
  return error instanceof UsageError ? EXIT_USAGE : EXIT_FAILED;
}

/** `error` of what a command with `--json` prints when it fails: docs/errors.md. */
interface DescribedError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly remedy: string;
  readonly problems: RefusedError['problems'];
}

export function describe(error: unknown): DescribedError {
  if (!(error instanceof QuicksaveError)) {
    const reason = error instanceof Error ? error.message : String(error);
    const remedy = remedyForLack((error as NodeJS.ErrnoException | undefined)?.code ?? '');
    if (remedy !== undefined)
      return describe(new QuicksaveError('no-room', `Something is used up: ${reason}.`, { remedy }));
    return describe(new QuicksaveError('internal', `Something went wrong inside quicksave: ${reason}.`));
  }
  const { code, message, remedy } = error;
  return { code, message, remedy, problems: error instanceof RefusedError ? error.problems : [] };
}

function printError({ message, remedy, code, problems }: DescribedError): void {
  printLine(`${coloured(STANDARD_ERROR, 'red', 'quicksave:')} ${printable(message)}`);
  // What is to be done about a refusal is said with each of its reasons.
  if (problems.length === 0) printLine(printable(`  ${remedy} [${code}]`));
  for (const problem of problems) {
    printLine(printable(`  ${problem.path.join(' › ')}: ${problem.message}`));
    printLine(printable(`    ${problem.remedy} [${problem.code}]`));
  }
}

function debugLines(error: unknown): string[] {
  const trail = trailOf(error);
  return [
    '',
    'Where it comes from:',
    ...stacks(error).map((line) => `  ${line}`),
    '',
    trail.length === 0 ? 'No system call had been made.' : 'The last system calls before it:',
    ...trail.map((line) => `  ${line}`),
    '',
    `quicksave ${VERSION}, Node ${process.version}, Linux ${release()} ${process.arch}`,
    'If this is a fault of quicksave, please report it (CONTRIBUTING.md): these lines, what "quicksave check --json" prints,',
    'what you did, and what the program is that was saved. Look through the lines first: paths in them may be private.',
  ];
}

/** Of the error and what caused it. */
function stacks(error: unknown): string[] {
  if (!(error instanceof Error)) return [String(error)];
  const own = (error.stack ?? error.message).split('\n');
  return error.cause === undefined ? own : [...own, 'caused by', ...stacks(error.cause)];
}
