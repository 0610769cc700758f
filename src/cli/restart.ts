/** `quicksave restart FILE|-` */
import { renameSync, writeFileSync, writeSync } from 'node:fs';
import { Companion, endLike } from '../restart/accompany.ts';
import { type RestartSummary, restart } from '../restart/restart.ts';
import { Foreground } from '../restart/terminal.ts';
import { interruptible } from './interruptible.ts';
import { printLine } from './print-error.ts';
import { UsageError } from './usage-error.ts';

interface Options {
  readonly detach?: boolean;
  readonly pidFile?: string;
  readonly files: string;
}

const STANDARD_OUTPUT = 1;

export async function runRestart(source: string, options: Options): Promise<void> {
  const policy = options.files;
  if (policy !== 'refuse' && policy !== 'accept-changed') {
    throw new UsageError(`--files takes refuse or accept-changed, not "${policy}".`);
  }
  const foreground = options.detach ? undefined : Foreground.find();
  const summary = bringBack(source, policy, foreground, !options.detach);
  // Before anything is said: whoever reads it may send signals at once.
  const companion = options.detach ? undefined : new Companion(summary.pid, foreground);
  if (options.pidFile !== undefined) writePidFile(options.pidFile, summary.pid);
  const threads = summary.threads === 1 ? '1 thread' : `${summary.threads} threads`;
  printLine(`restarted process ${summary.pid}: ${threads}, ${summary.totalMs.toFixed(0)} ms`);
  for (const remark of summary.remarks) printLine(`  ${remark}`);
  if (companion === undefined) writeSync(STANDARD_OUTPUT, `${summary.pid}\n`);
  else endLike(await companion.untilEnd());
}

function bringBack(
  source: string,
  policy: string,
  foreground: Foreground | undefined,
  keepsParent: boolean,
): RestartSummary {
  const sentence = 'The restart was interrupted; no process was left.';
  try {
    return interruptible('restarting', sentence, (onPages) =>
      restart({
        source,
        acceptChangedFiles: policy === 'accept-changed',
        streams: [0, 1, 2],
        parent: process.pid,
        keepsParent,
        onRebuilt: (pid) => void foreground?.giveTo(pid),
        onPages,
      }),
    );
  } catch (error) {
    foreground?.takeBack();
    throw error;
  }
}

function writePidFile(path: string, pid: number): void {
  writeFileSync(`${path}.partial`, `${pid}\n`);
  renameSync(`${path}.partial`, path);
}
