/** The one place where errors become text: what, which process or file, why, what to do. */
import { writeSync } from 'node:fs';
import { type Problem, QuicksaveError, RefusedError } from '../support/errors.ts';
import { UsageError } from './usage-error.ts';

const STANDARD_ERROR = 2;

export function printLine(text: string): void {
  writeSync(STANDARD_ERROR, `${text}\n`);
}

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

/** Says what went wrong; the exit status. */
export function failWith(error: unknown, debug: boolean): number {
  printError(error, debug);
  return error instanceof UsageError ? EXIT_USAGE : EXIT_FAILED;
}

function printError(error: unknown, debug: boolean): void {
  printLine(`quicksave: ${sentenceOf(error)}`);
  if (error instanceof RefusedError) {
    for (const problem of error.problems) printProblem(problem);
  } else if (error instanceof QuicksaveError && error.remedy !== undefined) {
    printLine(`  ${error.remedy}`);
  }
  if (debug && error instanceof Error) printLine(error.stack ?? '');
}

function sentenceOf(error: unknown): string {
  if (error instanceof QuicksaveError) return error.message;
  const message = error instanceof Error ? error.message : String(error);
  return `Something went wrong inside quicksave: ${message}. (--debug shows where.)`;
}

function printProblem(problem: Problem): void {
  printLine(`  ${problem.path.join(' › ')}: ${problem.message}`);
  if (problem.remedy !== undefined) printLine(`    ${problem.remedy}`);
}
