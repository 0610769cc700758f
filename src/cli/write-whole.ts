/** A text goes out whole, before the command ends. */
import { writeSync } from 'node:fs';

const pause = new Int32Array(new SharedArrayBuffer(4));
const LOOK_EVERY_MS = 2;

export function writeWhole(fd: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(fd, bytes, done);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      // Somebody has made the pipe or terminal non-blocking, and it is full.
      Atomics.wait(pause, 0, 0, LOOK_EVERY_MS);
    }
  }
}
