/** `quicksave restart FILE|-` */
import { renameSync, writeFileSync, writeSync } from 'node:fs';
import { restart } from '../restart/restart.ts';
import { printLine } from './print-error.ts';

interface Options {
  readonly detach?: boolean;
  readonly pidFile?: string;
  readonly files: string;
}

const STANDARD_OUTPUT = 1;

export async function runRestart(source: string, options: Options): Promise<void> {
  const summary = restart({
    source,
    acceptChangedFiles: options.files === 'accept-changed',
    streams: [0, 1, 2],
    onPages: () => {},
  });
  if (options.pidFile !== undefined) writePidFile(options.pidFile, summary.pid);
  const threads = summary.threads === 1 ? '1 thread' : `${summary.threads} threads`;
  printLine(`restarted process ${summary.pid}: ${threads}, ${summary.totalMs.toFixed(0)} ms`);
  for (const remark of summary.remarks) printLine(`  ${remark}`);
  if (options.detach) {
    writeSync(STANDARD_OUTPUT, `${summary.pid}\n`);
    return;
  }
  const { accompany } = await import('../restart/accompany.ts');
  process.exitCode = await accompany(summary.pid);
}

function writePidFile(path: string, pid: number): void {
  writeFileSync(`${path}.partial`, `${pid}\n`);
  renameSync(`${path}.partial`, path);
}
