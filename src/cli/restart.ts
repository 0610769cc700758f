/** `quicksave restart FILE|-` */
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { readAccess } from '../image/protection.ts';
import { Companion, endLike, passOn } from '../restart/accompany.ts';
import { needsOwnNamespace, runInOwnNamespace } from '../restart/enter-namespace.ts';
import { isInOwnNamespace, reportOutside, stayAsReaper } from '../restart/inside-namespace.ts';
import { type LazyRestart, type RestartRequest, type RestartSummary, restart } from '../restart/restart.ts';
import { Foreground } from '../restart/terminal.ts';
import type { Pid } from '../support/brand.ts';
import { elapsedText } from '../support/duration.ts';
import { QuicksaveError } from '../support/errors.ts';
import { isForsaken, reportRunning } from './background.ts';
import { interruptible, type WhileItRuns } from './interruptible.ts';
import { printLine } from './print-error.ts';
import { asJson } from './print-result.ts';
import { treeText } from './tree-text.ts';
import { UsageError } from './usage-error.ts';
import { writeWhole } from './write-whole.ts';

interface Options {
  readonly detach?: boolean;
  readonly pidFile?: string;
  readonly files: string;
  readonly clock?: NonNullable<RestartRequest['clock']>;
  /** `true`: missing ones are made; `false`: they are left alone. */
  readonly cgroups?: boolean;
  readonly images?: string;
  readonly key?: readonly string[];
  readonly verifyKey?: string;
  readonly trust?: boolean;
  readonly json?: boolean;
  readonly lazy?: boolean;
}

const STANDARD_OUTPUT = 1;

export async function runRestart(source: string, options: Options): Promise<void> {
  const policy = options.files;
  if (policy !== 'refuse' && policy !== 'accept-changed') {
    throw new UsageError(`--files takes refuse or accept-changed, not "${policy}".`);
  }
  if (needsOwnNamespace()) {
    await restartOutside(options);
    return;
  }
  const inside = isInOwnNamespace();
  const foreground = options.detach ? undefined : Foreground.find();
  const summary = bringBack(source, policy, foreground, options);
  // Before anything is said: whoever reads it may send signals at once.
  const companion = options.detach || summary.ended !== undefined ? undefined : new Companion(summary.pid, foreground);
  if (!options.lazy) tell(summary, options);
  if (summary.ended !== undefined) foreground?.takeBack();
  if (inside && options.detach) stayAsReaper({ running: summary });
  const ended = companion === undefined ? summary.ended : await companion.untilEnd();
  if (options.detach || ended === undefined) return;
  if (inside) stayAsReaper({ ended });
  endLike(ended);
}

/** The command inside says everything but what only this side knows: the pid outside. */
async function restartOutside(options: Options): Promise<void> {
  const { detach = false, lazy, pidFile, json, trust = false } = options;
  if (detach && lazy) {
    throw new QuicksaveError('not-enough-rights', 'In a namespace of its own a lazy restart stays in the foreground.', {
      remedy: 'Leave out --lazy or --detach, or give quicksave CAP_CHECKPOINT_RESTORE.',
    });
  }
  const onRunning = (summary: RestartSummary): void => {
    if (pidFile !== undefined) writePidFile(pidFile, summary.pid);
    if (detach) printRestarted(json ? asJson(summary) : `${summary.pid}\n`);
  };
  const end = await runInOwnNamespace({ onRunning, detach, trust });
  if (typeof end === 'number') process.exitCode = end;
  else if (end !== undefined) endLike(end);
}

function tell(summary: RestartSummary, { detach, json }: Options): void {
  printLine(`restarted ${treeText(summary)}, ${elapsedText(summary.totalMs)}`);
  for (const remark of summary.remarks) printLine(`  ${remark}`);
  if (isInOwnNamespace()) {
    if (!detach) reportOutside({ running: summary });
  } else if (detach) printRestarted(json ? asJson(summary) : `${summary.pid}\n`);
}

function bringBack(
  source: string,
  policy: string,
  foreground: Foreground | undefined,
  options: Options,
): RestartSummary {
  const pidFile = isInOwnNamespace() ? undefined : options.pidFile;
  const { detach, images, clock, cgroups, key: keys, verifyKey, trust = false } = options;
  const access = { ...readAccess({ keys, verifyKey }), ownOnly: !trust };
  const sentence = 'The restart was interrupted; no process was left.';
  let written = false;
  try {
    return interruptible('restarting', sentence, (onPages, whileItRuns) =>
      restart({
        source,
        acceptChangedFiles: policy === 'accept-changed',
        images,
        clock,
        cgroups: cgroups === undefined ? 'join' : cgroups ? 'create' : 'ignore',
        access,
        streams: [0, 1, 2],
        parent: process.pid,
        keepsParent: !detach,
        onRebuilt: (pid) => {
          if (isForsaken()) throw new QuicksaveError('interrupted', sentence);
          // While the process can still be taken back: one that nobody knows of must not be left running.
          if (pidFile !== undefined) writePidFile(pidFile, pid);
          written = pidFile !== undefined;
          foreground?.giveTo(pid);
        },
        onPages,
        lazy: options.lazy ? lazyRestart(whileItRuns, options) : undefined,
      }),
    );
  } catch (error) {
    foreground?.takeBack();
    if (written && pidFile !== undefined) rmSync(pidFile, { force: true });
    throw error;
  }
}

/** Signals for us go on to the program, as they will when all its pages are there; in the background they have nobody to go to. */
function lazyRestart({ takeSignal, clearLine }: WhileItRuns, options: Options): LazyRestart {
  let pid: Pid | undefined;
  return {
    onRunning: (summary) => {
      clearLine();
      tell(summary, options);
      if (options.detach) reportRunning();
      pid = summary.pid;
    },
    onPages: () => {
      const signal = takeSignal();
      if (signal !== 0 && pid !== undefined && !options.detach) passOn(pid, signal);
    },
  };
}

function writePidFile(path: string, pid: number): void {
  const partial = `${path}.partial`;
  let made = false;
  try {
    writeFileSync(partial, `${pid}\n`);
    made = true;
    renameSync(partial, path);
  } catch (cause) {
    const { code = 'unknown error' } = cause as NodeJS.ErrnoException;
    if (made) rmSync(partial, { force: true });
    throw new QuicksaveError('cannot-write', `The pid file ${path} cannot be written (${code}).`, {
      remedy: 'Give the name of a file in a folder that is there and may be written. No process was left.',
      cause,
    });
  }
}

/** The process runs: that its number cannot be printed is no failure of the restart. */
function printRestarted(text: string): void {
  try {
    writeWhole(STANDARD_OUTPUT, text);
  } catch {
    printLine('  its pid could not be written to standard output');
  }
}
