/** Results go to standard output, whole, before the command ends. */
import { writeSync } from 'node:fs';

const STANDARD_OUTPUT = 1;
const pause = new Int32Array(new SharedArrayBuffer(4));
const LOOK_EVERY_MS = 2;

/** A reader that has seen enough (`| head`) is no error. */
export function printResult(text: string): void {
  const bytes = Buffer.from(text);
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(STANDARD_OUTPUT, bytes, done);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EPIPE') return;
      if (code !== 'EAGAIN') throw error;
      // Somebody has made the pipe or terminal non-blocking, and it is full.
      Atomics.wait(pause, 0, 0, LOOK_EVERY_MS);
    }
  }
}
