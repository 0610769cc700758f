/** What a save and a restart say of what comes back otherwise, `check PID --stop` has said before; and what it refuses, they refuse. */

import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import {
  compiled,
  footprint,
  full,
  gone,
  mustRun,
  newFolder,
  quicksave,
  readIfThere,
  remember,
  run,
  said,
  start,
  waitFor,
} from '../support/harness.ts';

/** Programs that have something of all that may come back otherwise, and some that have not. */
const programs = [
  'aio',
  'calls-in-flight',
  'descriptors-in-flight',
  'early-bytes',
  'eventfd-epoll',
  'family-tree',
  'files-that-signal',
  'full-signal-queue',
  'groups-and-filters',
  'in-handler',
  'inet-sockets',
  'kernel-settings',
  'kernel-timers',
  'leader-ended',
  'memory-kinds',
  'memory-objects',
  'named-ends',
  'newer-memory',
  'open-files',
  'other-rights',
  'packets-and-messages',
  'process-state',
  'pseudo-terminals',
  'rings',
  'seccomp-filters',
  'shared-tables',
  'sockets-in-flight',
  'system-v-segments',
  'thread-state',
  'threads-apart',
  'transfers',
  'unix-sockets',
  'watches',
];

interface Foretold {
  readonly problems: readonly unknown[];
  readonly restartProblems: readonly unknown[];
  readonly remarks: readonly string[];
  readonly stopped: boolean;
}

async function foretell(pid: number, ...options: string[]): Promise<Foretold> {
  const { stdout, stderr } = await quicksave('check', String(pid), '--stop', '--json', ...options);
  expect(stderr).toBe('');
  return JSON.parse(stdout.toString());
}

const summaryOf = (stdout: Buffer): { readonly remarks: readonly string[] } => JSON.parse(stdout.toString());

/** Where there is little time, some of them. */
const walked = full ? programs : programs.filter((_, index) => index % 3 === 0);

test.each(walked)('what a save and a restart of %s say was foretold', async (name) => {
  const folder = newFolder();
  const target = start(folder, compiled(name));
  await said(target.output, 'ready');
  const before = footprint(target.pid);
  const foretold = await foretell(target.pid);
  expect(foretold).toMatchObject({ problems: [], restartProblems: [], stopped: true });
  expect(footprint(target.pid)).toEqual(before);
  const image = join(folder, 'image');
  const saved = await mustRun('checkpoint', String(target.pid), '--output', image, '--json');
  expect(foretold.remarks).toEqual(expect.arrayContaining([...summaryOf(saved.stdout).remarks]));
  const ended = await mustRun('checkpoint', String(target.pid), '--output', image, '--kill', '--json');
  expect(foretold.remarks).toEqual(expect.arrayContaining([...summaryOf(ended.stdout).remarks]));
  await gone(target.pid);
  const restart = run(['restart', image]);
  await waitFor('the restarted program', () => (restart.stderr().includes('restarted ') ? true : undefined));
  remember(target.pid);
  const told = [...restart.stderr().matchAll(/^ {2}(.*)$/gm)].map(([, text]) => text);
  expect(foretold.remarks).toEqual(expect.arrayContaining(told));
  writeFileSync(join(folder, 'go'), '');
  await waitFor('a verdict', () => /^(ok|not ok.*)$/m.exec(readIfThere(target.output) ?? '')?.[0]);
  expect(readFileSync(target.output, 'utf8')).toMatch(/^ok$/m);
  await restart.done;
});

