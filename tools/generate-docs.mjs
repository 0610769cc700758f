// Writes docs/errors.md, and the last section of docs/coverage.md, from the sources; unit tests fail when they are not what this would write. Needs no build.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

async function bundled(source) {
  const { outputFiles } = await build({
    entryPoints: [join(root, source)],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
  });
  return import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString('base64')}`);
}

const { errorDocs } = await bundled('src/cli/error-docs.ts');
writeFileSync(join(root, 'docs', 'errors.md'), errorDocs());

const { coverageDocs } = await bundled('src/cli/coverage-docs.ts');
const page = join(root, 'docs', 'coverage.md');
const registry = readFileSync(join(root, 'src', 'resources', 'registry.ts'), 'utf8');
writeFileSync(page, coverageDocs(readFileSync(page, 'utf8'), registry));
