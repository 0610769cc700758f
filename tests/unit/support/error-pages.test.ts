/** Every code has a page, every page a code, and docs/errors.md is made from them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { errorDocs } from '../../../src/cli/error-docs.ts';
import { ERROR_PAGES, ERROR_SECTIONS } from '../../../src/support/error-pages/catalogue.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const codes = Object.keys(ERROR_PAGES);

test('docs/errors.md is what npm run docs writes', () => {
  expect(readFileSync(join(root, 'docs', 'errors.md'), 'utf8')).toBe(errorDocs());
});

test('each code is in one section, and each section in the catalogue', () => {
  const listed = ERROR_SECTIONS.flatMap(({ pages }) => Object.keys(pages));
  expect(listed.toSorted()).toEqual(codes.toSorted());
});

test('codes are lower case words and numbers with hyphens, short enough for the ERROR record', () => {
  for (const code of codes) expect(code).toMatch(/^[a-z0-9]+(-[a-z0-9]+)*$/);
  expect(Math.max(...codes.map((code) => code.length))).toBeLessThanOrEqual(64);
});

test('no code is in the catalogue that nothing in the source has', () => {
  const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !path.includes('error-pages'))
    .map((path) => readFileSync(join(root, 'src', path), 'utf8'))
    .join('\n');
  expect(codes.filter((code) => !sources.includes(`'${code}'`))).toEqual([]);
});

test('every page says what the error means and what to do', () => {
  for (const { means, remedy } of Object.values(ERROR_PAGES)) {
    expect(means).toMatch(/^(quicksave|--track|[A-Z]).+\.$/);
    expect(remedy).toMatch(/^[A-Z].{5,}/);
  }
});
