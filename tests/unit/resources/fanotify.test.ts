/** Groups of fanotify(7): what fdinfo tells of them, and what events bring along. */
import { describe, expect, it } from 'vitest';
import { descriptorsIn } from '../../../src/kernel/calls/fanotify.ts';
import { readMountinfo } from '../../../src/procfs/mountinfo.ts';
import { fanotify } from '../../../src/resources/files/fanotify.ts';
import type { HostView } from '../../../src/resources/resource.ts';
import { asPid } from '../../../src/support/brand.ts';
import { descriptorView, looks } from './views.ts';

const own = asPid(process.pid);
const view = (...lines: string[]) => {
  const base = descriptorView(looks.master);
  const descriptor = {
    ...base.descriptor,
    kind: 'anon_inode' as const,
    name: 'fanotify',
    target: 'anon_inode:[fanotify]',
  };
  return { ...base, pid: own, descriptor, info: { ...base.info, fields: new Map([['fanotify', lines]]) } };
};
const problems = (...lines: string[]): unknown[] => fanotify.obstacles?.(view(...lines) as never) ?? [];

describe('a group of fanotify', () => {
  it('that grants access is refused, whatever it marks', () => {
    for (const flags of ['4', '8', 'c']) {
      const found = problems(`flags:${flags} event-flags:8000`, 'mnt_id:ffffff mflags:0 mask:10000 ignored_mask:0');
      expect(found).toMatchObject([{ code: 'unknown-descriptor' }]);
    }
  });

  it('has marks on mounts and file systems that are there', () => {
    const [mount] = readMountinfo(own).filter(
      ({ mountId, mountPoint }, _, all) => all.findLast((one) => one.mountPoint === mountPoint)?.mountId === mountId,
    );
    const device = (((mount?.device.major ?? 0) << 20) | (mount?.device.minor ?? 0)).toString(16);
    const marks = [`mnt_id:${mount?.mountId.toString(16)}`, `sdev:${device}`].map(
      (place) => `${place} mflags:0 mask:2 ignored_mask:0`,
    );
    expect(problems('flags:0 event-flags:8000', ...marks)).toEqual([]);
    const gone = ['mnt_id:ffffff', 'sdev:ffffff', 'mnt_ns:1'].map((place) => `${place} mflags:0 mask:2 ignored_mask:0`);
    expect(problems('flags:0 event-flags:8000', ...gone)).toMatchObject(gone.map(() => ({ code: 'unknown-watch' })));
    expect(() => problems('flags:0 event-flags:8000', 'something:1 mflags:0')).toThrow(/a mark of a fanotify/);
    expect(() => problems()).toThrow(/what a fanotify was made with/);
  });

  it('is refused at the restart without the rights of its maker, and without what it marks', () => {
    const state = { flags: 0, made: { flags: 0, eventFlags: 0 }, privileged: true, marks: [], waitingBytes: 0 };
    const host = (capEffective: bigint) => ({ ownPid: own, status: { capEffective } }) as HostView;
    const plan = (changes: object, rights: bigint): unknown[] =>
      fanotify.plan?.({ ...state, ...changes }, host(rights), ['it']) ?? [];
    expect(plan({}, 0n)).toMatchObject([{ code: 'not-enough-rights' }]);
    expect(plan({}, 1n << 21n)).toEqual([]);
    expect(plan({ privileged: false }, 0n)).toEqual([]);
    const mark = (on: string, path: string): object => ({ on, path, flags: 0, mask: 2, ignored: 0 });
    expect(plan({ marks: [mark('mount', '/'), mark('file', '/')] }, 1n << 21n)).toEqual([]);
    const missing = { marks: [mark('mount', '/nowhere'), mark('file', '/nowhere'), mark('file system', '/nowhere')] };
    expect(plan(missing, 1n << 21n)).toMatchObject(missing.marks.map(() => ({ code: 'missing-file' })));
  });

  it('tells of events that nobody has read', () => {
    const state = { flags: 0, made: { flags: 0, eventFlags: 0 }, privileged: true, marks: [], waitingBytes: 24 };
    expect(fanotify.remark?.(state, 5 as never, undefined)).toMatch(/events that waited in fanotify 5/);
    expect(fanotify.remark?.({ ...state, waitingBytes: 0 }, 5 as never, undefined)).toBeUndefined();
  });

  it('gives descriptors with events, of files and of processes', () => {
    const events = Buffer.alloc(24 + 32 + 24);
    const event = (at: number, size: number, fd: number): void => {
      events.writeUInt32LE(size, at);
      events.writeUInt16LE(24, at + 6);
      events.writeInt32LE(fd, at + 16);
    };
    event(0, 24, 7);
    event(24, 32, -1);
    events.writeUInt8(4, 48);
    events.writeUInt16LE(8, 50);
    events.writeInt32LE(9, 52);
    event(56, 24, -1);
    const bytes = new DataView(events.buffer, events.byteOffset, events.length);
    expect(descriptorsIn(bytes, events.length)).toEqual([7, 9]);
    events.writeUInt32LE(0, 24);
    expect(descriptorsIn(bytes, events.length)).toEqual([7]);
  });
});
