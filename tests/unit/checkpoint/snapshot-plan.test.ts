import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { pagesOfSnapshot } from '../../../src/checkpoint/page-sources.ts';
import { asPid } from '../../../src/support/brand.ts';
import { Snapshot } from '../../../src/tracee/snapshot.ts';

test('a snapshot that has been killed is not taken for a program without pages', () => {
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
  const pid = asPid(child.pid ?? 0);
  const view = { pid, objref: 1, mappings: [], tracked: new Set<number>(), isAlone: true };
  const snapshot = new Snapshot(pid);
  const source = pagesOfSnapshot(snapshot, view);
  child.kill('SIGKILL');
  // Its memory goes before it can be waited for.
  while (readFileSync(`/proc/${pid}/maps`, 'utf8') !== '');
  expect(() => source.plan).toThrow(expect.objectContaining({ code: 'snapshot-ended' }));
});
