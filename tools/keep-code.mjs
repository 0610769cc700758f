// Keeps what V8 has compiled of the command (src/cli/compiled-bundle.ts) when a program has been saved, looked at and brought back: what
// a command needs is compiled then, and nothing else. What cannot be done here is compiled when it is needed.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadBundle } from '../dist/compiled-bundle.js';

const bundle = loadBundle('commands');
const commandLine = loadBundle('command-line');
const { runCheck, runCheckpoint, runInspect, runRestart, runVerify } = bundle.exports;

/** What whoever runs the build has open; the program would get it too, and could not be saved with it. */
function closeInherited() {
  for (const fd of readdirSync('/proc/self/fd').map(Number)) if (fd > 2 && isInherited(fd)) closeSync(fd);
}

/** Node opens nothing without this flag. */
function isInherited(fd) {
  const O_CLOEXEC = 0o2000000;
  const path = `/proc/self/fdinfo/${fd}`;
  // The folder itself was open while it was listed.
  if (!existsSync(path)) return false;
  return (Number.parseInt(/flags:\s*(\d+)/.exec(readFileSync(path, 'utf8'))[1], 8) & O_CLOEXEC) === 0;
}

async function useAll(folder) {
  await commandLine.exports.run(['node', 'quicksave', '--version']);
  closeInherited();
  // Also when it has been restarted, it ends by itself.
  const target = spawn('sleep', ['5'], { stdio: 'ignore', cwd: '/' });
  try {
    const [image, pid] = [join(folder, 'image'), String(target.pid)];
    runCheck(undefined, { tcp: 'established' });
    runCheck(pid, { tcp: 'established' });
    runCheckpoint(pid, { output: image, tcp: 'established', compress: 'auto', kill: false });
    runVerify(image, {});
    runInspect(image, {});
    target.kill('SIGKILL');
    await once(target, 'exit');
    await runRestart(image, { detach: true, files: 'refuse' });
  } finally {
    target.kill('SIGKILL');
  }
}

const folder = mkdtempSync(join(tmpdir(), 'quicksave-build-'));
try {
  await useAll(folder);
} catch (error) {
  const reasons = (error.problems ?? [error]).map((one) => one.message ?? String(one));
  console.error(`not all of the commands is compiled ahead: ${reasons.join(' ')}`);
} finally {
  rmSync(folder, { recursive: true, force: true });
  bundle.keepCode();
  commandLine.keepCode();
}
process.exitCode = 0;
