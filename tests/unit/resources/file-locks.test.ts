import { describe, expect, it } from 'vitest';
import { FCNTL, fcntlAbi } from '../../../src/kernel/abi/fcntl.ts';
import { structOf } from '../../../src/kernel/struct.ts';
import { parseFdinfo } from '../../../src/procfs/fdinfo.ts';
import { type Lock, lockObstacles, locksOf, takeProcessLocks } from '../../../src/resources/file-locks.ts';
import { remoteFd } from '../../../src/support/brand.ts';
import { restored } from './in-a-batch.ts';

const flock = structOf(fcntlAbi.structs.flock);

/** As the kernel prints them: proc_locks(5). */
const found = (...lines: string[]) =>
  parseFdinfo(`pos:\t0\nflags:\t02\nmnt_id:\t1\nino:\t7\n${lines.map((line) => `lock:\t1: ${line}\n`).join('')}`).locks;

describe('locks as fdinfo shows them', () => {
  it.each([
    ['POSIX  ADVISORY  WRITE 42 fe:00:7 0 EOF', { kind: 'POSIX', exclusive: true, start: 0n, length: 0n }],
    ['POSIX  ADVISORY  READ  42 fe:00:7 10 19', { kind: 'POSIX', exclusive: false, start: 10n, length: 10n }],
    ['POSIX  ADVISORY  WRITE 42 fe:00:7 5 5', { kind: 'POSIX', exclusive: true, start: 5n, length: 1n }],
    ['OFDLCK ADVISORY  WRITE -1 fe:00:7 100 EOF', { kind: 'OFDLCK', exclusive: true, start: 100n, length: 0n }],
    ['FLOCK  ADVISORY  WRITE 42 fe:00:7 0 EOF', { kind: 'FLOCK', exclusive: true, start: 0n, length: 0n }],
    ['FLOCK  ADVISORY  READ  42 fe:00:7 0 EOF', { kind: 'FLOCK', exclusive: false, start: 0n, length: 0n }],
    [
      'POSIX  ADVISORY  WRITE 42 fe:00:7 9007199254740993 9223372036854775806',
      { kind: 'POSIX', exclusive: true, start: 2n ** 53n + 1n, length: 2n ** 63n - 2n ** 53n - 2n },
    ],
  ])('%s', (line, expected) => {
    expect(locksOf(found(line))).toEqual([expected]);
  });

  it('are kept in their order', () => {
    const lines = ['POSIX  ADVISORY  WRITE 42 fe:00:7 0 0', 'FLOCK  ADVISORY  READ 42 fe:00:7 0 EOF'];
    expect(locksOf(found(...lines)).map(({ kind }) => kind)).toEqual(['POSIX', 'FLOCK']);
  });
});

describe('a lease', () => {
  const path = ['pid 7', 'fd 3'];

  it('stands in the way of a save if it is about to be broken, or the file must be read', () => {
    for (const line of ['DELEG  ACTIVE    READ 42 fe:00:7 0 EOF', 'LEASE  BREAKING  READ 42 fe:00:7 0 EOF']) {
      expect(lockObstacles(found(line), path, true)).toMatchObject([{ code: 'lease', path }]);
    }
    const held = found('LEASE  ACTIVE    WRITE 42 fe:00:7 0 EOF');
    expect(lockObstacles(held, path, true)).toEqual([]);
    expect(lockObstacles(held, path)).toMatchObject([{ code: 'lease', path }]);
  });

  it('is the only one of its kind that does', () => {
    expect(lockObstacles(found('POSIX  ADVISORY  WRITE 42 fe:00:7 0 EOF'), path)).toEqual([]);
    expect(lockObstacles([], path)).toEqual([]);
  });
});

describe('locks of a process', () => {
  const wanted: Lock[] = [
    { kind: 'FLOCK', exclusive: true, start: 0n, length: 0n },
    { kind: 'POSIX', exclusive: true, start: 10n, length: 0n },
    { kind: 'OFDLCK', exclusive: true, start: 3n, length: 4n },
    { kind: 'POSIX', exclusive: false, start: 2n ** 62n, length: 5n },
  ];
  const { calls, at } = restored((process) => takeProcessLocks(remoteFd(9), wanted, '/log', process));

  it('are taken inside it, those of the open file description are not', () => {
    expect(calls.map(({ name, args: [fd, command] }) => [name, fd, command])).toEqual([
      ['fcntl', 9, FCNTL.F_SETLK],
      ['fcntl', 9, FCNTL.F_SETLK],
    ]);
  });

  it('are described as struct flock', () => {
    const structs = calls.map(({ args }) => {
      const bytes = at(args[2]);
      return flock.read(new DataView(bytes.buffer, bytes.byteOffset, flock.size));
    });
    expect(structs).toEqual([
      { l_type: FCNTL.F_WRLCK, l_whence: 0, l_start: 10n, l_len: 0n, l_pid: 0 },
      { l_type: FCNTL.F_RDLCK, l_whence: 0, l_start: 2n ** 62n, l_len: 5n, l_pid: 0 },
    ]);
  });
});
