/** Runs a synchronous pipeline with a progress line, and gives up between two steps when a signal asks for it. */
import { noteInterrupts } from '../kernel/interrupt-flag.ts';
import { QuicksaveError } from '../support/errors.ts';
import { ProgressLine } from './progress.ts';

export function interruptible<T>(
  what: string,
  sentence: string,
  run: (onPages: (doneBytes: number, totalBytes: number) => void) => T,
): T {
  const line = new ProgressLine(what);
  const flag = noteInterrupts();
  try {
    return run((doneBytes, totalBytes) => {
      if (flag.signal() !== 0) throw new QuicksaveError('interrupted', sentence);
      line.update(doneBytes, totalBytes);
    });
  } finally {
    line.clear();
    flag.restore();
  }
}
