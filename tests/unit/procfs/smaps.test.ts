import { describe, expect, it } from 'vitest';
import { parseMaps, parseSmaps, readMaps, readSmaps } from '../../../src/procfs/smaps.ts';
import { asPid } from '../../../src/support/brand.ts';

const SIZES = `Size:                  8 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Rss:                   7 kB
Pss:                   6 kB
Pss_Dirty:             0 kB
Shared_Clean:          1 kB
Shared_Dirty:          2 kB
Private_Clean:         3 kB
Private_Dirty:         4 kB
Referenced:            8 kB
Anonymous:             5 kB
KSM:                   0 kB
LazyFree:              9 kB
AnonHugePages:        10 kB
ShmemPmdMapped:        0 kB
FilePmdMapped:         0 kB
Shared_Hugetlb:       11 kB
Private_Hugetlb: 123456789 kB
Swap:                 13 kB
SwapPss:               0 kB
Locked:               14 kB
THPeligible:           0
`;
const entry = (header: string, flags = 'rd wr mr mw me ac ', extra = ''): string =>
  `${header}\n${SIZES}${extra}VmFlags: ${flags}\n`;
const HEAP = '557e3528a000-557e3545e000 rw-p 00000000 00:00 0                          [heap]';
const FILE = '7f620713f000-7f6207145000 r-xp 00002000 fe:00 339490                     /usr/lib/libffi.so.8.1.2';

describe('parseMaps', () => {
  const only = (line: string) => {
    const entries = parseMaps(`${line}\n`);
    expect(entries).toHaveLength(1);
    return entries[0];
  };

  it('reads a file mapping', () => {
    expect(only(FILE)).toEqual({
      start: 0x7f620713f000,
      end: 0x7f6207145000,
      read: true,
      write: false,
      execute: true,
      shared: false,
      offset: 0x2000,
      device: { major: 0xfe, minor: 0 },
      inode: 339490,
      path: '/usr/lib/libffi.so.8.1.2',
      deleted: false,
      special: undefined,
    });
  });

  it('reads an anonymous mapping', () => {
    expect(only('7f6207012000-7f6207112000 rw-p 00000000 00:00 0 ')).toMatchObject({
      inode: 0,
      path: '',
      special: undefined,
    });
  });

  it.each(['[heap]', '[stack]', '[vvar_vclock]', '[anon:my name]', '[anon_shmem:x y]'])('names %s special', (name) => {
    expect(only(`557e3528a000-557e3545e000 rw-p 00000000 00:00 0        ${name}`)).toMatchObject({
      path: '',
      special: name,
    });
  });

  it('keeps the addresses of [vsyscall] exact', () => {
    const vsyscall = only('ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]');
    expect(BigInt(vsyscall?.start ?? 0)).toBe(0xffffffffff600000n);
    expect(BigInt(vsyscall?.end ?? 0)).toBe(0xffffffffff601000n);
    expect(vsyscall?.read).toBe(false);
  });

  it('strips the mark of a deleted file and unescapes a newline', () => {
    expect(
      only(
        '7f6207fc2000-7f6207fc3000 rw-s 00000000 fe:00 2155081                    /tmp/we ird\\012name\\x (deleted)',
      ),
    ).toMatchObject({ path: '/tmp/we ird\nname\\x', deleted: true, shared: true });
  });

  it('holds large offsets and inodes as bigint, and only those', () => {
    expect(only('7f0000000000-7f0000001000 r--s 7fffffffff001000 00:2a 9223372036854775813 /o')).toMatchObject({
      offset: 0x7fffffffff001000n,
      inode: 9223372036854775813n,
    });
    expect(only('7f0000000000-7f0000001000 r--s 1ffffffffff000 00:2a 9007199254740991 /o')).toMatchObject({
      offset: 0x1ffffffffff000,
      inode: Number.MAX_SAFE_INTEGER,
    });
  });

  it('has no entries for an empty text', () => {
    expect(parseMaps('')).toEqual([]);
  });

  it.each([
    ['no range', 'garbage\n'],
    ['an end before the start', '2000-1000 r--p 00000000 00:00 0 \n'],
    ['an address inside a page', '1001-2000 r--p 00000000 00:00 0 \n'],
    ['an address of 17 digits', '10000000000000000-10000000000001000 r--p 00000000 00:00 0 \n'],
    ['a wrong permission', '1000-2000 rq-p 00000000 00:00 0 \n'],
    ['no offset', '1000-2000 r--p  00:00 0 \n'],
    ['no inode', '1000-2000 r--p 00000000 00:00 \n'],
    ['a cut line', '1000-2000 r--p 0000'],
    ['a header spread over two lines', '1000-2000 r--p 00000000 00:00\n0 \n'],
    ['an empty line', '\n'],
    ['zeros', '\0\0\0\0'],
  ])('refuses %s', (_, text) => {
    expect(() => parseMaps(text)).toThrow(expect.objectContaining({ code: 'malformed-proc-file' }));
  });

  it('reads this process', () => {
    const entries = readMaps(asPid(process.pid));
    expect(entries.some((one) => one.special === '[stack]')).toBe(true);
    expect(entries.some((one) => one.path === process.execPath && one.execute)).toBe(true);
  });
});

