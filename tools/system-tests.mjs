// Runs the system tests, all or the files that are given, in two halves side by side: each in a pid, network and IPC namespace of its
// own, because these tests count the processes, connections and segments of the whole system. Where namespaces may not
// be made, and what needs the first pid namespace, runs here, one file after another. Arguments that are no files are vitest's:
// names and options.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const FOLDERS = ['roundtrip', 'scenarios', 'faults', 'images'];

/** Kernel threads are in no other pid namespace. */
const NEEDS_FIRST_NAMESPACE = 'kernel-threads.test.ts';

/** Seconds that the long ones take, roughly: only the balance of the halves depends on it. */
const SECONDS = {
  processes: 327,
  'real-programs': 93,
  'killed-tool': 77,
  snapshot: 62,
  'damaged-linux-cr': 35,
  foretold: 32,
  'other-kernel': 28,
  self: 27,
  jobs: 26,
  incremental: 25,
  damaged: 23,
  tracking: 23,
  refusals: 21,
  lazy: 20,
  'process-trees': 19,
  command: 18,
  scarce: 18,
  'fault-points': 17,
  'odd-processes': 17,
  'object-store': 13,
  'servers-under-load': 13,
  'timed-waits': 12,
  'odd-states': 12,
  'two-hosts': 11,
  'odd-registers': 10,
  'in-the-vdso': 10,
  library: 10,
  freeze: 9,
  'killed-tool-trees': 9,
  trust: 9,
  'incremental-trees': 8,
  rights: 8,
  'random-instants': 8,
  cgroups: 7,
  generations: 7,
  clocks: 7,
  leaks: 7,
  'linux-cr': 6,
  'outside-sockets': 6,
  servers: 6,
  'socket-refusals': 6,
  sharing: 6,
  core: 6,
  'poor-tool': 6,
  'report-page': 6,
};
const OTHERWISE = 5;

const secondsOf = (file) => SECONDS[basename(file, '.test.ts')] ?? OTHERWISE;

function allFiles() {
  return FOLDERS.flatMap((folder) =>
    readdirSync(join(root, 'tests', folder))
      .filter((name) => name.endsWith('.test.ts'))
      .map((name) => join('tests', folder, name)),
  );
}

/** The longest first, each to the half that has less to do. */
function halvesOf(files) {
  const halves = [
    { files: [], seconds: 0 },
    { files: [], seconds: 0 },
  ];
  for (const file of [...files].sort((a, b) => secondsOf(b) - secondsOf(a) || a.localeCompare(b))) {
    const half = halves[0].seconds <= halves[1].seconds ? halves[0] : halves[1];
    half.files.push(file);
    half.seconds += secondsOf(file);
  }
  return halves.map(({ files: own }) => own).filter((own) => own.length > 0);
}

const APART = ['--pid', '--net', '--ipc', '--mount-proc', '--fork', '--kill-child'];
const LOOPBACK_THEN = ['sh', '-c', 'ip link set lo up && exec "$@"', 'sh'];
const mayRunApart = () => spawnSync('unshare', [...APART, ...LOOPBACK_THEN, 'true'], { stdio: 'ignore' }).status === 0;

/** The exit status, and the output that was not seen as it was made. */
function runTests(files, { apart, isSeen, countsFile }) {
  const vitest = [process.execPath, 'tools/reaping.mjs', 'vitest', 'run', '--project', 'system', ...files];
  const [command, ...args] = apart ? ['unshare', ...APART, ...LOOPBACK_THEN, ...vitest] : vitest;
  const env = { ...process.env, QUICKSAVE_TEST_COUNTS: countsFile };
  const child = spawn(command, args, { cwd: root, env, stdio: ['ignore', isSeen ? 'inherit' : 'pipe', 'inherit'] });
  const output = [];
  child.stdout?.on('data', (piece) => output.push(piece));
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ status: 127, output: Buffer.from(`${error.message}\n`) }));
    child.once('close', (status) => resolve({ status: status ?? 1, output: Buffer.concat(output) }));
  });
}

function addUp(countsFiles) {
  const total = { passed: 0, failed: 0, skipped: 0, skips: [] };
  for (const file of countsFiles.filter(existsSync)) {
    const counts = JSON.parse(readFileSync(file, 'utf8'));
    for (const key of ['passed', 'failed', 'skipped']) total[key] += counts[key];
    total.skips.push(...counts.skips);
  }
  return total;
}

const given = process.argv.slice(2);
const apart = mayRunApart();
const isOfFiles = given.every(existsSync);
const files = given.length > 0 ? given : allFiles();
const here = apart && isOfFiles ? files.filter((file) => file.endsWith(NEEDS_FIRST_NAMESPACE)) : [];
const halves = apart && isOfFiles ? halvesOf(files.filter((file) => !here.includes(file))) : [given];
const scratch = mkdtempSync(join(tmpdir(), 'quicksave-halves-'));
try {
  const countsFiles = [...halves, here].map((_, index) => join(scratch, `${index}.json`));
  const ended = await Promise.all(
    halves.map((own, index) => runTests(own, { apart, isSeen: index === 0, countsFile: countsFiles[index] })),
  );
  if (here.length > 0) ended.push(await runTests(here, { apart: false, isSeen: true, countsFile: countsFiles.at(-1) }));
  for (const { output } of ended) process.stdout.write(output);
  const counts = addUp(countsFiles);
  if (process.env.QUICKSAVE_TEST_COUNTS) writeFileSync(process.env.QUICKSAVE_TEST_COUNTS, JSON.stringify(counts));
  else console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  process.exitCode =
    ended.find(({ status }) => status !== 0)?.status ??
    (countsFiles.filter(existsSync).length === ended.length ? 0 : 1);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
