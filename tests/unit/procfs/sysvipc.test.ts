import { describe, expect, it } from 'vitest';
import { parseSegments } from '../../../src/procfs/sysvipc.ts';

const TITLES =
  '       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n';
const KEYED =
  '-305441741     229381   640                 20380 19323 19324      5  1234  2345     1     2 1795622475          0 1795622470                  8192                     0\n';
const REMOVED =
  '         0         26  3700                  8192     0 23997      1     0     0     0     0 1795623047 1795623053 1795623048                  4096                     0\n';

describe('parseSegments', () => {
  it('reads every segment, and what its mode says', () => {
    expect(parseSegments(TITLES + KEYED + REMOVED)).toEqual([
      {
        key: 2 ** 32 - 305_441_741,
        id: 229_381,
        mode: 0o640,
        removed: false,
        locked: false,
        sizeBytes: 20_380,
        creatorPid: 19_323,
        attachments: 5,
        owner: { uid: 1234, gid: 2345 },
        creator: { uid: 1, gid: 2 },
        attachedAt: 1_795_622_475,
        changedAt: 1_795_622_470,
      },
      expect.objectContaining({ key: 0, id: 26, mode: 0o700, removed: true, locked: true, attachments: 1 }),
    ]);
    expect(parseSegments(TITLES)).toEqual([]);
  });

  it.each([
    ['a cut line', KEYED.slice(0, 60)],
    ['a mode that is none', KEYED.replace(' 640 ', ' 888 ')],
    ['a size that is none', KEYED.replace('20380', 'large')],
  ])('refuses %s', (_, line) => {
    expect(() => parseSegments(TITLES + line)).toThrow(/sysvipc\/shm is not as expected/);
  });
});
