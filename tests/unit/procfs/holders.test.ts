import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { findHolders, findHoldersOfEach } from '../../../src/procfs/holders.ts';

it('finds who else has a file open', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'quicksave-holders-'));
  const path = join(folder, 'log');
  const fd = openSync(path, 'w');
  const child = spawn('sleep', ['60'], { stdio: ['ignore', fd, fd] });
  await once(child, 'spawn');
  try {
    const mine = new Set([process.pid]);
    expect(findHolders(path, mine)).toEqual([
      { pid: child.pid, comm: 'sleep', fd: 1 },
      { pid: child.pid, comm: 'sleep', fd: 2 },
    ]);
    expect(findHolders(path, mine, 1)).toHaveLength(1);
    expect(findHolders(path, new Set([process.pid, child.pid ?? 0]))).toEqual([]);
    expect(findHolders(path, new Set()).map((one) => one.pid)).toContain(process.pid);
    expect([...findHoldersOfEach(new Set([path, 'pipe:[0]']), mine).keys()]).toEqual([path]);
  } finally {
    child.kill('SIGKILL');
    closeSync(fd);
    rmSync(folder, { recursive: true });
  }
});

it('finds nobody for no target', () => {
  expect(findHoldersOfEach(new Set(), new Set()).size).toBe(0);
});
