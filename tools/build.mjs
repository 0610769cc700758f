// Bundles the command, the library and the workers into dist/. Native packages stay outside; everything else is bundled,
// because loading few files is what keeps the command's start-up short. Entry points that do not exist are left out.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

process.chdir(join(dirname(fileURLToPath(import.meta.url)), '..'));

const NATIVE_PACKAGES = ['koffi', '@node-rs/crc32', '@toondepauw/node-zstd'];

// Bundled CommonJS packages ask for Node's own modules with require(), which an ES module does not have.
const REQUIRE_FOR_COMMONJS =
  "import { createRequire as quicksaveCreateRequire } from 'node:module';\n" +
  'const require = quicksaveCreateRequire(import.meta.url);';

/** `quicksave --help` need not load what the commands do, so that is a file of its own. */
const commandsApart = {
  name: 'commands-apart',
  setup: ({ onResolve }) =>
    onResolve({ filter: /^\.\/commands\.ts$/ }, () => ({ path: './commands.js', external: true })),
};

function entryPoints() {
  const fixed = {
    cli: 'src/cli/main.ts',
    commands: 'src/cli/commands.ts',
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
    plugins: [commandsApart],
    format: 'esm',
    platform: 'node',
    target: 'node20',
    external: NATIVE_PACKAGES,
    banner: { js: REQUIRE_FOR_COMMONJS },
    logLevel: 'warning',
  });
}
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
console.log(`built ${Object.keys(entries).join(', ') || 'nothing: there is no entry point yet'}`);
