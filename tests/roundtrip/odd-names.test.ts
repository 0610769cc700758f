/** Names of files that /proc shows otherwise than they are. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { bringBack, compiled, newFolder, readIfThere, said, saveAndEnd, start } from '../support/harness.ts';

test.each([
  ['ends as the kernel marks a deleted file', 'name (deleted)'],
  ['has a newline', 'new\nline'],
  ['has what the kernel writes for a newline', String.raw`new\012line`],
  ['looks like a mapping of the kernel', '[vdso]'],
  ['has other letters and spaces', 'ä ö: ü'],
])('a mapped and open file whose name %s', async (_what, name) => {
  const folder = newFolder();
  const target = start(folder, compiled('named-file'), [name]);
  await said(target.output, 'ready');
  await saveAndEnd(target.pid, join(folder, 'image'));
  await bringBack(join(folder, 'image'));
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
  expect(readIfThere(target.output)).toBe('ready\nok\n');
});
