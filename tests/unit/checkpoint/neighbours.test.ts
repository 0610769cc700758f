/** What other processes have to do with one. What they share is made by C programs: tests/faults/odd-processes.test.ts. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { neighbourObstacles } from '../../../src/checkpoint/neighbours.ts';
import { OutsiderSearch, sharingRemarks } from '../../../src/checkpoint/outsiders.ts';
import { TreeParts } from '../../../src/checkpoint/parts.ts';
import { asPid, asTid, remoteFd } from '../../../src/support/brand.ts';
import { newFolder } from '../resources/folder.ts';
import { descriptorView } from '../resources/views.ts';

async function withSleeper(stdio: (number | 'ignore')[], use: (pid: number) => void): Promise<void> {
  const child = spawn('sleep', ['60'], { stdio });
  await once(child, 'spawn');
  try {
    use(child.pid ?? 0);
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
}

it('is nothing for a process that shares nothing and traces nobody', () =>
  withSleeper(['ignore', 'ignore', 'ignore'], (pid) => {
    const tree = [{ pid: asPid(pid), speaker: asPid(pid), tids: [asTid(pid)] }];
    expect(neighbourObstacles(tree, new TreeParts(tree))).toEqual([]);
  }));

it('is a shared description that is named, but not a file that each has opened for itself', async () => {
  const path = join(newFolder(), 'log');
  const [shared, own, other] = [openSync(path, 'w'), openSync(path, 'r'), openSync(path, 'r')];
  const view = (fd: number) => ({ ...descriptorView({ target: path, mode: 0o100600, fd }), pid: asPid(process.pid) });
  await withSleeper(['ignore', shared, own], (pid) => {
    const holders = [1, 2].map((fd) => ({ pid: asPid(pid), comm: 'sleep', fd: remoteFd(fd) }));
    expect(sharingRemarks(view(shared), holders)).toEqual([
      `descriptor ${shared} (${path}) is shared with ${pid} (sleep, fd 1): after a restart it has a position and flags of its own`,
    ]);
    expect(sharingRemarks(view(other), holders)).toEqual([]);
  });
  for (const fd of [shared, own, other]) closeSync(fd);
});

it('is looked for among files once, before the process stands still', async () => {
  const path = join(newFolder(), 'log');
  const fd = openSync(path, 'w');
  await withSleeper(['ignore', fd, 'ignore'], (pid) => {
    const none: ReadonlySet<string> = new Set();
    const files = new Set([path]);
    expect(new OutsiderSearch().of([], none, files)(path)).toMatchObject([{ pid, fd: 1 }]);
    const search = new OutsiderSearch();
    search.of([], none, none);
    expect(search.of([], none, files)(path)).toEqual([]);
    expect(search.of([], files, none)(path)).toMatchObject([{ pid, fd: 1 }]);
  });
  closeSync(fd);
});

it('is many, of whom some are named', () => {
  const path = '/proc/self/exe';
  const fd = openSync(path, 'r');
  const view = { ...descriptorView({ target: path, mode: 0o100600, fd }), pid: asPid(process.pid) };
  const holders = Array.from({ length: 5 }, () => ({ pid: asPid(process.pid), comm: 'node', fd: remoteFd(fd) }));
  expect(sharingRemarks(view, holders)[0]).toMatch(/\(node, fd \d+\) and 2 more: after/);
  closeSync(fd);
});
