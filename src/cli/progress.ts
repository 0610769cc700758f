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
    if (!this.#shown || totalBytes === 0 || now - this.#drawnAt < REDRAW_EVERY_MS) return;
    this.#drawnAt = now;
    const percent = Math.floor((100 * doneBytes) / totalBytes);
    const rate = doneBytes / MEBIBYTE / ((now - this.#begun) / 1000);
    const done = `${(doneBytes / MEBIBYTE).toFixed(0)} of ${(totalBytes / MEBIBYTE).toFixed(0)} MiB`;
    const left = durationText(((totalBytes - doneBytes) / MEBIBYTE / rate) * 1000);
    print(`${CLEAR_LINE}${this.#what}: ${percent} %, ${done}, ${rate.toFixed(0)} MiB/s, ${left} left`);
  }

  clear(): void {
    if (this.#shown && this.#drawnAt > 0) print(CLEAR_LINE);
  }
}
