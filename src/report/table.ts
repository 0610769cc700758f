/** Text for a terminal: columns, and nothing that a program or an image could steer the terminal with. */

export interface ColumnOptions {
  /** Columns that are aligned at their right, by number. */
  readonly right?: readonly number[];
  readonly indent?: string;
}

/** Lines of cells as text, each column as wide as its widest cell. The last column is not filled up. */
export function columns(
  rows: readonly (readonly string[])[],
  { right = [], indent = '' }: ColumnOptions = {},
): string[] {
  const widths: number[] = [];
  const shown = rows.map((row) => row.map(printable));
  for (const row of shown) {
    row.forEach((cell, index) => {
      widths[index] = Math.max(widths[index] ?? 0, cell.length);
    });
  }
  return shown.map((row) => {
    const cells = row.map((cell, index) => {
      const width = widths[index] ?? 0;
      return right.includes(index) ? cell.padStart(width) : cell.padEnd(width);
    });
    return indent + cells.join('  ').trimEnd();
  });
}

/** A name comes from a program or from an image: it must not steer the terminal. */
export const printable = (text: string): string => text.replace(/[\p{C}\u2028\u2029]/gu, '?');

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** `1 byte`, `512 bytes`, `1.5 MiB` */
export function sizeText(bytes: number): string {
  if (bytes === 1) return '1 byte';
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit]}`;
}

/** `1 thread`, `3 threads` */
export const counted = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`;
