/** Apart from the other refusals, because it needs the first pid namespace: see tools/system-tests.mjs. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { newFolder, quicksave, readIfThere } from '../support/harness.ts';

const KTHREADD = 2;

test('a kernel thread is refused', async (context) => {
  if (readIfThere(`/proc/${KTHREADD}/comm`) !== 'kthreadd\n') {
    context.skip('kernel threads cannot be seen in this pid namespace');
  }
  const folder = newFolder();
  const result = await quicksave('checkpoint', String(KTHREADD), '--output', join(folder, 'image'));
  expect(result.status).toBe(1);
  expect(result.stderr).toMatch(/kernel thread/);
  expect(readdirSync(folder)).toEqual([]);
});
