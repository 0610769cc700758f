// Bundles the command and the library into dist/. Native packages stay outside; everything else is bundled, because
// loading one file is what keeps the command's start-up short.
import { rmSync } from 'node:fs';
import { build } from 'esbuild';

rmSync('dist', { recursive: true, force: true });
