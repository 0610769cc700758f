import { describe, expect, it } from 'vitest';
import {
  isLossyText,
  isMapped,
  listProcesses,
  procError,
  readProcText,
  unlessMissing,
} from '../../../src/procfs/proc-file.ts';
import { asPid } from '../../../src/support/brand.ts';

const failure = (code: string): Error => Object.assign(new Error(`${code}: oh`), { code });

describe('procError', () => {
  it.each([
    ['ENOENT', 4194305, 'maps', 'no-such-process'],
    ['ESRCH', 4194305, 'maps', 'no-such-process'],
    ['ESRCH', process.pid, 'auxv', 'no-proc-file'],
    ['EINVAL', process.pid, 'mountinfo', 'no-proc-file'],
    ['ENOENT', process.pid, 'timers', 'no-proc-file'],
    ['ENOENT', process.pid, 'task/4194305/stat', 'no-such-task'],
    ['ENOENT', process.pid, 'task', 'no-proc-file'],
    ['EACCES', process.pid, 'maps', 'not-permitted'],
    ['EPERM', process.pid, 'maps', 'not-permitted'],
    ['EIO', process.pid, 'maps', 'proc-unreadable'],
  ])('turns %s for %i/%s into %s', (errno, pid, path, code) => {
    const error = procError(failure(errno), pid, path);
    expect(error).toMatchObject({ code, cause: { code: errno } });
    expect(error.message).toContain(String(pid));
  });
});

describe('unlessMissing', () => {
  const missing = (): string => readProcText(asPid(4194305), 'maps');
  it('passes over what is gone', () => {
    expect(unlessMissing(missing)).toBeUndefined();
    expect(unlessMissing(() => 5)).toBe(5);
  });
  it('throws the rest', () => {
    expect(() => unlessMissing(missing, ['no-proc-file'])).toThrow('There is no process 4194305.');
    const fail = (): never => {
      throw new RangeError('another');
    };
    expect(() => unlessMissing(fail)).toThrow(RangeError);
  });
});

it('lists processes in ascending order', () => {
  const all = listProcesses();
  expect(all).toContain(process.pid);
  expect(all).toEqual([...all].sort((a, b) => a - b));
});

it('tells a text that was not UTF-8', () => {
  expect(isLossyText(Buffer.from([0x2f, 0xff]).toString())).toBe(true);
  expect(isLossyText('/grün')).toBe(false);
});

describe('isMapped', () => {
  it.each([
    ['         0          0 4294967295\n', 65534, true],
    ['     54321      54321          1\n', 65534, false],
    ['         0     100000      65534\n', 65534, false],
    ['         0       1000          1\n     65534     100000          1\n', 65534, true],
    ['', 65534, false],
  ])('of the map %j says whether it has the id %i', (map, id, mapped) => {
    expect(isMapped(map, id)).toBe(mapped);
  });
});