/** It has something of each kind that is lost, or comes back as something else. */
const LOSER = `
import ctypes, fcntl, os, select, signal, socket, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
kept = []
listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen(4)
client = socket.socket(); client.connect(listener.getsockname())
accepted, _ = listener.accept()
waiting = socket.socket(); waiting.connect(listener.getsockname())
unlinked = open("lost", "w+"); unlinked.write("x" * 10); unlinked.flush()
shared = open("shared", "w"); fcntl.flock(shared, fcntl.LOCK_EX)
outer_in, inner_out = os.pipe()
outside = os.fork()
if outside == 0:
    os.setsid()
    os.close(inner_out); listener.close(); client.close(); accepted.close(); waiting.close()
    if os.fork() != 0: os._exit(0)
    open("outsider", "w").write(str(os.getpid()))
    time.sleep(600); os._exit(0)
os.waitpid(outside, 0)
os.close(outer_in)
while not os.path.exists("outsider") or not open("outsider").read(): time.sleep(0.01)
os.unlink("lost")
watch = libc.inotify_init1(0); libc.inotify_add_watch(watch, b".", 0x100); open("made", "w").close()
reader, writer = os.pipe()
poll = select.epoll(); poll.register(reader, select.EPOLLIN | select.EPOLLONESHOT); os.write(writer, b"x"); poll.poll(); os.read(reader, 1)
routes = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); routes.bind((0, 1))
libc.prctl(1, signal.SIGUSR1)
print("ready", flush=True)
while not os.path.exists("go"): time.sleep(0.01)
print("ok", flush=True)
`;

const LOSSES = [
  /had a connection to be accepted/,
  /comes back as a connection that was reset/,
  /has no name, and .* has it open too/,
  /is shared with .* and its lock cannot be taken/,
  /is a pipe of which others have ends too/,
  /events that waited in inotify/,
  /one-shot entries/,
  /is a netlink socket: what its groups hear/,
];

test('everything that a program loses is told before, from the first to the last', async () => {
  const folder = newFolder();
  const target = start(folder, 'python3', ['-c', LOSER]);
  await said(target.output, 'ready');
  remember(Number(readFileSync(join(folder, 'outsider'), 'utf8')));
  const options = ['--tcp', 'close', '--close-external'];
  const foretold = await foretell(target.pid, ...options);
  expect(foretold.problems).toEqual([]);
  const image = join(folder, 'image');
  const saved = await mustRun('checkpoint', String(target.pid), '--output', image, '--json', ...options);
  const { remarks } = summaryOf(saved.stdout);
  for (const loss of LOSSES) expect(remarks).toContainEqual(expect.stringMatching(loss));
  expect(foretold.remarks).toEqual(expect.arrayContaining([...remarks]));
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
});

test('a connection that waits to be accepted stands in the way of --kill only, and is named before', async () => {
  const folder = newFolder();
  const script =
    'import socket,time;a=socket.socket();a.bind(("127.0.0.1",0));a.listen(4);print("ready",a.getsockname()[1],flush=True);time.sleep(600)';
  const target = start(folder, 'python3', ['-c', script]);
  await said(target.output, 'ready');
  const port = Number(/ready (\d+)/.exec(readFileSync(target.output, 'utf8'))?.[1]);
  // Outside of what is saved: a client inside would come back with it.
  const client = connect(port, '127.0.0.1');
  client.on('error', () => undefined);
  onTestFinished(() => void client.destroy());
  await once(client, 'connect');
  const before = footprint(target.pid);
  const pid = String(target.pid);
  const codesOf = async (...options: string[]): Promise<string[]> => {
    const { stdout } = await quicksave('check', pid, '--json', ...options);
    return JSON.parse(stdout.toString()).problems.map(({ code }: { code: string }) => code);
  };
  expect(await codesOf()).toEqual([]);
  expect(await codesOf('--kill')).toEqual(['pending-connection']);
  expect(await codesOf('--kill', '--stop')).toEqual(['pending-connection']);
  expect(await codesOf('--kill', '--tcp', 'close')).toEqual([]);
  const refused = await quicksave('checkpoint', pid, '--output', join(folder, 'image'), '--kill');
  expect(refused.status).toBe(1);
  expect(refused.stderr).toContain('[pending-connection]');
  expect(footprint(target.pid)).toEqual(before);
});
