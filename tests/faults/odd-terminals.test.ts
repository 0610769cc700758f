/** Pseudo-terminals that cannot be saved as they are: refused by name, and not harmed; and what is told where the kernel does not show what waits in them. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { command, newFolder, quicksave, said, start, stateOf, waitFor } from '../support/harness.ts';

const python = (body: string): string[] => [
  '-c',
  `import fcntl, os, pty, struct, termios, time, tty\n${body}\ntime.sleep(0.1)\nprint("ready", flush=True)\ntime.sleep(600)`,
];

test.each([
  [
    'a status byte of packet mode',
    'm, s = pty.openpty(); fcntl.ioctl(m, termios.TIOCPKT, struct.pack("i", 1)); termios.tcflush(s, termios.TCIFLUSH)',
    /the master has not read the status byte of packet mode/,
  ],
  [
    'a line that ends otherwise',
    'm, s = pty.openpty(); a = termios.tcgetattr(s); a[6][termios.VEOL] = b";"; termios.tcsetattr(s, 0, a); os.write(m, b"one;")',
    /a line has been ended by a character of its own/,
  ],
  [
    'lines that are made outside',
    'm, s = pty.openpty(); a = termios.tcgetattr(s); a[3] |= 0o200000; termios.tcsetattr(s, 0, a); os.write(m, b"one")',
    /lines are made outside \(EXTPROC\)/,
  ],
])('a terminal with %s is refused, and keeps it', async (_, body, sentence) => {
  const folder = newFolder();
  const target = start(folder, 'python3', python(body));
  await said(target.output, 'ready');
  for (let round = 0; round < 2; round++) {
    const { status, stderr } = await quicksave('checkpoint', String(target.pid), '-o', join(folder, 'image'));
    expect(stderr).toMatch(sentence);
    expect(status).toBe(1);
  }
  await waitFor('it to sleep again', () => stateOf(target.pid) === 'S');
});

/** The command without the rights to look at the kernel's own structs. */
const withoutRights = (...words: string[]): ReturnType<typeof spawnSync> => {
  const without = ['--bounding-set', '-all,+checkpoint_restore,+sys_ptrace,+net_admin', '--inh-caps', '-all'];
  return spawnSync('setpriv', [...without, command, ...words], { encoding: 'utf8' });
};
const isRoot = process.getuid?.() === 0;

test.runIf(isRoot).each([
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
])('a terminal with %s is refused without the rights to look at it', async (_, body, sentence) => {
  const folder = newFolder();
  const target = start(folder, 'python3', python(body));
  await said(target.output, 'ready');
  const { status, stderr } = withoutRights('checkpoint', String(target.pid), '-o', join(folder, 'image'));
  expect(stderr).toMatch(sentence);
  expect(status).toBe(1);
  await waitFor('it to sleep again', () => stateOf(target.pid) === 'S');
});

test.runIf(isRoot)('that a line may have been typed in part is told without the rights to look at it', async () => {
  const folder = newFolder();
  const target = start(folder, 'python3', python('m, s = pty.openpty()'));
  await said(target.output, 'ready');
  const { status, stdout, stderr } = withoutRights('checkpoint', String(target.pid), '-o', join(folder, 'image'));
  expect(status, String(stderr)).toBe(0);
  expect(`${stdout}${stderr}`).toMatch(/a line that has been typed in part on \S+, .* not in the image/);
});
