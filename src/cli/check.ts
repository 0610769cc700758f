/** `quicksave check [PID] [--stop] [--json]` */
import { checkProcess, type ProcessCheck } from '../checkpoint/check.ts';
import { checkHost } from '../report/check-host.ts';
import { renderHostCheck, renderProcessCheck } from '../report/render-check.ts';
import { asPid } from '../support/brand.ts';
import { withRemedy } from '../support/errors.ts';
import { paintFor } from './colour.ts';
import { type OutsideOptions, parseOutside } from './outside-option.ts';
import { asJson, printResult } from './print-result.ts';
import { UsageError } from './usage-error.ts';

const STANDARD_OUTPUT = 1;

interface Options extends OutsideOptions {
  readonly json?: boolean;
  readonly stop?: boolean;
}

export function runCheck(pidText: string | undefined, options: Options): void {
  const clean = pidText === undefined ? checkThisHost(options) : checkOne(pidText, options);
  process.exitCode = clean ? 0 : 1;
}

function checkThisHost({ json }: Options): boolean {
  const found = checkHost();
  printResult(json ? asJson(found) : renderHostCheck(found, paintFor(STANDARD_OUTPUT)));
  return found.canCheckpoint && found.canRestart;
}

function checkOne(pidText: string, { json, stop = false, ...choice }: Options): boolean {
  if (!/^[1-9]\d{0,9}$/.test(pidText)) throw new UsageError(`"${pidText}" is not a process id.`);
  const found = checkProcess(asPid(Number(pidText)), parseOutside(choice), stop);
  printResult(json ? asJson(withRemedies(found)) : renderProcessCheck(found, paintFor(STANDARD_OUTPUT)));
  return found.problems.length === 0 && found.restartProblems.length === 0;
}

const withRemedies = (found: ProcessCheck): ProcessCheck => ({
  ...found,
  problems: found.problems.map(withRemedy),
  restartProblems: found.restartProblems.map(withRemedy),
});
