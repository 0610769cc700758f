import { closeSync, openSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { fdinfoField, fdinfoLines, parseFdinfo, readFdinfo } from '../../../src/procfs/fdinfo.ts';
import { asPid, remoteFd } from '../../../src/support/brand.ts';

const HEAD = 'pos:\t8192\nflags:\t02100002\nmnt_id:\t27\nino:\t2155081\n';

describe('parseFdinfo', () => {
  it('reads the common lines', () => {
    expect(parseFdinfo(HEAD)).toEqual({
      position: 8192,
      flags: 0o2100002,
      mountId: 27,
      inode: 2155081,
      locks: [],
      fields: new Map(),
    });
  });

  it('has no inode before Linux 5.14', () => {
    expect(parseFdinfo('pos:\t0\nflags:\t02\nmnt_id:\t9\n').inode).toBeUndefined();
  });

  it('holds a position above 2^53 as a bigint', () => {
    expect(parseFdinfo(HEAD.replace('8192', '9223372036854775807')).position).toBe(9223372036854775807n);
  });

  it('reads eventfd and timerfd', () => {
    const eventfd = parseFdinfo(`${HEAD}eventfd-count: ffffffff00000005\neventfd-id: 1\neventfd-semaphore: 1\n`);
    expect(fdinfoField(eventfd, 'eventfd-count')).toBe('ffffffff00000005');
    const timerfd = parseFdinfo(
      `${HEAD}clockid: 1\nticks: 0\nsettime flags: 01\nit_value: (0, 7)\nit_interval: (1, 0)\n`,
    );
    expect(fdinfoField(timerfd, 'settime flags')).toBe('01');
    expect(fdinfoField(timerfd, 'it_value')).toBe('(0, 7)');
  });

  it('keeps every line of epoll and inotify', () => {
    const epoll = parseFdinfo(
      `${HEAD}tfd:       12 events:       1f data:                c  pos:0 ino:40f sdev:10\n` +
        'tfd:       15 events:       1f data:     7f620000000f  pos:0 ino:1b51 sdev:9\n',
    );
    expect(fdinfoLines(epoll, 'tfd')).toEqual([
      '12 events:       1f data:                c  pos:0 ino:40f sdev:10',
      '15 events:       1f data:     7f620000000f  pos:0 ino:1b51 sdev:9',
    ]);
    expect(() => fdinfoField(epoll, 'tfd')).toThrow(expect.objectContaining({ code: 'malformed-proc-file' }));
    const inotify = parseFdinfo(`${HEAD}inotify wd:2 ino:3f7e8 sdev:fe00000 mask:2 ignored_mask:0\n`);
    expect(fdinfoLines(inotify, 'inotify')).toEqual(['wd:2 ino:3f7e8 sdev:fe00000 mask:2 ignored_mask:0']);
  });

  it('keeps the tables of io_uring', () => {
    const info = parseFdinfo(`${HEAD}UserFiles:\t1\n    0: /tmp/x\nPollList:\n  op=6, task_works=0\n`);
    expect(fdinfoLines(info, '')).toEqual(['    0: /tmp/x', '  op=6, task_works=0']);
    expect(fdinfoField(info, 'PollList')).toBe('');
  });

  it('reads locks', () => {
    const info = parseFdinfo(
      `${HEAD}lock:\t1: POSIX  ADVISORY  WRITE 4490 fe:00:2155081 10 109\n` +
        'lock:\t2: FLOCK  ADVISORY  READ 4490 fe:00:2155082 0 EOF\n' +
        'lock:\t3: OFDLCK ADVISORY  WRITE -1 fe:00:2155083 0 EOF\n' +
        'lock:\t4: LEASE  BREAKING  READ 4490 fe:00:2155084 0 EOF\n' +
        'lock:\t5: POSIX  MANDATORY READ 1 08:1a:7 9007199254740991 9223372036854775806\n',
    );
    const file = { major: 0xfe, minor: 0, mandatory: false, breaking: false };
    expect(info.locks).toEqual([
      { ...file, kind: 'POSIX', type: 'WRITE', pid: 4490, inode: 2155081, start: 10, end: 110 },
      { ...file, kind: 'FLOCK', type: 'READ', pid: 4490, inode: 2155082, start: 0, end: 'EOF' },
      { ...file, kind: 'OFDLCK', type: 'WRITE', pid: -1, inode: 2155083, start: 0, end: 'EOF' },
      { ...file, kind: 'LEASE', type: 'READ', pid: 4490, inode: 2155084, start: 0, end: 'EOF', breaking: true },
      {
        ...{ kind: 'POSIX', type: 'READ', pid: 1, inode: 7, mandatory: true, breaking: false, major: 8, minor: 0x1a },
        start: Number.MAX_SAFE_INTEGER,
        end: 9223372036854775807n,
      },
    ]);
    expect(info.fields.has('lock')).toBe(false);
  });

  it.each([
    ['an empty text', ''],
    ['no flags', 'pos:\t0\nmnt_id:\t9\n'],
    ['flags that are not octal', HEAD.replace('02100002', '08')],
    ['a position that is no number', HEAD.replace('8192', '0x10')],
    ['a lock of an unknown kind', `${HEAD}lock:\t1: MAGIC  ADVISORY  WRITE 1 fe:00:1 0 EOF\n`],
    ['a lock in an unknown mode', `${HEAD}lock:\t1: POSIX  PERHAPS  WRITE 1 fe:00:1 0 EOF\n`],
    ['a lock without a file', `${HEAD}lock:\t1: POSIX  ADVISORY  WRITE 1 <none>:0 0 EOF\n`],
    ['a cut lock', `${HEAD}lock:\t1: POSIX  ADVISORY  WRITE 1 fe:00:1 0\n`],
  ])('refuses %s', (_, text) => {
    expect(() => parseFdinfo(text)).toThrow(expect.objectContaining({ code: 'malformed-proc-file' }));
  });
});

describe('readFdinfo', () => {
  it('reads this process', () => {
    const fd = openSync('/dev/null', 'r');
    try {
      expect(readFdinfo(asPid(process.pid), remoteFd(fd))).toMatchObject({ position: 0, flags: 0o2100000 });
    } finally {
      closeSync(fd);
    }
  });

  it('says that a descriptor is closed', () => {
    expect(() => readFdinfo(asPid(process.pid), remoteFd(987654))).toThrow(
      expect.objectContaining({ code: 'no-proc-file' }),
    );
  });
});
