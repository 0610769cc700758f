// Bundles the command, the library and the workers into dist/. Native packages stay outside; everything else is bundled,
// because loading few files is what keeps the command's start-up short. Entry points that do not exist are left out.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

process.chdir(join(dirname(fileURLToPath(import.meta.url)), '..'));

const NATIVE_PACKAGES = ['koffi', '@node-rs/crc32', '@toondepauw/node-zstd'];

const KEEP_CODE_MS = 60_000;

// Bundled CommonJS packages ask for Node's own modules with require(), which an ES module does not have.
const REQUIRE_FOR_COMMONJS =
  "import { createRequire as quicksaveCreateRequire } from 'node:module';\n" +
  'const require = quicksaveCreateRequire(import.meta.url);';

function entryPoints() {
  const fixed = {
    cli: 'src/cli/main.ts',
    'compiled-bundle': 'src/cli/compiled-bundle.ts',
    index: 'src/index.ts',
    manual: 'src/cli/manual.ts',
  };
  const entries = Object.entries(fixed).filter(([, path]) => existsSync(path));
  const threads = readdirSync('src', { recursive: true }).filter((path) => /-(worker|process)\.ts$/.test(path));
  for (const path of threads.sort()) entries.push([basename(path, '.ts'), join('src', path)]);
  const names = entries.map(([name]) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new Error(`two entry points are called ${twice}`);
  return Object.fromEntries(entries);
}

function emitTypes() {
  const tsc = spawnSync(join('node_modules', '.bin', 'tsc'), ['-p', 'tsconfig.build.json'], { stdio: 'inherit' });
  if (tsc.status !== 0) process.exitCode = 1;
}

rmSync('dist', { recursive: true, force: true });
const entries = entryPoints();
if (Object.keys(entries).length > 0) {
  await build({
    entryPoints: entries,
    outdir: 'dist',
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    external: NATIVE_PACKAGES,
    banner: { js: REQUIRE_FOR_COMMONJS },
    logLevel: 'warning',
  });
}
// What the commands do is a bundle of its own: `quicksave --help` need not load it. See src/cli/compiled-bundle.ts.
await build({
  entryPoints: { 'command-line': 'src/cli/command-line.ts', commands: 'src/cli/commands.ts' },
  outdir: 'dist',
  outExtension: { '.js': '.cjs' },
  bundle: true,
  format: 'cjs',
  platform: 'node',
  target: 'node20',
  external: NATIVE_PACKAGES,
  define: { 'import.meta.url': 'quicksaveUrl' },
  banner: {
    js: "(function (exports, require, module, fileName) {\n'use strict';\nconst quicksaveUrl = require('node:url').pathToFileURL(fileName).href;",
  },
  footer: { js: '})' },
  logLevel: 'warning',
});
// The script and style of the report page run in a browser and stand in the page itself.
await build({
  entryPoints: { 'report-page': 'src/page/main.ts' },
  outdir: 'dist',
  bundle: true,
  minify: true,
  format: 'iife',
  platform: 'browser',
  target: 'es2020',
  banner: {
    js: '/* With d3-hierarchy, d3-scale, d3-selection, d3-shape: Copyright Mike Bostock, ISC license, d3js.org */',
  },
  logLevel: 'warning',
});
await build({ entryPoints: { 'report-page': 'src/page/page.css' }, outdir: 'dist', minify: true, logLevel: 'warning' });
const { pages } = await import(pathToFileURL(join('dist', 'manual.js')).href);
mkdirSync(join('dist', 'man'));
for (const { file, text } of pages) writeFileSync(join('dist', 'man', file), text);
if (existsSync('src/index.ts')) emitTypes();
// With the flags of bin/quicksave, by which V8 knows the code that it can take.
const flags = readFileSync('bin/quicksave', 'utf8').split('\n', 1)[0].split(' ').slice(3);
spawnSync(process.execPath, [...flags, 'tools/keep-code.mjs'], {
  stdio: ['ignore', 'ignore', 'inherit'],
  timeout: KEEP_CODE_MS,
});
console.log(`built ${Object.keys(entries).join(', ') || 'nothing: there is no entry point yet'}`);
