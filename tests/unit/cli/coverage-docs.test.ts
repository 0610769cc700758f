/** docs/coverage.md: its last section is generated, and what its rows name is there. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { coverageDocs, coverageRows, isNamed, registeredFiles } from '../../../src/cli/coverage-docs.ts';
import { ERROR_PAGES } from '../../../src/support/error-pages/catalogue.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const isThere = (path: string): boolean => existsSync(join(root, path));
const page = read('docs/coverage.md');
const registry = read('src/resources/registry.ts');
const rows = coverageRows(page);

describe('docs/coverage.md', () => {
  it('is what npm run docs writes', () => {
    expect(page).toBe(coverageDocs(page, registry));
  });

  it('has a row for each kind of the registry', () => {
    const named = rows.flatMap(({ sources }) => sources);
    expect(registeredFiles(registry).length).toBeGreaterThan(50);
    expect(registeredFiles(registry).filter((file) => !isNamed(file, named))).toEqual([]);
  });

  it('names source files that are there', () => {
    const named = rows.flatMap(({ sources }) => sources);
    expect(named.filter((file) => !isThere(join('src', file)))).toEqual([]);
  });

  it('names tests and programs that are there', () => {
    const programs = (name: string): string[] => ['c', 'py'].map((kind) => `tests/programs/${name}.${kind}`);
    const isTest = (name: string): boolean =>
      name.includes('/') ? isThere(`tests/${name}`) : programs(name).some(isThere);
    const named = rows.flatMap(({ tests }) => tests);
    expect(named.length).toBeGreaterThan(100);
    expect(named.filter((name) => !isTest(name))).toEqual([]);
  });

  it('names codes of errors that there are', () => {
    const named = rows.flatMap(({ outcome }) =>
      Array.from(outcome.matchAll(/refused(?: at restart)? `([^`]+)`/g), ([, code]) => code ?? ''),
    );
    expect(named.length).toBeGreaterThan(50);
    expect(named.filter((code) => !(code in ERROR_PAGES))).toEqual([]);
  });
});

describe('the section by kind', () => {
  const sample = [
    '| state | | where | test |',
    '|---|---|---|---|',
    '| size | saved (Linux 6.9); with `O_ODD` refused `eventfd-mode` | `resources/files/thing.ts` | thing, faults/thing.test.ts* |',
    '| colour \\| shade | **lost** | same | |',
    '| other | saved | `resources/files/other.ts` | |',
    '',
  ].join('\n');
  const made = coverageDocs(
    sample,
    "import { thing } from './files/thing.ts';\nimport { none } from './files/none.ts';\n",
  );

  it('has what the rows that name the file say', () => {
    expect(made).toContain(
      '| `files/thing` | size | `eventfd-mode` | colour \\| shade | Linux 6.9 | thing, faults/thing.test.ts |',
    );
    expect(made).toContain('| `files/none` | | | | | |');
  });

  it('is the same when it is made again', () => {
    expect(
      coverageDocs(made, "import { thing } from './files/thing.ts';\nimport { none } from './files/none.ts';\n"),
    ).toBe(made);
  });
});
