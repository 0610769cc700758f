// Checks the records of the image format: in src/image/record-types.ts no number and no name is there twice, and
// docs/image-format.md describes exactly those.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const read = (...path) => readFileSync(join(root, ...path), 'utf8');

/** Lines `NAME: 123,` of the RECORD table: text, because this file is run without the compiler. */
function recordsInSource() {
  const table = /export const RECORD = \{\n(.*?)\n\} as const;/s.exec(read('src', 'image', 'record-types.ts'))?.[1];
  if (table === undefined) throw new Error('src/image/record-types.ts has no table RECORD');
  return [...table.matchAll(/^\s*([A-Z_]+): (\d+),$/gm)].map(([, name, type]) => ({ name, type }));
}

/** Rows `| 123 | NAME | … |`. */
const recordsInDocs = () =>
  [...read('docs', 'image-format.md').matchAll(/^\| (\d+) \| ([A-Z_]+) \|/gm)].map(([, type, name]) => ({
    name,
    type,
  }));

function repeated(records, key, where) {
  const values = records.map((record) => record[key]);
  return values
    .filter((value, index) => values.indexOf(value) !== index)
    .map((value) => `${where} has the record ${key} ${value} twice`);
}

const lackedBy = (there, wanted, where) =>
  wanted
    .filter(({ name, type }) => !there.some((record) => record.name === name && record.type === type))
    .map(({ name, type }) => `${where} does not have record ${name} with the type ${type}`);

function checkTables() {
  const [source, docs] = [recordsInSource(), recordsInDocs()];
  const [inSource, inDocs] = ['src/image/record-types.ts', 'docs/image-format.md'];
  if (source.length === 0) return [`${inSource} has no records`];
  return [
    ...['type', 'name'].flatMap((key) => [...repeated(source, key, inSource), ...repeated(docs, key, inDocs)]),
    ...lackedBy(docs, source, inDocs),
    ...lackedBy(source, docs, inSource),
  ];
}

const faults = checkTables();
for (const fault of faults) console.error(fault);
process.exitCode = faults.length > 0 ? 1 : 0;
