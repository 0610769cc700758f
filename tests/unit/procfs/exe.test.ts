import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readExecutable, readRootDirectory, readWorkingDirectory } from '../../../src/procfs/exe.ts';
import { asPid } from '../../../src/support/brand.ts';

describe('exe, cwd and root', () => {
  it('are read for this process', () => {
    const self = asPid(process.pid);
    expect(readExecutable(self)).toEqual({ path: process.execPath, deleted: false });
    expect(readWorkingDirectory(self)).toEqual({ path: process.cwd(), deleted: false });
    expect(readRootDirectory(self)).toEqual({ path: '/', deleted: false });
  });

  it('know a deleted program and a deleted directory', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'quicksave-exe-'));
    const program = join(folder, 'program');
    copyFileSync('/bin/sleep', program);
    const child = spawn(program, ['60'], { stdio: 'ignore', cwd: folder });
    await once(child, 'spawn');
    const pid = asPid(child.pid ?? 0);
    renameSync(program, `${program} (deleted)`);
    expect(readExecutable(pid)).toEqual({ path: `${program} (deleted)`, deleted: false });
    rmSync(folder, { recursive: true });
    expect(readExecutable(pid)).toEqual({ path: `${program} (deleted)`, deleted: true });
    expect(readWorkingDirectory(pid)).toEqual({ path: folder, deleted: true });
    child.kill('SIGKILL');
  });

  it('say that there is no such process', () => {
    expect(() => readExecutable(asPid(4194305))).toThrow('There is no process 4194305.');
  });
});
