/** Runs a synchronous pipeline with a progress line, and gives up between two steps when a signal asks for it. */
import { noteInterrupts } from '../kernel/interrupt-flag.ts';
import { QuicksaveError } from '../support/errors.ts';
import { ProgressLine } from './progress.ts';

/** For the part of a pipeline beside which the program runs already. */
export interface WhileItRuns {
  /** The signal that has come since it was asked last, 0 for none. */
  readonly takeSignal: () => number;
  /** The terminal is the program's. */
  readonly clearLine: () => void;
}

export function interruptible<T>(
  what: string,
  sentence: string,
  run: (onPages: (doneBytes: number, totalBytes: number) => void, whileItRuns: WhileItRuns) => T,
): T {
  const line = new ProgressLine(what);
  const flag = noteInterrupts();
  try {
    return run(
      (doneBytes, totalBytes) => {
        if (flag.signal() !== 0) throw new QuicksaveError('interrupted', sentence);
        line.update(doneBytes, totalBytes);
      },
      { takeSignal: flag.take, clearLine: () => line.clear() },
    );
  } finally {
    line.clear();
    flag.restore();
  }
}
