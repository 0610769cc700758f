/** Results go to standard output. */
import { QuicksaveError } from '../support/errors.ts';
import { writeWhole } from './write-whole.ts';

const STANDARD_OUTPUT = 1;

/** As all commands print data with `--json`. */
export const asJson = (value: unknown): string => `${JSON.stringify(value, undefined, 2)}\n`;

/** A reader that has seen enough (`| head`) is no error: false. */
export function printResult(text: string): boolean {
  try {
    writeWhole(STANDARD_OUTPUT, text);
    return true;
  } catch (cause) {
    const { code = 'unknown error' } = cause as NodeJS.ErrnoException;
    if (code === 'EPIPE') return false;
    throw new QuicksaveError('cannot-write', `The result could not be written to standard output (${code}).`, {
      cause,
    });
  }
}
