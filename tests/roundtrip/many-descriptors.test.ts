/** A process with thousands of descriptors: all of them, each the one that it was. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { bringBack, compiled, newFolder, said, saveAndEnd, start } from '../support/harness.ts';

test('two thousand descriptors come back, each under its number', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('many-descriptors'));
  await said(target.output, 'ready');
  const image = join(folder, 'image');
  await saveAndEnd(target.pid, image);
  expect(await bringBack(image)).toBe(target.pid);
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
});
