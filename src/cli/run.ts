/** `quicksave run [--every 10m] [--keep 3] [--dir DIR] -- COMMAND…` */
import { resolve } from 'node:path';
import { opensImages } from '../image/key-files.ts';
import { readProtection } from '../image/protection.ts';
import { type JobRequest, superviseJob } from '../jobs/supervise.ts';
import { printable } from '../report/table.ts';
import { endLike } from '../restart/accompany.ts';
import { needsOwnNamespace, runInOwnNamespace } from '../restart/enter-namespace.ts';
import { isInOwnNamespace, reportOutside, stayAsReaper } from '../restart/inside-namespace.ts';
import { isAddress } from '../support/address.ts';
import { parseDuration } from '../support/duration.ts';
import { parseCompression } from './compression-option.ts';
import { EXIT_TRY_AGAIN } from './exit-status.ts';
import { printLine } from './print-error.ts';
import { UsageError } from './usage-error.ts';

interface Options {
  readonly every: string;
  readonly keep: string;
  readonly dir: string;
  readonly grace: string;
  readonly incremental?: boolean;
  readonly compress: string | true;
  readonly files: string;
  readonly log?: string;
  readonly fresh?: boolean;
  readonly encrypt?: readonly string[];
  readonly sign?: string;
  readonly key?: readonly string[];
  readonly trust?: boolean;
}

export async function runRun(command: readonly string[], options: Options): Promise<void> {
  const inside = isInOwnNamespace();
  const supervised = superviseJob(parseRequest(command, options));
  // Its handlers are there.
  if (inside) reportOutside({ listens: true });
  const outcome = await supervised;
  if (outcome.kind === 'elsewhere') await goOnElsewhere(options);
  else if (outcome.kind === 'preempted') process.exitCode = EXIT_TRY_AGAIN;
  else if (outcome.kind === 'ended') {
    // What the program has left behind is not ended with it there either.
    if (inside) stayAsReaper({ ended: outcome.end });
    endLike(outcome.end);
  } else
    printLine(
      `quicksave: the job has ended well already, at ${new Date(outcome.at).toISOString()} (--fresh starts over)`,
    );
}

/** The job goes on in there, under the care of this command, run again; here its end is waited for, and signals are passed on. */
async function goOnElsewhere({ trust = false }: Options): Promise<void> {
  const end = await runInOwnNamespace({ detach: false, trust });
  if (typeof end === 'number') process.exitCode = end;
  else if (end !== undefined) endLike(end);
}

function parseRequest(command: readonly string[], options: Options): JobRequest {
  if (command.length === 0) throw new UsageError('give the command to run: quicksave run -- COMMAND…');
  if (options.files !== 'refuse' && options.files !== 'accept-changed') {
    throw new UsageError(`--files takes refuse or accept-changed, not "${options.files}".`);
  }
  if (!/^[1-9]\d{0,5}$/.test(options.keep))
    throw new UsageError(`--keep takes a number from 1 on, not "${options.keep}".`);
  if (isAddress(options.dir)) {
    throw new UsageError(
      `--dir takes a folder of this host, not "${options.dir}": what is in it has to be found, locked and replaced. ` +
        'Mount it, or copy its saves elsewhere.',
    );
  }
  return {
    folder: resolve(options.dir),
    command,
    everyMs: durationOf('--every', options.every),
    keep: Number(options.keep),
    graceMs: durationOf('--grace', options.grace),
    incremental: options.incremental ?? false,
    compress: levelOf(options.compress),
    fresh: options.fresh ?? false,
    acceptChangedFiles: options.files === 'accept-changed',
    protection: parseProtection(options),
    log: options.log === undefined ? undefined : resolve(options.log),
    say: (line) => printLine(printable(`quicksave: ${line}`)),
    needsNamespace: needsOwnNamespace,
  };
}

/** Key files that cannot be used are told before the program starts. Its saves are signed: so must be what it goes on from. */
function parseProtection({ encrypt = [], sign, key: keys = [], trust = false }: Options): JobRequest['protection'] {
  readProtection({ encrypt, sign, keys });
  const signing = sign === undefined ? undefined : resolve(sign);
  const opening = [...keys, ...encrypt.filter(opensImages)].map((path) => resolve(path));
  return {
    ofSave: { encrypt: encrypt.map((path) => resolve(path)), ...(signing === undefined ? {} : { sign: signing }) },
    ofRestart: { keys: opening, trust, ...(signing === undefined ? {} : { verifyKey: signing }) },
  };
}

/** As the library takes it. */
function levelOf(text: string | true): number | undefined {
  const compression = parseCompression(text);
  return compression === 'auto' ? undefined : (compression ?? 0);
}

function durationOf(option: string, text: string): number {
  const ms = parseDuration(text);
  if (ms !== undefined && ms > 0) return ms;
  throw new UsageError(`${option} takes a time such as 90s, 10m or 1h30m, not "${text}".`);
}
