import { describe, expect, it } from 'vitest';
import { parseMessageQueues, parseSegments, parseSemaphoreSets } from '../../../src/procfs/sysvipc.ts';

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

describe('semaphore sets and message queues', () => {
  const SETS =
    '       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n1364262912          3   660          5    10    20    30    40 1795622475 1795622470\n';
  const QUEUES =
    '       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n        -1      32769   640          16          3   811     0    10    20    30    40 1795622475          0 1795622470\n';
  const users = { owner: { uid: 10, gid: 20 }, creator: { uid: 30, gid: 40 } };

  it('are read with who has used a queue last', () => {
    expect(parseSemaphoreSets(SETS)).toEqual([{ key: 1_364_262_912, id: 3, mode: 0o660, count: 5, ...users }]);
    expect(parseMessageQueues(QUEUES)).toEqual([
      { key: 0xffff_ffff, id: 32_769, mode: 0o640, count: 3, senderPid: 811, receiverPid: 0, ...users },
    ]);
  });

  it('are none without a table', () => {
    expect([...parseSemaphoreSets(''), ...parseMessageQueues('')]).toEqual([]);
  });

  it('are not guessed', () => {
    expect(() => parseSemaphoreSets(SETS.replace(' 660 ', ' 999 '))).toThrow(/sysvipc\/sem is not as expected/);
    expect(() => parseMessageQueues(QUEUES.slice(0, 180))).toThrow(/sysvipc\/msg is not as expected/);
  });
});
