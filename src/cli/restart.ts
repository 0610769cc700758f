/** `quicksave restart FILE|-` */
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { readAccess } from '../image/protection.ts';
import { Companion, endLike } from '../restart/accompany.ts';
import { type RestartSummary, restart } from '../restart/restart.ts';
import { Foreground } from '../restart/terminal.ts';
import { QuicksaveError } from '../support/errors.ts';
import { interruptible } from './interruptible.ts';
import { printLine } from './print-error.ts';
import { asJson } from './print-result.ts';
import { treeText } from './tree-text.ts';
import { UsageError } from './usage-error.ts';
import { writeWhole } from './write-whole.ts';

interface Options {
  readonly detach?: boolean;
  readonly pidFile?: string;
  readonly files: string;
  readonly images?: string;
  readonly key?: readonly string[];
  readonly verifyKey?: string;
  readonly trust?: boolean;
  readonly json?: boolean;
}

const STANDARD_OUTPUT = 1;

export async function runRestart(source: string, options: Options): Promise<void> {
  const policy = options.files;
  if (policy !== 'refuse' && policy !== 'accept-changed') {
    throw new UsageError(`--files takes refuse or accept-changed, not "${policy}".`);
  }
  const foreground = options.detach ? undefined : Foreground.find();
  const summary = bringBack(source, policy, foreground, options);
  // Before anything is said: whoever reads it may send signals at once.
  const companion = options.detach ? undefined : new Companion(summary.pid, foreground);
  printLine(`restarted ${treeText(summary)}, ${summary.totalMs.toFixed(0)} ms`);
  for (const remark of summary.remarks) printLine(`  ${remark}`);
  if (companion === undefined) printRestarted(options.json ? asJson(summary) : `${summary.pid}\n`);
  else endLike(await companion.untilEnd());
}

function bringBack(
  source: string,
  policy: string,
  foreground: Foreground | undefined,
  { detach, pidFile, images, key: keys, verifyKey, trust = false }: Options,
): RestartSummary {
  const access = { ...readAccess({ keys, verifyKey }), ownOnly: !trust };
  const sentence = 'The restart was interrupted; no process was left.';
  let written = false;
  try {
    return interruptible('restarting', sentence, (onPages) =>
      restart({
        source,
        acceptChangedFiles: policy === 'accept-changed',
        images,
        access,
        streams: [0, 1, 2],
        parent: process.pid,
        keepsParent: !detach,
        onRebuilt: (pid) => {
          // While the process can still be taken back: one that nobody knows of must not be left running.
          if (pidFile !== undefined) writePidFile(pidFile, pid);
          written = pidFile !== undefined;
          foreground?.giveTo(pid);
        },
        onPages,
      }),
    );
  } catch (error) {
    foreground?.takeBack();
    if (written && pidFile !== undefined) rmSync(pidFile, { force: true });
    throw error;
  }
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