describe('parseSmaps', () => {
  it('reads the size of pages, and flags', () => {
    expect(parseSmaps(entry(HEAP))).toEqual([
      {
        ...parseMaps(`${HEAP}\n`)[0],
        vmFlags: ['rd', 'wr', 'mr', 'mw', 'me', 'ac'],
        protectionKey: undefined,
        kernelPageKiB: 4,
      },
    ]);
  });

  it('reads a protection key where there is one', () => {
    const text = entry(HEAP, 'rd ', 'ProtectionKey:         3\n') + entry(FILE, '', 'New_Key:  1 kB\n') + entry(HEAP);
    expect(parseSmaps(text).map((one) => [one.protectionKey, one.vmFlags.length])).toEqual([
      [3, 1],
      [undefined, 0],
      [undefined, 6],
    ]);
  });

  it('follows when the order of keys changes', () => {
    const reordered = `${HEAP}\nVmFlags: rd \nNew: x\n${SIZES.split('\n').reverse().filter(Boolean).join('\n')}\n`;
    const [first, second, third] = parseSmaps(entry(HEAP) + reordered + entry(HEAP));
    expect(second?.kernelPageKiB).toBe(4);
    expect(third).toEqual(first);
  });

  it.each([
    ['a missing size', entry(HEAP).replace(/KernelPageSize: .*\n/, '')],
    ['missing flags', `${HEAP}\n${SIZES}`],
    ['a header alone', `${HEAP}\n`],
    ['a cut text', entry(HEAP).slice(0, -5)],
    ['another unit', entry(HEAP).replace(/(KernelPageSize: +4) kB/, '$1 MB')],
    ['no number', entry(HEAP).replace(/(KernelPageSize: +)4/, '$1x')],
    ['a number too large', entry(HEAP).replace(/(KernelPageSize: +)4/, '$1 12345678901234567890')],
    ['a line without a key', entry(HEAP, 'rd ', 'Garbage\n')],
  ])('refuses %s', (_, text) => {
    expect(() => parseSmaps(text)).toThrow(expect.objectContaining({ code: 'malformed-proc-file' }));
  });

  it('reads this process, mapping for mapping as in maps', () => {
    const mappings = readSmaps(asPid(process.pid));
    const stack = mappings.find((one) => one.special === '[stack]');
    expect(stack?.vmFlags).toContain('gd');
    expect(stack?.kernelPageKiB).toBe(4);
    expect(mappings.length).toBeGreaterThan(20);
  });

  it('takes time that grows with the number of mappings, not with its square', () => {
    const textOf = (count: number): string =>
      Array.from({ length: count }, (_, index) =>
        entry(
          `${(0x7f0000000000 + index * 8192).toString(16)}-${(0x7f0000001000 + index * 8192).toString(16)} rw-p 00000000 00:00 0 `,
        ),
      ).join('');
    const best = (text: string): number =>
      Math.min(
        ...Array.from({ length: 5 }, () => {
          const started = performance.now();
          parseSmaps(text);
          return performance.now() - started;
        }),
      );
    const [few, many] = [textOf(2_000), textOf(20_000)];
    expect(parseSmaps(many)).toHaveLength(20_000);
    // Ten times the work. Its square would be a hundred times.
    expect(best(many) / best(few)).toBeLessThan(40);
  });
});
