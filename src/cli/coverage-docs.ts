/**
 * The part of docs/coverage.md that `npm run docs` writes: for each kind that the registry lists, what the rows of the page that name its file
 * say of it. The rows themselves are written by hand.
 */

import { ERROR_PAGES } from '../support/error-pages/catalogue.ts';

const HEADING = '## By kind';
const HEAD = `${HEADING}

<!-- Made by npm run docs from the rows above and src/resources/registry.ts: change those. -->

What of each kind of the registry is in the rows above, by the file that they name. Kernel: what single rows need beyond that of a save as a whole.

| kind | saved | refused | lost, in part or whole | kernel | test |
|---|---|---|---|---|---|
`;

/** A row of the page. */
export interface CoverageRow {
  readonly state: string;
  readonly outcome: string;
  /** Source files, and folders with a slash behind, below src. A cell `same` has those of the row above it. */
  readonly sources: readonly string[];
  /** A name alone is a program. */
  readonly tests: readonly string[];
}

/** The page with its last section as it has to be. */
export function coverageDocs(page: string, registry: string): string {
  const byHand = page.includes(`\n${HEADING}\n`) ? page.slice(0, page.indexOf(`\n${HEADING}\n`)) : page;
  const rows = coverageRows(byHand);
  const kinds = registeredFiles(registry).map((file) =>
    kindRow(
      file,
      rows.filter(({ sources }) => isNamed(file, sources)),
    ),
  );
  return `${byHand.trimEnd()}\n\n${HEAD}${kinds.join('\n')}\n`;
}

/** Files that the registry imports kinds from, below src, in its order. */
export const registeredFiles = (registry: string): string[] =>
  Array.from(registry.matchAll(/from '\.\/([^/']+\/[^']+\.ts)'/g), ([, file]) => `resources/${file}`);

export function coverageRows(page: string): CoverageRow[] {
  const rows: CoverageRow[] = [];
  for (const line of page.split('\n').filter((one) => one.startsWith('| '))) {
    const [state, outcome, where, tests, ...rest] = line
      .slice(1, -1)
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim());
    if (state === undefined || outcome === undefined || where === undefined || tests === undefined || rest.length > 0)
      continue;
    if (state === 'state') continue;
    const named = Array.from(where.matchAll(/`([^`]+(?:\.ts|\/))`/g), ([, file]) => file as string);
    const above = where.startsWith('same') ? (rows.at(-1)?.sources ?? []) : [];
    rows.push({ state, outcome, sources: [...above, ...named], tests: testsIn(tests) });
  }
  return rows;
}

/** Itself, or the folder that it is in. */
export const isNamed = (file: string, sources: readonly string[]): boolean =>
  sources.some((source) => source === file || (source.endsWith('/') && file.startsWith(source)));

/** Without the mark of tests that some hosts skip, and what is said beside them. */
const testsIn = (cell: string): string[] =>
  cell
    .split(',')
    .map(
      (test) =>
        test
          .trim()
          .split(' ')[0]
          ?.replace(/\\?\*$/, '') ?? '',
    )
    .filter((test) => !['', 'same', 'all'].includes(test));

function kindRow(file: string, rows: readonly CoverageRow[]): string {
  const kind = file.replace(/^resources\/(.*)\.ts$/, '$1');
  const states = (has: (row: CoverageRow) => boolean): string[] => rows.filter(has).map(({ state }) => state);
  const cells = [
    states(({ outcome }) => /^saved/.test(outcome)).join('; '),
    distinct(rows.flatMap(({ outcome }) => (outcome.includes('refused') ? codesIn(outcome) : []))).join(', '),
    states(({ outcome }) => outcome.includes('**lost')).join('; '),
    distinct(rows.flatMap(({ state, outcome }) => kernelsIn(`${state} ${outcome}`))).join(', '),
    distinct(rows.flatMap(({ tests }) => tests)).join(', '),
  ];
  return `| \`${kind}\` | ${cells.join(' | ')} |`.replace(/ {2,}/g, ' ');
}

/** Of errors, in backticks. */
const codesIn = (text: string): string[] =>
  (text.match(/`[a-z0-9-]+`/g) ?? []).filter((code) => code.slice(1, -1) in ERROR_PAGES);

const kernelsIn = (text: string): string[] => text.match(/Linux \d+\.\d+/g) ?? [];

const distinct = (texts: readonly string[]): string[] => [...new Set(texts)];
