/** What tasks share, of true processes. Those that share more than threads do are made by C programs: tests/programs/shared-tables.c. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, it } from 'vitest';
import { PARTS, PartSearch, TreeParts } from '../../../src/checkpoint/parts.ts';
import { viewProcess } from '../../../src/checkpoint/process-view.ts';
import { listTasks } from '../../../src/procfs/tasks.ts';
import { asPid, asTid } from '../../../src/support/brand.ts';

const own = asPid(process.pid);

async function withSleepers(count: number, use: (pids: number[]) => void): Promise<void> {
  const children = Array.from({ length: count }, () => spawn('sleep', ['60'], { stdio: 'ignore' }));
  await Promise.all(children.map((child) => once(child, 'spawn')));
  try {
    use(children.map(({ pid }) => pid ?? 0));
  } finally {
    for (const child of children) child.kill('SIGKILL');
    await Promise.all(children.map((child) => once(child, 'exit')));
  }
}

it('is what threads have of their leader', () => {
  const tids = listTasks(own);
  const parts = new TreeParts([{ pid: own, speaker: own, tids }]);
  expect(tids.length).toBeGreaterThan(1);
  for (const part of PARTS) {
    expect(parts.owners(part)).toEqual([asTid(own)]);
    for (const tid of tids) expect(parts.ownerOf(part, tid)).toBe(own);
  }
});

it('is found between processes of the tree and others, also when those of the tree are known to share nothing', () =>
  withSleepers(5, (pids) => {
    const thread = listTasks(own).find((tid) => tid !== asTid(own)) ?? expect.fail('there is one thread only');
    const search = new PartSearch();
    const views = [...pids.map((pid) => viewProcess(asPid(pid))), { ...viewProcess(own), tids: [asTid(own)] }];
    for (let look = 0; look < 3; look++) {
      const parts = search.of(views);
      expect(parts.leadersAreAlone).toBe(true);
      for (const part of PARTS) {
        expect(parts.owners(part)).toHaveLength(6);
        expect(parts.sharedWith(part, thread)).toBe(own);
        expect(parts.sharedWith(part, asTid(process.ppid))).toBeUndefined();
      }
    }
  }));

it('is not known of a process that has ended', async () => {
  let ended = 0;
  await withSleepers(1, ([pid]) => {
    ended = pid ?? 0;
  });
  const tree = [own, asPid(ended)].map((pid) => ({ pid, speaker: pid, tids: [asTid(pid)] }));
  expect(new TreeParts(tree).leadersAreAlone).toBe(false);
});

it('is compared at once for sixty processes that were compared before', () =>
  withSleepers(60, (pids) => {
    const search = new PartSearch();
    const views = pids.map((pid) => viewProcess(asPid(pid)));
    const timed = (): number => {
      const begun = performance.now();
      search.of(views);
      return performance.now() - begun;
    };
    const first = timed();
    expect(Math.min(timed(), timed(), timed())).toBeLessThan(first / 4);
  }));
