// Writes docs/errors.md from the sources; a unit test fails when it is not what this would write. Needs no build.
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

const { outputFiles } = await build({
  entryPoints: [join(root, 'src', 'cli', 'error-docs.ts')],
  bundle: true,
  write: false,
  format: 'esm',
  platform: 'node',
});
const { errorDocs } = await import(
  `data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString('base64')}`
);
writeFileSync(join(root, 'docs', 'errors.md'), errorDocs());
