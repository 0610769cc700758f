/** States that cannot be saved yet are refused by name before anything is done, and the program goes on. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { hasLandlock } from '../../src/kernel/calls/security-modules.ts';
import { KernelObjects } from '../../src/kernel/kernel-objects.ts';
import {
  childrenOf,
  command,
  compiled,
  newFolder,
  quicksave,
  said,
  start,
  stateOf,
  waitFor,
} from '../support/harness.ts';

const refused = async (pid: number): Promise<string> => {
  const { status, stderr } = await quicksave('checkpoint', String(pid), '--kill', '-o', join(newFolder(), 'image'));
  expect(status).toBe(1);
  return stderr;
};

test.each([
  ['credentials', /thread \d+: This thread has credentials or capabilities of its own/],
  ['seccomp', /filter of thread \d+ forbids what quicksave has to do in it \(prctl\)/],
  ['uts', /thread \d+: This thread has a namespace of its own/],
])('a thread with %s of its own is refused, and not harmed', async (oddity, sentence) => {
  const folder = newFolder();
  const target = start(folder, compiled('odd-thread'), [oddity]);
  await said(target.output, 'ready');
  expect(await refused(target.pid)).toMatch(sentence);
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
});

test.each([
  ['polled', /an io_uring open that a thread of the kernel polls \(IORING_SETUP_SQPOLL\)/],
  ['polling', /an io_uring open that polls devices/],
  ['disabled', /an io_uring open that is not enabled yet/],
  ['another thread', /an io_uring open that only thread \d+ may use/],
  ['restricted', /an io_uring open with restrictions registered/],
  ['credentials', /an io_uring open with credentials registered/],
  ['chosen buffers', /an io_uring open with buffers to choose from registered/],
  ['a closed file', /an io_uring open with a file that has been closed registered/],
  ['itself', /an io_uring open with its own descriptor registered/],
  ['a request', /Its io_uring has a request in flight, which only the kernel knows/],
  ['a poll', /Its io_uring has a request in flight/],
  ['overflow', /Its io_uring has completions that the ring has no room for/],
  ['closed', /It has memory of an io_uring mapped that no process has open any more/],
  ['hidden', /thread \d+: It has an io_uring that it has registered and closed/],
])('a ring of requests (%s) is refused, and not harmed', async (oddity, sentence) => {
  const folder = newFolder();
  const target = start(folder, compiled('odd-rings'), [oddity]);
  await said(target.output, 'ready');
  expect(await refused(target.pid)).toMatch(sentence);
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
});

test.each([
  ['busy', /The kernel still works on 1 request of the asynchronous I\/O at 0x[0-9a-f]+ \(io_submit\)/],
  ['forked', /a ring of asynchronous I\/O \(io_setup\) that is none of the process itself/],
])('asynchronous I/O (%s) is refused, and not harmed', async (oddity, sentence) => {
  const folder = newFolder();
  const target = start(folder, compiled('odd-aio'), [oddity]);
  await said(target.output, 'ready');
  expect(await refused(target.pid)).toMatch(sentence);
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
});

/** A domain that forbids to make devices, of the thread that asks for it. */
const landlock = [
  'import ctypes, os, struct, threading\nc = ctypes.CDLL(None, use_errno=True)',
  'def sandbox():',
  '  attr = ctypes.create_string_buffer(struct.pack("Q", 1 << 11), 8)',
  '  rules = c.syscall(444, attr, 8, 0)',
  '  assert rules >= 0 and c.prctl(38, 1, 0, 0, 0) == 0 and c.syscall(446, rules, 0) == 0, ctypes.get_errno()',
  '  os.close(rules)',
].join('\n');

test.skipIf(!hasLandlock() || KernelObjects.tryOpen() === undefined).each([
  ['a process', 'sandbox()'],
  ['a thread', 't = threading.Thread(target=lambda: (sandbox(), threading.Event().wait()), daemon=True); t.start()'],
  ['a child', 'if os.fork() == 0:\n  sandbox(); threading.Event().wait()'],
])('%s in a sandbox of Landlock is refused, and check says so', async (_, body) => {
  const folder = newFolder();
  const target = start(folder, 'python3', python(`${landlock}\n${body}\nimport time; time.sleep(0.2)`));
  await said(target.output, 'ready');
  expect(await refused(target.pid)).toMatch(/thread \d+: It is in a sandbox of Landlock.*\n.*\[landlock\]/);
  expect((await quicksave('check', String(target.pid))).stdout.toString()).toContain('[landlock]');
  await waitFor('it to sleep again', () => stateOf(target.pid) === 'S');
  for (const child of childrenOf(target.pid)) process.kill(child, 'SIGKILL');
});

