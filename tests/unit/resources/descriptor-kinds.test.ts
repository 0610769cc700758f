import { appendFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { FCNTL, OPEN } from '../../../src/kernel/abi/fcntl.ts';
import { ConnectionKeeper } from '../../../src/resources/connection-keeper.ts';
import { checksumOfEnds } from '../../../src/resources/file-identity.ts';
import { directory } from '../../../src/resources/files/directory.ts';
import { epoll } from '../../../src/resources/files/epoll.ts';
import { eventfd } from '../../../src/resources/files/eventfd.ts';
import { externalStream } from '../../../src/resources/files/external-stream.ts';
import { fifo } from '../../../src/resources/files/fifo.ts';
import { memoryDevice } from '../../../src/resources/files/memory-device.ts';
import { pathOnly } from '../../../src/resources/files/path-only.ts';
import { procFile } from '../../../src/resources/files/proc-file.ts';
import { regularFile } from '../../../src/resources/files/regular-file.ts';
import { unlinkedFile } from '../../../src/resources/files/unlinked-file.ts';
import { descriptorKinds } from '../../../src/resources/registry.ts';
import type { DescriptorView, HostView, OpenDescriptor } from '../../../src/resources/resource.ts';
import { asPid, localFd, remoteFd } from '../../../src/support/brand.ts';
import { identityOf, newFile, newFolder, replaceWithFolder } from './folder.ts';
import { restored } from './in-a-batch.ts';
import { descriptorStates } from './samples.ts';
import { descriptorView, type Looks, looks } from './views.ts';

const outsider = { pid: asPid(99), comm: 'less', fd: remoteFd(0) };
const where = ['pid 4242', 'fd 5'];
const strict = { acceptChangedFiles: false } as HostView;
const lenient = { acceptChangedFiles: true } as HostView;
const opened = (view: DescriptorView): OpenDescriptor => ({
  ...view,
  own: localFd(3),
  connections: new ConnectionKeeper('refuse', false),
  objectInFlight: () => 0,
});
const kindsOf = (view: DescriptorView): string[] =>
  descriptorKinds.filter((kind) => kind.recognise(view)).map(({ kind }) => kind);

describe('an open file description is recognised:', () => {
  const recognised: [string, Looks, string | undefined][] = [
    ['a file', looks.file, 'regular-file'],
    [
      'a file that is called "(deleted)" by its link, but has another name',
      { ...looks.unlinked, links: 1n },
      'regular-file',
    ],
    ['a file without a name', looks.unlinked, 'unlinked-file'],
    ['a folder', looks.directory, 'directory'],
    ['/dev/null', looks.null, 'memory-device'],
    ['a terminal', looks.terminal, 'external-stream'],
    ['the master of a pseudo-terminal', looks.master, 'pty-master'],
    ['its slave', { ...looks.terminal, siblings: [descriptorView({ ...looks.master, fd: 6 })] }, 'pty-slave'],
    [
      'the slave of another one',
      { ...looks.terminal, siblings: [descriptorView({ ...looks.master, fields: { 'tty-index': ['4'] } })] },
      'external-stream',
    ],
    ['a pipe within the process', looks.pipe, 'pipe'],
    ['a pipe that somebody else holds', { ...looks.pipe, outsiders: [outsider] }, 'external-stream'],
    ['a timerfd', looks.timerfd, 'timerfd'],
    ['a signalfd', looks.signalfd, 'signalfd'],
    ['a memfd', looks.memfd, 'memfd'],
    ['a memfd by its path only', { ...looks.memfd, flags: OPEN.O_PATH }, 'path-only'],
    ['shared memory that a mapping shows', { ...looks.anonymousMemory, fd: -1 }, 'shared-memory'],
    ['shared memory by a descriptor', looks.anonymousMemory, undefined],
    ['a System V segment that a mapping shows', { ...looks.sharedMemory, fd: -1 }, 'system-v-segment'],
    ['a System V segment by a descriptor', looks.sharedMemory, undefined],
    ['/dev/mem', looks.memory, undefined],
    ['a device that has state', looks.fuse, undefined],
    ['a socket', looks.socket, undefined],
    ['a FIFO', { ...looks.pipe, target: '/run/control' }, 'fifo'],
    ['a file of /proc', { ...looks.file, target: '/proc/4242/maps' }, 'proc-file'],
    ['a folder of /proc', { ...looks.directory, target: '/proc/4242/task' }, 'proc-file'],
    ['/dev/kmsg of a writer', { ...looks.kmsg, flags: OPEN.O_WRONLY }, 'memory-device'],
    ['/dev/kmsg of a reader', { ...looks.kmsg, flags: OPEN.O_RDONLY }, undefined],
    ['an inotify', { target: 'anon_inode:inotify', mode: 0o600 }, 'inotify'],
    ['a pidfd', { target: 'anon_inode:[pidfd]', mode: 0o600 }, 'pidfd'],
    ['an eventfd', looks.eventfd, 'eventfd'],
    ['an io_uring', looks.ring, 'io_uring'],
    ['an epoll', looks.epoll, 'epoll'],
    ['a file by its path only', { ...looks.file, flags: OPEN.O_PATH }, 'path-only'],
    ['a folder by its path only', { ...looks.directory, flags: OPEN.O_PATH }, 'path-only'],
    ['/dev/null by its path only', { ...looks.null, flags: OPEN.O_PATH }, 'path-only'],
  ];
  it.each(recognised)('%s, by one kind or none', (_, look, kind) => {
    expect(kindsOf(descriptorView(look))).toEqual(kind === undefined ? [] : [kind]);
  });
});

describe('what of a description goes into the image', () => {
  const opening = OPEN.O_CREAT | OPEN.O_TRUNC | OPEN.O_CLOEXEC | OPEN.O_EXCL;

  it('of a file: identity, position, and the flags that last', () => {
    const view = descriptorView({ ...looks.file, flags: OPEN.O_RDWR | OPEN.O_APPEND | opening, position: 77 });
    expect(regularFile.collect(opened(view))).toEqual({
      file: { path: '/var/log/worker', device: 0xfe00n, inode: 7n, sizeBytes: 100n, modifiedNs: 5n },
      flags: OPEN.O_RDWR | OPEN.O_APPEND,
      position: 77n,
      locks: [],
    });
  });

  it('of a folder: its cookie, which may have 63 bits', () => {
    const view = descriptorView({ ...looks.directory, flags: OPEN.O_DIRECTORY | OPEN.O_CLOEXEC });
    const seen = { ...view, info: { ...view.info, position: 2n ** 62n + 1n } };
    expect(directory.collect(opened(seen))).toEqual({
      path: '/srv',
      flags: OPEN.O_DIRECTORY,
      position: 2n ** 62n + 1n,
    });
  });

  it('of a file without a name: its bytes, once for all descriptions of it', () => {
    const first = descriptorView({ ...looks.unlinked, fd: 5, sizeBytes: 5000n });
    const second = descriptorView({ ...looks.unlinked, fd: 6, sizeBytes: 5000n });
    const other = descriptorView({ ...looks.unlinked, fd: 7, inode: 8n });
    const siblings = [first, second, other];
    const states = siblings.map((view) => unlinkedFile.collect(opened({ ...view, siblings })));
    expect(states.map((state) => state.carries)).toEqual([true, false, true]);
    expect(states.map((state) => unlinkedFile.contentBytes?.(state))).toEqual([5000, 0, 100]);
    expect(states[0]).toMatchObject({ path: '/tmp/gone', mode: 0o600, inode: 7n });
  });

  it('of a counter: all 64 bits, and what is no flag', () => {
    const fields = { 'eventfd-count': ['fedcba9876543210'], 'eventfd-id': ['7'], 'eventfd-semaphore': ['1'] };
    const view = descriptorView({ ...looks.eventfd, flags: OPEN.O_RDWR | OPEN.O_NONBLOCK | OPEN.O_CLOEXEC, fields });
    expect(eventfd.collect(opened(view))).toEqual({
      count: 0xfedc_ba98_7654_3210n,
      semaphore: true,
      flags: OPEN.O_RDWR | OPEN.O_NONBLOCK,
    });
  });

  it('of a device: its number', () => {
    expect(memoryDevice.collect(opened(descriptorView(looks.null)))).toMatchObject({ path: '/dev/null', minor: 3 });
  });
});

describe('a description of a kind that can be saved stands in the way when', () => {
  const codes = (problems: readonly { code: string }[] | undefined) => problems?.map(({ code }) => code);

  it('nothing is special about it: never', () => {
    const file = newFile();
    const { dev, ino } = statSync(file, { bigint: true });
    const there = { ...descriptorView({ ...looks.file, target: file }) };
    expect(regularFile.obstacles?.({ ...there, stat: { ...there.stat, device: Number(dev), inode: ino } })).toEqual([]);
    expect(directory.obstacles?.(descriptorView(looks.directory))).toEqual([]);
    expect(fifo.obstacles?.(descriptorView({ ...looks.pipe, target: '/run/gone (deleted)', links: 0n }))).toEqual([]);
  });

  it('it shows the name of another file, as a message queue does', () => {
    expect(codes(regularFile.obstacles?.(descriptorView(looks.file)))).toEqual(['not-under-its-name']);
  });

  it('it is a file of /proc of another process, or one with a state', () => {
    const proc = (target: string, more: Partial<Looks> = {}) =>
      codes(procFile.obstacles?.(descriptorView({ ...looks.file, target, ...more })));
    expect([
      proc('/proc/4242/maps'),
      proc('/proc/meminfo'),
      proc('/proc/4242/task', { mode: looks.directory.mode }),
    ]).toEqual([[], [], []]);
    const refused = ['/proc/1/maps', '/proc/4242/maps (deleted)', '/proc/4242/task/4243/stat', '/proc/4242/fdinfo/3'];
    for (const target of [...refused, '/proc/kmsg', '/proc/pressure/memory']) {
      expect([target, proc(target)]).toEqual([target, ['proc-file']]);
    }
    expect(proc('/proc/pressure/memory', { flags: OPEN.O_RDONLY })).toEqual([]);
  });

  it('it is a file that has lost the name it was opened by, and has none in the same folder', () => {
    expect(codes(regularFile.obstacles?.(descriptorView({ ...looks.unlinked, links: 1n })))).toEqual(['renamed-file']);
  });

  it('it is a file with another name in the same folder: then it does not', () => {
    const file = newFile();
    const { ino, dev } = statSync(file, { bigint: true });
    const lost = descriptorView({ ...looks.unlinked, target: join(dirname(file), 'lost (deleted)'), links: 1n });
    const view = { ...lost, stat: { ...lost.stat, inode: ino, device: Number(dev) } };
    expect(regularFile.obstacles?.(view)).toEqual([]);
    expect(regularFile.collect(opened(view)).file.path).toBe(file);
  });

  it('it is known by its path only, and that is gone', () => {
    const view = descriptorView({ ...looks.file, flags: OPEN.O_PATH });
    expect(codes(pathOnly.obstacles?.(view))).toEqual(['path-lost']);
  });

  it('it is a FIFO that is not there under its name, or that others have', () => {
    const view = descriptorView({ ...looks.pipe, target: '/run/no-such-fifo', outsiders: [outsider] });
    expect(codes(fifo.obstacles?.(view))).toEqual(['held-outside', 'not-under-its-name']);
  });

  it('it is a counter of which this kernel does not tell all', () => {
    const fields = { 'eventfd-count': ['0'], 'eventfd-id': ['7'] };
    expect(codes(eventfd.obstacles?.(descriptorView({ ...looks.eventfd, fields })))).toEqual(['eventfd-mode']);
  });

  it('somebody else has the same counter or interest list: the other is named', () => {
    const fields = { 'eventfd-semaphore': ['0'] };
    const shared = (look: Looks) => descriptorView({ ...look, fields, outsiders: [outsider] });
    for (const problems of [eventfd.obstacles?.(shared(looks.eventfd)), epoll.obstacles?.(shared(looks.epoll))]) {
      expect(problems).toMatchObject([
        {
          code: 'held-outside',
          message: expect.stringContaining('99 (less, fd 0)'),
          path: ['pid 4242', 'fd 5', expect.any(String)],
        },
      ]);
    }
  });

  it('it is a terminal that is no standard stream', () => {
    expect(codes(externalStream.obstacles?.(descriptorView({ ...looks.terminal, fd: 9 })))).toEqual(['terminal']);
    expect(externalStream.obstacles?.(descriptorView({ ...looks.terminal, fd: 1 }))).toEqual([]);
  });

  it('it is a pipe to somebody else, unless it is a standard stream: the other is named', () => {
    const view = (fd: number) => descriptorView({ ...looks.pipe, fd, outsiders: [outsider] });
    expect(externalStream.obstacles?.(view(7))).toMatchObject([
      { code: 'pipe-to-outside', message: expect.stringContaining('99 (less, fd 0)') },
    ]);
    expect([0, 1, 2].map((fd) => externalStream.obstacles?.(view(fd)))).toEqual([[], [], []]);
  });

  it('it is the terminal of a standard stream under another number: then it does not', () => {
    const output = descriptorView({ ...looks.terminal, fd: 1 });
    const kept = descriptorView({ ...looks.terminal, fd: 10, siblings: [output] });
    expect(externalStream.obstacles?.(kept)).toEqual([]);
    expect(externalStream.collect(opened(kept))).toMatchObject({ stream: 1, was: '/dev/pts/3' });
  });
});

describe('on another host', () => {
  const file = (path: string, endsChecksum?: number) =>
    ({ ...descriptorStates['regular-file'], file: identityOf(path), endsChecksum }) as never;

  it('a file must be the one that it was, or have grown', () => {
    const path = newFile();
    const state = file(path);
    expect(regularFile.plan?.(state, strict, where)).toEqual([]);
    appendFileSync(path, 'more');
    expect(regularFile.plan?.(state, strict, where)).toEqual([]);
  });

  it('a file that was written anew has not grown, also if it is longer now', () => {
    const path = newFile('content');
    const state = file(path, checksumOfEnds(path, identityOf(path).sizeBytes));
    writeFileSync(path, 'content, and more');
    expect(regularFile.plan?.(state, strict, where)).toEqual([]);
    writeFileSync(path, 'another content');
    expect(regularFile.plan?.(state, strict, where)).toMatchObject([{ code: 'changed-file', path: where }]);
    expect(regularFile.plan?.(state, lenient, where)).toEqual([]);
  });

  it.each([1, 4096, 4097, 8192, 8193, 100_000])(
    'the ends of %i bytes are the first and the last 4096 of them',
    (size) => {
      const bytes = Buffer.from(Array.from({ length: size }, (_, index) => (index * 7) % 251));
      const path = newFile(bytes);
      const ends = checksumOfEnds(path, BigInt(size));
      const changedAt = (index: number) => {
        const changed = Buffer.from(bytes);
        changed[index] = (changed[index] ?? 0) ^ 1;
        writeFileSync(path, changed);
        return checksumOfEnds(path, BigInt(size)) !== ends;
      };
      expect([0, Math.min(4095, size - 1), Math.max(0, size - 4096), size - 1].map(changedAt)).toEqual([
        true,
        true,
        true,
        true,
      ]);
      expect(checksumOfEnds(path, BigInt(size + 1))).toBe(undefined);
      expect(checksumOfEnds(`${path}-none`, 1n)).toBe(undefined);
    },
  );

  it('a changed file is refused, unless that is accepted', () => {
    const path = newFile('content');
    const state = file(path);
    writeFileSync(path, 'short');
    expect(regularFile.plan?.(state, strict, where)).toMatchObject([{ code: 'changed-file', path: where }]);
    expect(regularFile.plan?.(state, lenient, where)).toEqual([]);
  });

  it('a missing file, or a folder in its place, is refused whatever is accepted', () => {
    const path = newFile();
    const state = file(path);
    replaceWithFolder(path);
    expect(regularFile.plan?.(state, lenient, where)).toMatchObject([{ code: 'missing-file' }]);
    rmSync(path, { recursive: true });
    expect(regularFile.plan?.(state, lenient, where)).toMatchObject([{ code: 'missing-file' }]);
  });

  it('a folder must be there, and be a folder', () => {
    const plan = (path: string) => directory.plan?.({ path, flags: 0, position: 0n }, strict, where);
    const folder = newFolder();
    expect(plan(folder)).toEqual([]);
    for (const path of [join(folder, 'gone'), newFile()]) {
      expect(plan(path)).toMatchObject([{ code: 'missing-directory', path: where }]);
    }
  });

  it('a file without a name needs the folder that it was in', () => {
    const plan = (path: string) =>
      unlinkedFile.plan?.({ ...descriptorStates['unlinked-file'], path } as never, strict, where);
    const folder = newFolder();
    expect(plan(join(folder, 'gone'))).toEqual([]);
    const lost = join(folder, 'no folder', 'gone');
    expect(plan(lost)).toMatchObject([{ code: 'missing-directory', remedy: expect.stringContaining(dirname(lost)) }]);
  });

  it('a device must be the one of that number', () => {
    const plan = (path: string, minor: number) => memoryDevice.plan?.({ path, minor, flags: 0 }, strict, where);
    expect(plan('/dev/null', 3)).toEqual([]);
    for (const [path, minor] of [
      ['/dev/null', 5],
      ['/dev/nothing', 3],
      [newFile(), 3],
    ] as const) {
      expect(plan(path, minor)).toMatchObject([{ code: 'missing-device', path: where }]);
    }
  });
});

describe('the summary', () => {
  it('tells what a stream was, and which one it is now', () => {
    const remark = externalStream.remark?.({ stream: 0, flags: 0, was: '/dev/pts/3' }, remoteFd(7), undefined);
    expect(remark).toContain('/dev/pts/3');
    expect(remark).toContain('7');
    expect(remark).toContain('standard input');
  });

  it('tells whose a file without a name was, where the restart may not give it away', () => {
    const host = (capEffective: bigint): HostView =>
      ({ status: { capEffective, uid: { filesystem: 1000 }, gid: { filesystem: 100 }, groups: [27] } }) as never;
    const remark = (owner: { uid: number; gid: number } | undefined, capabilities = 0n) =>
      unlinkedFile.remark?.({ ...descriptorStates['unlinked-file'], owner } as never, remoteFd(7), host(capabilities));
    expect(remark({ uid: 0, gid: 0 })).toMatch(/\/tmp\/gone of descriptor 7.* belonged to uid 0, gid 0/);
    expect(remark({ uid: 1000, gid: 5 })).toMatch(/gid 5/);
    expect(remark({ uid: 1000, gid: 27 })).toBeUndefined();
    expect(remark({ uid: 0, gid: 0 }, 1n)).toBeUndefined();
    expect(remark(undefined)).toBeUndefined();
  });

  it('tells which one-shot entries will be heard of again, and that nobody is kept awake', () => {
    const entry = { fd: 7, watches: 7, events: 0x4000_0000, data: 0n, mayFire: false };
    const state = (...entries: (typeof entry)[]) => ({ ...descriptorStates.epoll, entries }) as never;
    const remark = (shown: never, capEffective?: bigint) =>
      epoll.remark?.(
        shown,
        remoteFd(5),
        capEffective === undefined ? undefined : ({ status: { capEffective } } as never),
      );
    expect(remark(state(entry, { ...entry, fd: 8 }))).toMatch(/entries of 7, 8 in epoll 5 had fired/);
    expect(remark(state({ ...entry, mayFire: true }), 0n)).toBeUndefined();
    expect(remark(state({ ...entry, events: 0x2000_0001 }), 0n)).toMatch(/epoll 5 kept the system awake/);
    expect(remark(state({ ...entry, events: 0x2000_0001 }), 1n << 36n)).toBeUndefined();
  });

  it('of a save says nothing of a host that nobody knows yet', () => {
    expect(unlinkedFile.remark?.(descriptorStates['unlinked-file'] as never, remoteFd(7), undefined)).toBeUndefined();
  });

  it('gives a file its mode when all its descriptions are open, and again when it has been given away', () => {
    const state = { ...descriptorStates['unlinked-file'], mode: 0o4400 } as never;
    const { calls } = restored((process) => unlinkedFile.finish?.(state, process, remoteFd(7)));
    expect(calls.map(({ name, args: [fd, value] }) => [name, fd, value])).toEqual([
      ['fchmod', 7, 0o4400],
      ['fchown', 7, 0],
      ['fchmod', 7, 0o4400],
    ]);
  });
});

describe('the entries of an epoll are made in the process', () => {
  const entry = { fd: 7, watches: 7, events: 0x19, data: 0x1122n, mayFire: false };
  const finish = (...entries: (typeof entry)[]) =>
    restored((process) => epoll.finish?.({ ...descriptorStates.epoll, entries } as never, process, remoteFd(5)));
  const madeBy = ({ calls }: ReturnType<typeof finish>) => calls.map(({ name, args }) => [name, ...args.slice(0, 3)]);

  it('each under its number, with its events and its data', () => {
    const made = finish(entry, { ...entry, fd: 8, watches: 8, data: 2n ** 64n - 1n });
    expect(madeBy(made)).toEqual([
      ['epoll_ctl', 5, 1, 7],
      ['epoll_ctl', 5, 1, 8],
    ]);
    expect(made.at(made.calls[0]?.args[3]).subarray(0, 12).toString('hex')).toBe('190000002211000000000000');
    expect(made.at(made.calls[1]?.args[3]).subarray(0, 12).toString('hex')).toBe('19000000ffffffffffffffff');
  });

  it('those that had fired first: they fire before others could be reported', () => {
    const fired = { ...entry, fd: 9, watches: 9, events: 0x4000_0000, mayFire: true };
    expect(madeBy(finish(entry, fired))).toEqual([
      ['epoll_ctl', 5, 1, 9],
      ['epoll_wait', 5, expect.any(Number), 1],
      ['epoll_ctl', 5, 1, 7],
    ]);
  });

  it('under a number that is in use again: it is lent for that moment', () => {
    expect(madeBy(finish({ ...entry, watches: 30 })).map(([name, first, second]) => [name, first, second])).toEqual([
      ['fcntl', 7, OPEN_FLAG_QUESTION],
      ['fcntl', 7, KEEP],
      ['dup3', 30, 7],
      ['epoll_ctl', 5, 1],
      ['dup3', 0, 7],
      ['close', 0, 0],
    ]);
  });
});

const { F_GETFD: OPEN_FLAG_QUESTION, F_DUPFD_CLOEXEC: KEEP } = FCNTL;
