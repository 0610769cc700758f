/** Colours on a terminal, unless the user wants none: https://no-color.org */
import { isatty } from 'node:tty';
import { type Paint, plainly, type Style } from '../support/paint.ts';

const codes: Readonly<Record<Style, number>> = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 };

const inColours: Paint = (style, text) => `\u001b[${codes[style]}m${text}\u001b[0m`;

/** For what goes to this stream. */
export const paintFor = (fd: number): Paint => (wantsColours(fd) ? inColours : plainly);

/** The text as it is where colours are not wanted. */
export const coloured = (fd: number, style: Style, text: string): string => paintFor(fd)(style, text);

function wantsColours(fd: number): boolean {
  const { NO_COLOR: forbidden = '', TERM: terminal } = process.env;
  return forbidden === '' && terminal !== 'dumb' && isatty(fd);
}
