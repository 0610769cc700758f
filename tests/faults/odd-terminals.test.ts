/** Pseudo-terminals that cannot be saved as they are: refused by name, and not harmed. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { newFolder, quicksave, said, start, stateOf, waitFor } from '../support/harness.ts';

const python = (body: string): string[] => [
  '-c',
  `import os, pty, tty\n${body}\nprint("ready", flush=True)\nimport time; time.sleep(600)`,
];

test.each([
  [
    'output that nobody has read',
    'm, s = pty.openpty(); os.write(s, b"waits")',
    /5 bytes from the terminal \S+ have not been read/,
  ],
  [
    'a typed line that nobody has read',
    'm, s = pty.openpty(); tty.setraw(s); os.write(m, b"typed")',
    /5 bytes that were typed on the terminal/,
  ],
])('a terminal with %s is refused, and keeps it', async (_, body, sentence) => {
  const folder = newFolder();
  const target = start(folder, 'python3', python(body));
  await said(target.output, 'ready');
  for (let round = 0; round < 2; round++) {
    const { status, stderr } = await quicksave('checkpoint', String(target.pid), '-o', join(folder, 'image'));
    expect(status).toBe(1);
    expect(stderr).toMatch(sentence);
  }
  await waitFor('it to sleep again', () => stateOf(target.pid) === 'S');
});
