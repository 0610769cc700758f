// A real job, saved in mid-work, ended, brought back: xz compresses some tens of megabytes of text, and the result must be
// byte for byte that of an undisturbed run.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const command = join(root, 'bin', 'quicksave');
const INPUT_BYTES = 40_000_000;
const say = (text) => console.log(text);

function fail(sentence) {
  console.error(`demo: ${sentence}`);
  process.exit(1);
}

if (spawnSync('xz', ['--version']).status !== 0) fail('xz is not installed; install xz-utils.');
if (!existsSync(join(root, 'dist', 'cli.js'))) fail('quicksave is not built yet; run npm ci first.');

/** Text of the packages that are installed here, in a fixed order, again and again until it is enough. */
function collectText(target) {
  const fd = openSync(target, 'w');
  let size = 0;
  const texts = readdirSync(join(root, 'node_modules'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && ['.js', '.ts', '.md', '.json'].includes(extname(entry.name)))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
  while (size < INPUT_BYTES) {
    for (const path of texts) {
      size += writeSync(fd, readFileSync(path));
      if (size >= INPUT_BYTES) break;
    }
  }
  return size;
}

const digest = (path) => createHash('sha256').update(readFileSync(path)).digest('hex');
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const mebibytes = (bytes) => `${(bytes / 1048576).toFixed(1)} MiB`;

async function until(what, condition) {
  for (const deadline = Date.now() + 60_000; Date.now() < deadline; await sleep(5)) {
    if (condition()) return;
  }
  fail(`waited in vain for ${what}.`);
}

/** Whoever runs the demo may have descriptors open that every child inherits; a save would be right to refuse them. */
const closeInherited =
  'for fd in $(ls /proc/$$/fd); do case $fd in 0|1|2) ;; *) eval "exec $fd>&-" ;; esac; done; exec "$@"';

function startXz(folder, file) {
  const log = openSync(join(folder, 'xz.log'), 'w');
  const args = ['-c', closeInherited, 'bash', 'xz', '-T2', '--block-size=4MiB', '-k', file];
  const child = spawn('bash', args, { cwd: folder, stdio: ['ignore', log, log], detached: true });
  closeSync(log);
  const ended = new Promise((resolve) => child.once('exit', (status, signal) => resolve({ status, signal })));
  return { pid: child.pid, ended };
}

function quicksave(...args) {
  const begun = performance.now();
  const result = spawnSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  if (result.status !== 0) fail(`quicksave ${args[0]} failed:\n${result.stderr}`);
  return { said: result.stderr.trim().split('\n')[0], tookMs: performance.now() - begun };
}

const folder = mkdtempSync(join(tmpdir(), 'quicksave-demo-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

const plain = join(folder, 'plain');
const saved = join(folder, 'saved');
mkdirSync(plain);
mkdirSync(saved);
const size = collectText(join(plain, 'text'));
spawnSync('cp', [join(plain, 'text'), join(saved, 'text')]);
say(`1. ${mebibytes(size)} of text`);

const begun = performance.now();
const undisturbed = await startXz(plain, 'text').ended;
if (undisturbed.status !== 0) fail('xz failed by itself.');
say(
  `2. compressed undisturbed in ${((performance.now() - begun) / 1000).toFixed(1)} s: ${mebibytes(statSync(join(plain, 'text.xz')).size)}`,
);

const job = startXz(saved, 'text');
const output = join(saved, 'text.xz');
const enough = statSync(join(plain, 'text.xz')).size / 3;
await until('a third of the output', () => existsSync(output) && statSync(output).size > enough);
const image = join(folder, 'image');
say(`3. the same again; a third is written: ${quicksave('checkpoint', String(job.pid), '--output', image).said}`);
say(
  `   it goes on; now saved and ended:    ${quicksave('checkpoint', String(job.pid), '--output', image, '--kill').said}`,
);
const end = await job.ended;
if (end.signal !== 'SIGKILL') fail('xz had finished already; run the demo again.');
say(
  `4. xz is gone; ${mebibytes(statSync(output).size)} of its output are on disk; the image has ${mebibytes(statSync(image).size)}`,
);

const back = quicksave('restart', image);
say(`5. ${back.said}; it ran to its end in ${(back.tookMs / 1000).toFixed(1)} s`);

const expected = digest(join(plain, 'text.xz'));
const found = digest(output);
say(`6. undisturbed ${expected}`);
say(`   restarted   ${found}`);
if (found !== expected) fail('the results differ.');
say('   the same, byte for byte');
