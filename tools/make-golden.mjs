// Makes the golden images of the current format version: `node tools/make-golden.mjs`. Once a version is released they are
// never made again: tests/images/golden.test.ts shows that every image of every version still opens and says the same.
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const command = join(root, 'bin', 'quicksave');
const golden = join(root, 'tests', 'images', 'golden');
const folder = '/tmp/quicksave-golden';
const VERSION = 1;
/** Only a test has this key: what it opens is no secret. */
const KEY = join(golden, `v${VERSION}.key`);
const variants = [
  { name: 'raw', program: 'golden', options: ['--compress', 'none'] },
  { name: 'zstd', program: 'golden', options: ['--compress', 'zstd:19'] },
  { name: 'tree', program: 'golden-tree', options: ['--compress', 'zstd:19'] },
  {
    name: 'encrypted',
    program: 'golden-tree',
    options: ['--compress', 'zstd:19', '--encrypt', KEY],
    key: ['--key', KEY],
  },
];

mkdirSync(golden, { recursive: true });
if (!existsSync(KEY)) execFileSync(command, ['keygen', KEY]);
for (const variant of variants) {
  const image = join(golden, `v${VERSION}-${variant.name}.qs`);
  if (existsSync(image)) console.log(`${image} is there already; delete it only if its format was never released`);
  else await make(image, variant);
}

async function make(image, { program: source, options, key = [] }) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  const program = join(folder, 'program');
  execFileSync('gcc', ['-O1', '-static', '-pthread', join(root, 'tests', 'programs', `${source}.c`), '-o', program]);
  const child = start(program);
  try {
    while (!readFileSync(join(folder, 'output'), 'utf8').includes('ready')) {
      if (child.exitCode !== null) throw new Error('the program has ended');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const all = withDescendants(child.pid);
    for (const pid of all) leaveCgroups(pid);
    execFileSync(command, ['checkpoint', String(child.pid), ...options, '-o', image], { stdio: 'inherit' });
    writeFileSync(image.replace(/\.qs$/, '.json'), execFileSync(command, ['inspect', image, '--json', ...key]));
    for (const pid of all.reverse()) process.kill(pid, 'SIGKILL');
  } finally {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
}

/** No environment and no descriptors of whoever runs this: they would be in the image. */
function start(program) {
  const output = openSync(join(folder, 'output'), 'w');
  const closeInherited = 'for fd in $(ls /proc/$$/fd); do [ $fd -gt 2 ] && eval "exec $fd>&-"; done; exec env -i "$@"';
  const child = spawn('bash', ['-c', closeInherited, 'bash', program], {
    stdio: ['ignore', output, output],
    detached: true,
    cwd: folder,
  });
  closeSync(output);
  return child;
}

function withDescendants(pid) {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  return [pid, ...children.flatMap(withDescendants)];
}

/** The cgroups of whoever runs this would be in the image: the program goes to the root of each hierarchy. */
function leaveCgroups(pid) {
  for (const line of readFileSync(`/proc/${pid}/cgroup`, 'utf8').split('\n').filter(Boolean)) {
    const [, controllers, path] = line.split(':');
    if (path === '/') continue;
    const folders = controllers === '' ? ['', 'unified'] : [controllers.replace('name=', '')];
    const root = folders.map((name) => join('/sys/fs/cgroup', name, 'cgroup.procs')).find((file) => existsSync(file));
    if (root === undefined) throw new Error(`the hierarchy of ${line} is not mounted at its usual place`);
    writeFileSync(root, String(pid));
  }
}
