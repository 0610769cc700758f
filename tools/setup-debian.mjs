// Installs the programs that the tests use, where this may be done (root, apt-get). Otherwise it says what is missing, and
// the tests that need it skip with that reason. Nothing here is needed to run quicksave itself.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Debian package, and whether what we need of it is there. */
const NEEDED = [
  { package: 'gcc', present: () => onPath('gcc') },
  { package: 'libc6-dev', present: () => existsSync('/usr/include/stdio.h') },
  { package: 'gcc-multilib', present: compilesFor32Bit },
  { package: 'python3', present: () => onPath('python3') },
  { package: 'xz-utils', present: () => onPath('xz') },
  { package: 'sqlite3', present: () => onPath('sqlite3') },
  { package: 'gzip', present: () => onPath('gzip') },
  { package: 'binutils', present: () => onPath('objdump') },
  { package: 'gdb', present: () => onPath('gdb') },
  { package: 'chromium', present: () => onPath('chromium') },
  { package: 'fonts-dejavu-core', present: () => existsSync('/usr/share/fonts/truetype/dejavu') },
  { package: 'zsh', present: () => onPath('zsh') },
  { package: 'fish', present: () => onPath('fish') },
  { package: 'groff', present: () => onPath('groff') },
  { package: 'redis-server', present: () => onPath('redis-server') },
  { package: 'memcached', present: () => onPath('memcached') },
  { package: 'nginx', present: () => onPath('nginx') },
  { package: 'fio', present: () => onPath('fio') },
  { package: 'wrk', present: () => onPath('wrk') },
  { package: 'mosquitto', present: () => onPath('mosquitto') || existsSync('/usr/sbin/mosquitto') },
  { package: 'postgresql', present: () => existsSync('/usr/lib/postgresql') },
  { package: 'make', present: () => onPath('make') },
  { package: 'tmux', present: () => onPath('tmux') },
  { package: 'vim', present: () => onPath('vim') },
  { package: 'iproute2', present: () => existsSync('/usr/sbin/ip') || onPath('ip') },
  { package: 'openssh-client', present: () => onPath('ssh') },
  { package: 'openssh-server', present: () => existsSync('/usr/sbin/sshd') },
  { package: 'python3-swift', present: () => existsSync('/usr/lib/python3/dist-packages/swift') },
  { package: 'procps', present: () => onPath('ps') },
];

function onPath(command) {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** gcc answers with a path when it finds the file, else with the bare name. */
function compilesFor32Bit() {
  const found = ['crt1.o', 'libgcc.a'].map((name) =>
    spawnSync('gcc', ['-m32', `-print-file-name=${name}`], { encoding: 'utf8' }),
  );
  return found.every(({ status, stdout }) => status === 0 && stdout.trim().startsWith('/'));
}

function aptGet(...args) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  return spawnSync('apt-get', ['-qq', ...args], { env, stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' });
}

function install(packages) {
  const update = aptGet('update');
  const result = aptGet('install', '--yes', '--no-install-recommends', ...packages);
  if (result.status === 0) return undefined;
  return (result.stderr || update.stderr || 'apt-get failed').trim().split('\n')[0];
}

function missingPackages() {
  return NEEDED.filter((need) => !need.present()).map((need) => need.package);
}

function setUp() {
  const missing = missingPackages();
  if (missing.length === 0) return 'everything that the tests use is installed';
  const names = missing.join(', ');
  if (process.getuid?.() !== 0)
    return `missing: ${names}. Only root may install them; tests that need them are skipped`;
  if (!onPath('apt-get')) return `missing: ${names}. There is no apt-get here; tests that need them are skipped`;
  const problem = install(missing);
  const stillMissing = missingPackages();
  if (stillMissing.length === 0) return `installed ${names}`;
  return `could not install ${stillMissing.join(', ')}: ${problem ?? 'still missing'}; tests that need them are skipped`;
}

console.log(setUp());
