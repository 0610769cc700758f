/** Files that open(2) refuses for what access(2) does not ask: the plan of a restart says so, before any process is made. */
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import {
  bringBack,
  command,
  gone,
  isAlive,
  newFolder,
  quicksave,
  said,
  saveAndEnd,
  start,
} from '../support/harness.ts';

const OPENS = `import fcntl, mmap, os, sys, time
fds = [os.open(path, eval(flags, os.__dict__)) for path, flags in zip(sys.argv[1::2], sys.argv[2::2])]
open('ready', 'w').write('ready')
while not os.path.exists('go'): time.sleep(0.01)
for fd in fds:
  if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE: os.write(fd, b'more')
open('ready', 'a').write('ok')`;

const chattr = (change: string, file: string): boolean => spawnSync('chattr', [change, file]).status === 0;
const probe = join(newFolder(), 'probe');
writeFileSync(probe, '');
const hasAttributes = chattr('+a', probe) && chattr('-a', probe);

const changed: string[] = [];
afterEach(() => {
  for (const file of changed.splice(0)) chattr('-ai', file);
});

test.skipIf(!hasAttributes).each([
  ['+a', 'O_RDWR', /log may only be written at its end now \(chattr \+a\).*\n.*chattr -a \S*log/],
  ['+i', 'O_WRONLY|O_APPEND', /log may not be changed by anybody now \(chattr \+i\).*\n.*chattr -i \S*log/],
])(
  'a file that got %s and is open with %s is refused by name, with the command that helps',
  async (change, flags, sentence) => {
    const folder = newFolder();
    const log = join(folder, 'log');
    writeFileSync(log, 'log');
    const { pid } = start(folder, 'python3', ['-c', OPENS, log, flags]);
    await said(join(folder, 'ready'), 'ready');
    const image = join(folder, 'image');
    await saveAndEnd(pid, image);
    expect(chattr(change, log)).toBe(true);
    changed.push(log);
    const refused = await quicksave('restart', image, '--detach');
    expect(refused.status).toBe(1);
    expect(refused.stderr).toMatch(sentence);
    expect(refused.stderr).toContain('[may-not-open]');
    expect(isAlive(pid)).toBe(false);
    chattr('-ai', log);
    await bringBack(image);
    writeFileSync(join(folder, 'go'), '');
    await said(join(folder, 'ready'), 'ok');
  },
);

test.skipIf(!hasAttributes)('a log that can only be appended to is appended to on', async () => {
  const folder = newFolder();
  const log = join(folder, 'log');
  writeFileSync(log, 'log');
  chattr('+a', log);
  changed.push(log);
  const { pid } = start(folder, 'python3', ['-c', OPENS, log, 'O_WRONLY|O_APPEND']);
  await said(join(folder, 'ready'), 'ready');
  const image = join(folder, 'image');
  await saveAndEnd(pid, image);
  await bringBack(image);
  writeFileSync(join(folder, 'go'), '');
  await said(join(folder, 'ready'), 'ok');
  await said(log, 'logmore');
  await gone(pid);
});

const USER = ['--reuid', '54321', '--regid', '54321', '--clear-groups'];
const cannotTry = process.getuid?.() !== 0 || spawnSync('setpriv', [...USER, command, '--version']).status !== 0;

test.skipIf(cannotTry)(
  'a file that is open with O_NOATIME and belongs to somebody else now is refused by name',
  async () => {
    const folder = newFolder();
    chmodSync(folder, 0o777);
    const file = join(folder, 'file');
    writeFileSync(file, 'file', { mode: 0o644 });
    chownSync(file, 54321, 54321);
    const { pid, output } = start(folder, 'setpriv', [
      ...USER,
      '/usr/bin/python3',
      '-c',
      OPENS,
      file,
      'O_RDONLY|O_NOATIME',
    ]);
    chownSync(output, 54321, 54321);
    await said(join(folder, 'ready'), 'ready');
    const image = join(folder, 'image');
    const asUser = (...words: string[]) => spawnSync('setpriv', [...USER, command, ...words], { encoding: 'utf8' });
    expect(asUser('checkpoint', String(pid), '-o', image, '--kill').status).toBe(0);
    await gone(pid);
    chownSync(file, 0, 0);
    const refused = asUser('restart', image, '--detach');
    expect(refused.stderr).toMatch(/file is open with O_NOATIME, which only its owner may ask for\.\n.*CAP_FOWNER/);
    expect(refused.status).toBe(1);
    chownSync(file, 54321, 54321);
    expect(asUser('restart', image, '--detach').status).toBe(0);
    writeFileSync(join(folder, 'go'), '');
    await said(join(folder, 'ready'), 'ok');
  },
);
