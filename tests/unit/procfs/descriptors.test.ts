import { closeSync, mkdtempSync, openSync, rmSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { listDescriptors, parseDescriptorTarget, readDescriptor } from '../../../src/procfs/descriptors.ts';
import { asPid, remoteFd } from '../../../src/support/brand.ts';

const self = asPid(process.pid);
const folder = mkdtempSync(join(tmpdir(), 'quicksave-descriptors-'));
afterAll(() => rmSync(folder, { recursive: true }));

function withOpen(path: string, body: (fd: number) => void): void {
  const fd = openSync(path, 'w');
  try {
    body(fd);
  } finally {
    closeSync(fd);
  }
}

describe('parseDescriptorTarget', () => {
  it.each([
    ['/dev/null', 'path', '/dev/null', false],
    ['/tmp/a:[1]', 'path', '/tmp/a:[1]', false],
    ['/memfd:hello (deleted)', 'path', '/memfd:hello', true],
    ['pipe:[6995]', 'pipe', '6995', false],
    ['socket:[6993]', 'socket', '6993', false],
    ['anon_inode:[eventfd]', 'anon_inode', 'eventfd', false],
    ['anon_inode:inotify', 'anon_inode', 'inotify', false],
    ['net:[4026531840]', 'net', '4026531840', false],
    ['/tmp/two\nlines (deleted)', 'path', '/tmp/two\nlines', true],
    ['', 'path', '', false],
  ])('reads %j', (target, kind, name, deleted) => {
    expect(parseDescriptorTarget(target)).toEqual({ kind, name, deleted });
  });
});

describe('listDescriptors', () => {
  it('reads this process, in ascending order', () => {
    withOpen(join(folder, 'open'), (fd) => {
      const all = listDescriptors(self);
      expect(all.find((one) => one.fd === remoteFd(fd))).toMatchObject({ kind: 'path', name: join(folder, 'open') });
      expect(all.map((one) => one.fd)).toEqual(all.map((one) => one.fd).sort((a, b) => a - b));
    });
  });

  it('knows a deleted file from one with such a name', () => {
    withOpen(join(folder, 'x (deleted)'), (fd) => {
      expect(readDescriptor(self, remoteFd(fd))).toMatchObject({ name: join(folder, 'x (deleted)'), deleted: false });
      unlinkSync(join(folder, 'x (deleted)'));
      expect(readDescriptor(self, remoteFd(fd))).toMatchObject({ name: join(folder, 'x (deleted)'), deleted: true });
    });
  });

  it('says that there is no such process', () => {
    expect(() => listDescriptors(asPid(4194305))).toThrow(expect.objectContaining({ code: 'no-such-process' }));
  });
});
