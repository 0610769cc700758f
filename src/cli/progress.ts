/** A line that is drawn again and again on a terminal while memory is copied. Nothing in a pipe. */
import { isatty } from 'node:tty';
import { durationText } from '../support/duration.ts';
import { print } from './print-error.ts';

const STANDARD_ERROR = 2;
const REDRAW_EVERY_MS = 100;
const MEBIBYTE = 1024 * 1024;
const CLEAR_LINE = '\r\u001b[K';

export class ProgressLine {
  readonly #what: string;
  readonly #shown = isatty(STANDARD_ERROR);
  readonly #begun = performance.now();
  #drawnAt = 0;

  constructor(what: string) {
    this.#what = what;
  }

  update(doneBytes: number, totalBytes: number): void {
    const now = performance.now();
    // What is over at once is not worth a line.
    if (!this.#shown || totalBytes === 0 || now - Math.max(this.#begun, this.#drawnAt) < REDRAW_EVERY_MS) return;
    this.#drawnAt = now;
    print(`${CLEAR_LINE}${this.#what}: ${progressText(doneBytes, totalBytes, now - this.#begun)}`);
  }

  clear(): void {
    if (this.#shown && this.#drawnAt > 0) print(CLEAR_LINE);
  }
}

/** `40 %, 120 of 300 MiB, 60 MiB/s, 3 s left`; what is left only where what is done tells something of it. */
export function progressText(doneBytes: number, totalBytes: number, elapsedMs: number): string {
  const percent = Math.floor((100 * doneBytes) / totalBytes);
  const done = `${(doneBytes / MEBIBYTE).toFixed(0)} of ${(totalBytes / MEBIBYTE).toFixed(0)} MiB`;
  if (percent === 0 || elapsedMs <= 0) return `${percent} %, ${done}`;
  const rate = doneBytes / elapsedMs;
  const left = percent < 100 ? `, ${durationText((totalBytes - doneBytes) / rate)} left` : '';
  return `${percent} %, ${done}, ${((rate / MEBIBYTE) * 1000).toFixed(0)} MiB/s${left}`;
}
