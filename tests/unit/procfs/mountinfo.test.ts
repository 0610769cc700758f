import { describe, expect, it } from 'vitest';
import { findMount, parseMountinfo, readMountinfo } from '../../../src/procfs/mountinfo.ts';
import { asPid } from '../../../src/support/brand.ts';

const TEXT = `27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard,resuid=65534
36 27 0:33 /sub /mnt/a\\040b\\134c\\012d rw,noatime shared:1 master:2 - fuse.sshfs user@host:/x\\040y rw,user_id=0
40 27 0:40 / /none ro - tmpfs  rw
`;

describe('parseMountinfo', () => {
  it('reads mounts with and without optional fields', () => {
    expect(parseMountinfo(TEXT)).toEqual([
      {
        mountId: 27,
        parentId: 1,
        device: { major: 254, minor: 0 },
        root: '/',
        mountPoint: '/',
        options: ['rw', 'relatime'],
        propagation: [],
        fileSystemType: 'ext4',
        source: '/dev/vda',
        superOptions: ['rw', 'discard', 'resuid=65534'],
      },
      {
        mountId: 36,
        parentId: 27,
        device: { major: 0, minor: 33 },
        root: '/sub',
        mountPoint: '/mnt/a b\\c\nd',
        options: ['rw', 'noatime'],
        propagation: ['shared:1', 'master:2'],
        fileSystemType: 'fuse.sshfs',
        source: 'user@host:/x y',
        superOptions: ['rw', 'user_id=0'],
      },
      expect.objectContaining({ mountId: 40, source: '', fileSystemType: 'tmpfs' }),
    ]);
  });

  it('finds a mount by its id', () => {
    expect(findMount(parseMountinfo(TEXT), 36)?.root).toBe('/sub');
    expect(findMount(parseMountinfo(TEXT), 1)).toBeUndefined();
  });

  it.each([
    ['garbage', 'garbage\n'],
    ['an empty line', '\n'],
    ['no separator', '27 1 254:0 / / rw ext4 /dev/vda rw\n'],
    ['a hexadecimal device', '27 1 fe:0 / / rw - ext4 /dev/vda rw\n'],
    ['a cut line', '27 1 254:0 / / rw - ext4'],
    ['too few fields', '27 1 254:0 / - ext4 /dev/vda rw\n'],
  ])('refuses %s', (_, text) => {
    expect(() => parseMountinfo(text)).toThrow(expect.objectContaining({ code: 'malformed-proc-file' }));
  });

  it('reads this process', () => {
    expect(readMountinfo(asPid(process.pid)).some((mount) => mount.fileSystemType === 'proc')).toBe(true);
  });
});
