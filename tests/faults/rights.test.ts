/** An ordinary user saves programs of its own; what it may not do is said. */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { command, compiled, isAlive, newFolder, readIfThere, said, start, waitFor } from '../support/harness.ts';

const NOBODY = ['--reuid', '65534', '--regid', '65534', '--clear-groups'];
const asNobody = (...words: string[]) => spawnSync('setpriv', [...NOBODY, ...words], { encoding: 'utf8' });
/** A checkout in a home folder, or a run that is not root's. */
const cannotTry = process.getuid?.() !== 0 || asNobody(command, '--version').status !== 0;

test.skipIf(cannotTry)(
  'a user without capabilities saves a program of its own, and is told what a restart needs',
  async () => {
    const folder = newFolder();
    chmodSync(folder, 0o755);
    const mine = join(folder, 'images');
    mkdirSync(mine);
    chmodSync(mine, 0o777);
    const { pid } = start(folder, 'setpriv', [...NOBODY, '/usr/bin/perl', '-e', 'sleep 1 while 1']);
    await waitFor('perl', () => readIfThere(`/proc/${pid}/comm`) === 'perl\n');
    const image = join(mine, 'image');
    const saved = asNobody(command, 'checkpoint', String(pid), '--output', image);
    expect(saved.stderr).toMatch(/^saved process/);
    expect(saved.status).toBe(0);
    expect(asNobody(command, 'verify', image).status).toBe(0);
    expect(isAlive(pid)).toBe(true);
    const checked = asNobody(command, 'check', String(pid));
    expect(checked.stdout).toContain('may not choose the pids');
    expect(checked.status).toBe(1);
    expect(asNobody(command, 'restart', image).stderr).toContain('CAP_CHECKPOINT_RESTORE');
  },
);

test.skipIf(cannotTry)('a user without capabilities is told who may save a program in a sandbox', async () => {
  const folder = newFolder();
  chmodSync(folder, 0o777);
  const { pid, output } = start(folder, 'setpriv', [...NOBODY, compiled('sandboxed'), 'errors']);
  await said(output, 'ready');
  const saved = asNobody(command, 'checkpoint', String(pid), '--output', join(folder, 'image'));
  expect(saved.stderr).toMatch(/runs under a seccomp filter, .*CAP_SYS_ADMIN/);
  expect(saved.status).toBe(1);
  writeFileSync(join(folder, 'go'), '');
  await said(output, 'ok');
});
