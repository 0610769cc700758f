/** Everything that a program shares with one outside is named with that one: check and checkpoint say the same. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { isAlive, newFolder, quicksave, remember, said, start, waitFor } from '../support/harness.ts';

/** The one that is saved is the child, in a session of its own; its parent, outside, has what it has inherited. */
const PRELUDE = `
import ctypes, fcntl, mmap, os, select, signal, socket
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
kept = []
def share(*descriptors):
    for one in descriptors: os.set_inheritable(one, True)
    child = os.fork()
    if child == 0: os.setsid()
    else: print('child', child, 'ready', flush=True)
    signal.pause()
`;

/** Lines of the program, the code of each reason, and the word by which it is called. */
const leaks: [string, string, string, string][] = [
  ['a pipe', 'share(*os.pipe())', 'pipe-to-outside', 'a pipe'],
  ['a FIFO', 'os.mkfifo("fifo"); share(os.open("fifo", os.O_RDWR))', 'held-outside', 'a FIFO'],
  ['a pair of sockets', 'kept += socket.socketpair(); share(kept[0].fileno())', 'held-outside', 'a socket'],
  ['a listener', 'kept.append(socket.create_server(("127.0.0.1", 0))); share()', 'held-outside', 'a socket'],
  [
    'a datagram socket',
    'kept.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)); share()',
    'held-outside',
    'a socket',
  ],
  ['memory', 'kept.append(mmap.mmap(-1, 8192)); share()', 'shared-with-another', 'this memory'],
  [
    'a System V segment',
    'libc.shmat(libc.shmget(0, 4096, 0o1600), None, 0); share()',
    'shared-with-another',
    'the System V segment',
  ],
  ['an eventfd', 'share(os.eventfd(3))', 'held-outside', 'an eventfd'],
  ['an epoll', 'kept.append(select.epoll()); share()', 'held-outside', 'an epoll'],
  ['an inotify', 'share(libc.inotify_init())', 'held-outside', 'an inotify'],
  ['a signalfd', 'share(libc.signalfd(-1, (ctypes.c_ulong * 16)(2), 0))', 'held-outside', 'a signalfd'],
  ['a timerfd', 'share(libc.timerfd_create(1, 0))', 'held-outside', 'a timerfd'],
  ['a terminal', 'share(*os.openpty())', 'held-outside', 'a pseudo-terminal'],
];

interface Refusal {
  readonly code: string;
  readonly path: readonly string[];
  readonly message: string;
  readonly remedy: string;
}

async function startSharing(lines: string): Promise<{ folder: string; outsider: number; pid: number }> {
  const folder = newFolder();
  const { pid: outsider, output } = start(folder, 'python3', ['-c', `${PRELUDE}${lines}`]);
  await said(output, 'ready');
  const pid = Number(/child (\d+)/.exec(readFileSync(output, 'utf8'))?.[1]);
  remember(pid);
  await waitFor('its own session', () => sessionOf(pid) === pid);
  return { folder, outsider, pid };
}

/** proc_pid_stat(5): the fourth field behind the name. */
const sessionOf = (pid: number): number =>
  Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[3]);

test.each(leaks)(
  '%s that a process outside has too is named with it, by check as by a checkpoint',
  async (_, lines, code, what) => {
    const { folder, outsider, pid } = await startSharing(lines);
    const checked = await quicksave('check', String(pid), '--json');
    const { problems } = JSON.parse(checked.stdout.toString()) as { problems: Refusal[] };
    expect(problems.length).toBeGreaterThan(0);
    for (const problem of problems) {
      expect(problem.code).toBe(code);
      const text = [...problem.path, problem.message].join(' ');
      expect(text).toContain(`${outsider} (python3`);
      expect(problem.remedy).not.toBe('');
    }
    expect(problems.some(({ message }) => message.includes(what))).toBe(true);
    const saved = await quicksave('checkpoint', String(pid), '--output', join(folder, 'image'), '--json');
    const refused = JSON.parse(saved.stdout.toString()) as { error: { problems: Refusal[] } };
    expect(refused.error.problems).toEqual(problems);
    expect([checked.status, saved.status]).toEqual([1, 1]);
    expect(isAlive(pid)).toBe(true);
  },
);

/** What goes on all the same, but otherwise. */
const told: [string, string, RegExp][] = [
  ['a file', 'kept.append(open("plain", "w")); share()', /plain\) is shared with OUTSIDER \(python3, fd 3\)/],
  [
    'a file with a lock',
    'kept.append(open("lock", "w")); fcntl.flock(kept[0], fcntl.LOCK_EX); share()',
    /lock\) is shared with OUTSIDER \(python3, fd 3\): .*its lock cannot be taken again/,
  ],
  ['a memfd', 'share(os.memfd_create("m"))', /memfd:m\) has no name, and OUTSIDER \(python3, fd 3\)/],
  [
    'a deleted file',
    'kept.append(open("gone", "w+")); os.unlink("gone"); share()',
    /gone\) has no name, and OUTSIDER \(python3, fd 3\)/,
  ],
];

test.each(told)(
  '%s that a process outside has too is told with it, by check as by a checkpoint',
  async (_, lines, sentence) => {
    const { folder, outsider, pid } = await startSharing(lines);
    const checked = await quicksave('check', String(pid));
    const saved = await quicksave('checkpoint', String(pid), '--output', join(folder, 'image'));
    const expected = new RegExp(sentence.source.replace('OUTSIDER', String(outsider)));
    expect(checked.stdout.toString()).toMatch(expected);
    expect(saved.stderr).toMatch(expected);
    expect(saved.status).toBe(0);
  },
);
