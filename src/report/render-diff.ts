/** A difference as text for a person. */
import { type Paint, plainly } from '../support/paint.ts';
import type { Change, Difference, MemoryChange } from './diff.ts';
import type { Json } from './json.ts';
import { columns, counted, printable, sizeText } from './table.ts';

/** Changes of one kind that are listed. */
const MAX_LINES = 100;
const MAX_RANGES = 8;
const MAX_VALUE = 60;

export function renderDifference(difference: Difference, paint: Paint = plainly): string {
  const { a, b } = difference;
  const sections = [
    columns([
      ['a', `${a.imageId}, made ${a.createdAt}`],
      ['b', `${b.imageId}, made ${b.createdAt}`],
    ]),
    ...(difference.same ? [[paint('green', 'No difference.')]] : []),
    ...[
      changeLines('header', difference.header),
      changeLines('process', difference.processes),
      changeLines('threads', difference.threads),
      changeLines('mappings', difference.mappings),
      changeLines('descriptors', difference.descriptors),
      memoryLines('memory', difference.memory),
      memoryLines('content of files without a name', difference.content),
    ].map(([title, ...lines]) => (title === undefined ? [] : [paint('bold', title), ...lines])),
  ];
  return `${sections
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n')}\n`;
}

function changeLines(title: string, found: readonly Change[]): string[] {
  if (found.length === 0) return [];
  const rows = found.slice(0, MAX_LINES).map(({ path, a, b }) => [path, valueText(a), '->', valueText(b)]);
  return [
    `${title}: ${counted(found.length, 'change')}`,
    ...columns(rows, { indent: '  ' }),
    ...restOf(found.length, MAX_LINES),
  ];
}

const restOf = (count: number, shown: number): string[] =>
  count > shown ? [`  and ${count - shown} more (--json has all)`] : [];

function valueText(value: Json | undefined): string {
  if (value === undefined) return 'not there';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > MAX_VALUE ? `${text.slice(0, MAX_VALUE)}…` : text;
}

function memoryLines(title: string, found: readonly MemoryChange[]): string[] {
  if (found.length === 0) return [];
  const bytes = found.reduce((sum, { changedBytes }) => sum + changedBytes, 0);
  const pages = found.reduce((sum, { changedPages }) => sum + changedPages, 0);
  return [
    `${title}: ${sizeText(bytes)} in ${counted(pages, 'page')}`,
    ...found.slice(0, MAX_LINES).flatMap(mappingLines),
    ...restOf(found.length, MAX_LINES),
  ];
}

function mappingLines({ pid, start, end, name, changedPages, changedBytes, ranges }: MemoryChange): string[] {
  const shown = ranges.slice(0, MAX_RANGES).map((range) => `${range.start}+${range.bytes}`);
  const more = ranges.length > MAX_RANGES ? ' …' : '';
  return [
    printable(`  ${start}-${end} ${name}${pid === undefined ? '' : ` of ${pid}`}`)
      .trimEnd()
      .concat(`: ${sizeText(changedBytes)} in ${counted(changedPages, 'page')}`),
    `    ${shown.join(' ')}${more}`,
  ];
}
