/**
 * A process that saves itself: it runs this command, its child, and waits for it. We are no part of the image, nor are the
 * ends of pipes that only we have; after a restart the process finds a child with our pid that has ended.
 */
import { fstatSync } from 'node:fs';
import type { TaskRecord } from '../image/tree.ts';
import { readStat } from '../procfs/stat.ts';
import { asPid, type Pid } from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';
import type { Output } from './output.ts';

/** The process that started us. Whoever inherits us when that has ended is another. */
export function ownParent(): Pid {
  const parent = process.ppid;
  if (parent <= 1) {
    throw new QuicksaveError(
      'no-parent',
      'The process that started quicksave has ended, or is in another pid namespace.',
      {
        remedy: 'Run quicksave from the program that is to be saved, and wait for its end.',
      },
    );
  }
  return asPid(parent);
}

/** Asked again when the process stands still: it cannot end without us noticing from then on. */
export function refuseOtherParent(pid: Pid): void {
  if (process.ppid === pid) return;
  throw new QuicksaveError('no-parent', `Process ${pid} has ended before it could be saved.`);
}

/** What of us the process would notice after a restart. */
export function describeSaver(): NonNullable<TaskRecord['saver']> {
  const { pid } = process;
  const { session, processGroup } = readStat(asPid(pid));
  const group = processGroup === pid ? 'group' : 'nothing';
  return { pid, leads: session === pid ? 'session' : group };
}

/** Whoever reads a stream may be the process itself, or wait for it: neither moves until the image is complete. */
export function refuseStream({ pid, output }: { readonly pid: Pid; readonly output: Output }): void {
  if (output.isCarried || fstatSync(output.fd).isFile()) return;
  throw new QuicksaveError('cannot-write', `Process ${pid} can save itself only into a file, or to another host.`, {
    remedy: 'Give the name of a file, or an address: --output FILE',
  });
}
