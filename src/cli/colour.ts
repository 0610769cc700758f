/** Colours on a terminal, unless the user wants none: https://no-color.org */
import { isatty } from 'node:tty';

const codes = { bold: 1, red: 31, dim: 2 } as const;

/** The text as it is where colours are not wanted. */
export function coloured(fd: number, colour: keyof typeof codes, text: string): string {
  return wantsColours(fd) ? `\u001b[${codes[colour]}m${text}\u001b[0m` : text;
}

function wantsColours(fd: number): boolean {
  const { NO_COLOR: forbidden = '', TERM: terminal } = process.env;
  return forbidden === '' && terminal !== 'dumb' && isatty(fd);
}
