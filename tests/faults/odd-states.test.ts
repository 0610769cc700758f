/** States that cannot be saved yet are refused by name before anything is done, and the program goes on. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { compiled, newFolder, quicksave, said, start, stateOf, waitFor } from '../support/harness.ts';

const refused = async (pid: number): Promise<string> => {
  const { status, stderr } = await quicksave('checkpoint', String(pid), '--kill', '-o', join(newFolder(), 'image'));
  expect(status).toBe(1);
  return stderr;
};

test.each([
  ['credentials', /thread \d+: This thread has credentials or capabilities of its own/],
  ['seccomp', /thread \d+: It runs under a seccomp filter/],
  ['fs', /thread \d+: This thread has a working directory, root and umask of its own/],
  ['files', /thread \d+: This thread has a descriptor table of its own/],
  ['uts', /thread \d+: This thread has a namespace of its own/],
])('a thread with %s of its own is refused, and not harmed', async (oddity, sentence) => {
  const folder = newFolder();
  const target = start(folder, compiled('odd-thread'), [oddity]);
  await said(target.output, 'ready');
  expect(await refused(target.pid)).toMatch(sentence);
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
});

const python = (body: string): string[] => ['-c', `${body}\nprint("ready", flush=True)\nimport time; time.sleep(600)`];

test.each([
  ['a child', 'import os\nif os.fork() == 0:\n  import time; time.sleep(600)', /has a child process/],
  [
    'files that signal somebody else',
    'import fcntl, os\nf = open("x", "w"); fcntl.fcntl(f, fcntl.F_SETOWN, os.getppid())',
    /It signals process \d+ \(F_SETOWN\)/,
  ],
  ['a file of /proc of somebody else', 'f = open("/proc/1/status")', /is of process 1, which is not saved/],
  [
    'a lock on a folder',
    'import fcntl, os\nf = os.open(".", os.O_RDONLY); fcntl.flock(f, fcntl.LOCK_EX)',
    /holds a lock/,
  ],
  ['a path that is no text', 'f = open(b"\\xff\\xfe", "w")', /is not UTF-8/],
  ['a System V segment', systemVSegment(), /cannot be made again yet \(\/SYSV00000000\)/],
])('a program with %s is refused', async (_, body, sentence) => {
  const folder = newFolder();
  const target = start(folder, 'python3', python(body));
  await said(target.output, 'ready');
  expect(await refused(target.pid)).toMatch(sentence);
  await waitFor('it to sleep again', () => stateOf(target.pid) === 'S');
});

/** shmget(2) and shmat(2); it goes when nobody has it mapped any more. */
function systemVSegment(): string {
  const calls = [
    'import ctypes\nc = ctypes.CDLL(None)',
    'i = c.shmget(0, 4096, 0o600); assert i >= 0',
    'c.shmat.restype = ctypes.c_void_p; assert c.shmat(i, None, 0) > 0',
    'assert c.shmctl(i, 0, None) == 0',
  ];
  return calls.join('\n');
}