test.skipIf(process.getuid?.() !== 0 || !hasLandlock())(
  'that there may be such a sandbox is told without the right to look',
  async () => {
    const target = start(newFolder(), 'python3', python('import ctypes\nctypes.CDLL(None).prctl(38, 1, 0, 0, 0)'));
    await said(target.output, 'ready');
    const { status, stderr } = withoutRights('checkpoint', String(target.pid), '-o', join(newFolder(), 'image'));
    expect(stderr).toMatch(/whether process \d+ is in a sandbox of Landlock is only to be seen with CAP_BPF/);
    expect(status).toBe(0);
  },
);

/** The command without the rights to look at the kernel's own structs. */
function withoutRights(...words: string[]): { status: number | null; stderr: string } {
  const without = ['--bounding-set', '-all,+checkpoint_restore,+sys_ptrace,+net_admin', '--inh-caps', '-all'];
  return spawnSync('setpriv', [...without, command, ...words], { encoding: 'utf8' });
}

test.skipIf(process.getuid?.() !== 0)('a ring of requests is refused without the right to look at it', async () => {
  const target = start(newFolder(), compiled('odd-rings'));
  await said(target.output, 'ready');
  const { status, stderr } = withoutRights('checkpoint', String(target.pid), '-o', join(newFolder(), 'image'));
  expect(stderr).toMatch(/only to be seen with CAP_BPF and CAP_PERFMON.*\n.*kernel\.io_uring_disabled=2/);
  expect(status).toBe(1);
});

const python = (body: string): string[] => ['-c', `${body}\nprint("ready", flush=True)\nimport time; time.sleep(600)`];

test.each([
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
  ['a userfaultfd', kernelObject(323, '0o2000000'), /a userfaultfd, by which it handles page faults/],
  [
    'a fanotify that grants access',
    kernelObject(300, '4, 0'),
    /a fanotify open by which it grants access to files, .* who opens one waits/,
  ],
  [
    'a fanotify on a file without a name',
    `${kernelObject(300, '0, 0')}\nopen("x", "w").close()\nf = open("x"); assert c.fanotify_mark(fd, 1, ctypes.c_uint64(2), -100, b"x") == 0; os.unlink("x")`,
    /What the mark on inode 0x[0-9a-f]+ is has no name any more/,
  ],
  ['a performance counter', kernelObject(298, 'attr, 0, -1, -1, 0'), /a performance counter/],
  ['a BPF map', kernelObject(321, '0, mapAttr, 72'), /a BPF map open.*\n.*Detach the BPF program/],
  [
    'a pidfd of somebody else',
    kernelObject(434, 'os.getppid(), 0'),
    /a pidfd of process \d+ \(\S+\), which is not saved/,
  ],
  [
    'a watch on a file without a name',
    'import ctypes, os\nc = ctypes.CDLL(None); i = c.inotify_init(); open("x", "w").close()\nf = open("x"); assert c.inotify_add_watch(i, b"x", 2) == 1; os.unlink("x")',
    /The file of its watch 1 \(inode \d+\) has no name any more/,
  ],
  [
    'a directory that signals',
    // Beside marks of others, and of the program for another description of the same directory.
    'import ctypes, fcntl, os, signal\nsignal.signal(signal.SIGIO, signal.SIG_IGN)\nc = ctypes.CDLL(None); i = c.inotify_init(); assert c.inotify_add_watch(i, b".", 256) == 1\n' +
      'other = os.open(".", os.O_RDONLY); d = os.open(".", os.O_RDONLY); fcntl.fcntl(d, fcntl.F_NOTIFY, fcntl.DN_CREATE | fcntl.DN_MULTISHOT)',
    /It is signalled of what happens in \S+ \(descriptor \d+, fcntl\(2\) F_NOTIFY\)/,
  ],
  ['a namespace', 'f = open("/proc/self/ns/net")', /a namespace \(net:\[\d+\]\)/],
])('a program with %s is refused', async (_, body, sentence) => {
  const folder = newFolder();
  const target = start(folder, 'python3', python(body));
  await said(target.output, 'ready');
  expect(await refused(target.pid)).toMatch(sentence);
  await waitFor('it to sleep again', () => stateOf(target.pid) === 'S');
});

/** What a system call makes, under a descriptor. */
function kernelObject(call: number, args: string): string {
  const prepare = [
    'import ctypes, os, struct\nc = ctypes.CDLL(None)',
    // struct perf_event_attr: a software counter of the processor's time, without the kernel's part.
    'attr = ctypes.create_string_buffer(struct.pack("IIQQQQQ", 1, 120, 0, 0, 0, 0, 0x60), 120)',
    // union bpf_attr of BPF_MAP_CREATE: an array of one entry.
    'mapAttr = ctypes.create_string_buffer(struct.pack("IIII", 2, 4, 8, 1), 72)',
  ];
  return [...prepare, `fd = c.syscall(${call}, ${args}); assert fd >= 0, fd`].join('\n');
}
