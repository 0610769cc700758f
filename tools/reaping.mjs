// Runs a command and reaps whatever is orphaned below it, at once: `node tools/reaping.mjs COMMAND ...`. The first process of
// some machines looks for orphans every two seconds only, and the number of a killed one is not free until then.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import koffi from 'koffi';

const PR_SET_CHILD_SUBREAPER = 36; // prctl(2), Linux 3.4
const WNOHANG = 1;
const INTERVAL_MS = 10;

const libc = koffi.load('libc.so.6');
const prctl = libc.func('int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long)');
const waitpid = libc.func('int waitpid(int, void *, int)');

if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) !== 0) console.error('orphans of the tests are left to process 1');

const [command, ...args] = process.argv.slice(2);
const child = spawn(command, args, { stdio: 'inherit' });
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));

const reaper = setInterval(() => {
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8');
  for (const pid of children.split(' ').filter(Boolean).map(Number)) {
    // The command itself is Node's to reap.
    if (pid !== child.pid) waitpid(pid, null, WNOHANG);
  }
}, INTERVAL_MS);

child.once('error', (error) => {
  clearInterval(reaper);
  console.error(`${command} could not be started: ${error.message}`);
  process.exitCode = 127;
});
child.once('exit', (status, signal) => {
  clearInterval(reaper);
  process.exitCode = status ?? 128 + constants.signals[signal];
});
