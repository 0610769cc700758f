/** The side of the restart that is the first process of a pid namespace of its own (enter-namespace.ts), and what it tells the command outside. */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { reaperProgram } from '../arch/x86/reaper-elf.ts';
import { becomeProgram, outliveParent } from '../kernel/calls/become-program.ts';
import { executableFromBytes } from '../kernel/calls/descriptors.ts';
import { outsideStatus } from '../resources/own-namespace.ts';
import type { End } from './accompany.ts';
import type { RestartSummary } from './restart.ts';

/** One line of JSON each. */
export type Report =
  | { readonly running: RestartSummary }
  | { readonly ended: End }
  /** Signals have handlers: they may be passed on. */
  | { readonly listens: true };

/** A socket to the command outside. */
export const REPORT_FD = 3;
const STANDARD_STREAMS = [0, 1, 2];

export const isInOwnNamespace = (): boolean => outsideStatus() !== undefined;

/** Comes back when the command outside has taken notice. If it has ended, so do we. */
export function reportOutside(report: Report): void {
  writeSync(REPORT_FD, `${JSON.stringify(report)}\n`);
  readSync(REPORT_FD, Buffer.alloc(1));
}

/** Stays for the other processes of the namespace, which would end with us (pid_namespaces(7)), without the memory of the command. */
export function stayAsReaper(last: Report): never {
  const executable = executableFromBytes('quicksave', reaperProgram());
  outliveParent();
  reportOutside(last);
  process.chdir('/');
  closeSync(REPORT_FD);
  // Whoever reads what we print sees its end.
  for (const number of STANDARD_STREAMS) {
    closeSync(number);
    openSync('/dev/null', 'r+');
  }
  return becomeProgram(executable.number, 'quicksave');
}
