/** The one place where errors become text: what, which process or file, why, what to do. */

import { printable } from '../report/table.ts';
import { type Problem, QuicksaveError, RefusedError } from '../support/errors.ts';
import { coloured } from './colour.ts';
import { UsageError } from './usage-error.ts';
import { writeWhole } from './write-whole.ts';

const STANDARD_ERROR = 2;

/** A line for a person. What was done is done, whether or not somebody reads about it: a stream that takes nothing is no error. */
export const printLine = (text: string): void => print(`${text}\n`);

export function print(text: string): void {
  try {
    writeWhole(STANDARD_ERROR, text);
  } catch {
    // There is nobody to tell.
  }
}

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

/** Says what went wrong; the exit status. */
export function failWith(error: unknown, debug: boolean): number {
  printError(error, debug);
  return error instanceof UsageError ? EXIT_USAGE : EXIT_FAILED;
}

function printError(error: unknown, debug: boolean): void {
  printLine(`${coloured(STANDARD_ERROR, 'red', 'quicksave:')} ${printable(sentenceOf(error))}`);
  if (error instanceof RefusedError) {
    for (const problem of error.problems) printProblem(problem);
  } else if (error instanceof QuicksaveError && error.remedy !== undefined) {
    printLine(`  ${printable(error.remedy)}`);
  }
  if (debug && error instanceof Error) printLine(error.stack ?? '');
}

function sentenceOf(error: unknown): string {
  if (error instanceof QuicksaveError) return error.message;
  const message = error instanceof Error ? error.message : String(error);
  return `Something went wrong inside quicksave: ${message}. (--debug shows where.)`;
}

function printProblem(problem: Problem): void {
  printLine(printable(`  ${problem.path.join(' › ')}: ${problem.message}`));
  if (problem.remedy !== undefined) printLine(`    ${printable(problem.remedy)}`);
}
