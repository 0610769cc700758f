import { copyFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { MAP } from '../../../src/kernel/abi/mman.ts';
import { type Mapping, readMaps } from '../../../src/procfs/smaps.ts';
import { collectMappedFile, planMappedFile } from '../../../src/resources/mapped-file.ts';
import { privateFile, sharedFile } from '../../../src/resources/memory/file-mappings.ts';
import { hugePages } from '../../../src/resources/memory/huge-pages.ts';
import { kernelMapping } from '../../../src/resources/memory/kernel-mappings.ts';
import { privateObject, sharedObject } from '../../../src/resources/memory/object-mappings.ts';
import { privateAnonymous } from '../../../src/resources/memory/private-anonymous.ts';
import { segmentMapping } from '../../../src/resources/memory/segment-mapping.ts';
import { mappingKinds } from '../../../src/resources/registry.ts';
import type { HostView } from '../../../src/resources/resource.ts';
import { asPid } from '../../../src/support/brand.ts';
import { errorOf } from '../image/streams.ts';
import { newFile } from './folder.ts';
import { PID } from './in-a-batch.ts';
import { type AskedFile, mappingView, processWithFiles } from './views.ts';

const kindsOf = (permissions: string, name: string): string[] =>
  mappingKinds.filter((kind) => kind.recognise(mappingView(permissions, name))).map(({ kind }) => kind);

describe('a mapping is recognised:', () => {
  it.each([
    ['memory without a name', 'rw-p', '', 'anonymous'],
    ['a heap', 'rw-p', '[heap]', 'anonymous'],
    ['a stack', 'rw-p', '[stack]', 'anonymous'],
    ['memory with a name', 'rw-p', '[anon:arena]', 'anonymous'],
    ['memory with a name of two lines', 'rw-p', '[anon:a\\012b]', 'anonymous'],
    ['a program', 'r-xp', '/usr/bin/worker', 'private-file'],
    ['a shared file', 'rw-s', '/var/lib/db', 'shared-file'],
    ['the vDSO', 'r-xp', '[vdso]', 'kernel'],
    ['its data', 'r--p', '[vvar]', 'kernel'],
    ['its clocks', 'r--p', '[vvar_vclock]', 'kernel'],
    ['shared memory without a file', 'rw-s', '[anon_shmem:pool]', undefined],
    ['something of a kernel to come', 'r--p', '[vnew]', undefined],
    ['asynchronous I/O', 'rw-s', '/[aio] (deleted)', 'aio-ring'],
    ['user probes', '--xp', '[uprobes]', undefined],
  ])('%s, by one kind or none', (_, permissions, name, kind) => {
    expect(kindsOf(permissions, name)).toEqual(kind === undefined ? [] : [kind]);
  });
});

describe('private memory', () => {
  it('carries all its pages and keeps its name', () => {
    expect(privateAnonymous.pages).toBe('all-present');
    const names = ['', '[heap]', '[anon:arena]', '[anon:]', '[anon:a]b]'].map(
      (name) => privateAnonymous.collect(mappingView('rw-p', name), processWithFiles()).name,
    );
    expect(names).toEqual(['', '', 'arena', '', 'a]b']);
  });

  it('is made without a file', () => {
    expect(privateAnonymous.mapping({ name: 'arena' })).toEqual({
      flags: MAP.MAP_PRIVATE | MAP.MAP_ANONYMOUS,
      file: 0,
      name: 'arena',
    });
  });
});

describe('a file mapping', () => {
  it.each([
    [privateFile, 'rw-p', 'rd wr mr mw me', 'differing-from-file', MAP.MAP_PRIVATE, false],
    [sharedFile, 'rw-s', 'rd wr sh mr mw me ms', 'none', MAP.MAP_SHARED, true],
    // Opened for reading: mprotect(2) can never make it writable.
    [sharedFile, 'r--s', 'rd mr me ms', 'none', MAP.MAP_SHARED, false],
  ] as const)(
    '(%#) refers to what the kernel holds, and is opened as it was',
    (kind, permissions, flags, pages, map, writable) => {
      const asked: AskedFile[] = [];
      const state = kind.collect(mappingView(permissions, '/var/lib/db', flags), processWithFiles(asked));
      expect(asked).toEqual([
        { link: '/proc/4242/map_files/7f0000000000-7f0000002000', path: '/var/lib/db', writable },
      ]);
      expect(kind.pages).toBe(pages);
      expect(kind.mapping(state)).toEqual({ flags: map, file: 7, name: '' });
    },
  );

  it('stands in the way when it cannot be made again, or is a device', () => {
    const codes = (name: string) => privateFile.obstacles?.(mappingView('r--p', name)).map(({ code }) => code);
    expect(codes('/usr/lib/libc.so')).toEqual([]);
    expect(codes('/secretmem (deleted)')).toEqual(['shared-memory']);
    expect(codes('/dev/dri/card0')).toEqual(['device-memory']);
    expect(codes('/dev/shm/pool')).toEqual([]);
  });
});

describe('a mapping of a file without a name', () => {
  it.each([
    [privateObject, 'rw-p', 'rd wr mr mw me', 'differing-from-file', MAP.MAP_PRIVATE, false],
    [sharedObject, 'rw-s', 'rd wr sh mr mw me ms', 'none', MAP.MAP_SHARED, true],
    // Opened for reading: a seal against writing allows no other.
    [sharedObject, 'r--s', 'rd mr me ms', 'none', MAP.MAP_SHARED, false],
  ] as const)(
    '(%#) refers to a description, which is opened as it was',
    (kind, permissions, flags, pages, map, writable) => {
      const asked: AskedFile[] = [];
      const state = kind.collect(mappingView(permissions, '/memfd:pool (deleted)', flags), processWithFiles(asked));
      expect(asked).toEqual([
        { link: '/proc/4242/map_files/7f0000000000-7f0000002000', path: '/memfd:pool', writable },
      ]);
      expect(kind.pages).toBe(pages);
      expect(kind.mapping(state)).toEqual({ flags: map, file: 7, nameless: true, name: '' });
    },
  );

  it.each([
    ['rw-s', '/dev/zero (deleted)', 'shared-object'],
    ['rw-s', '/memfd:pool (deleted)', 'shared-object'],
    ['r-xp', '/usr/lib/libc.so (deleted)', 'private-object'],
    ['rw-s', '/SYSV00000000 (deleted)', 'system-v-segment'],
    ['r--s', '/SYSVfffffffe (deleted)', 'system-v-segment'],
    ['rw-p', '/SYSV00000000 (deleted)', 'private-file'],
    ['rw-s', '/SYSV00000000', 'shared-file'],
    ['rw-s', '/SYSV0000000 (deleted)', 'shared-object'],
    ['rw-s', '/dev/shm/pool', 'shared-file'],
    ['rw-p', '/memfd:pool', 'private-file'],
  ])('%s %s is known by one kind', (permissions, name, kind) => {
    expect(kindsOf(permissions, name)).toEqual([kind]);
  });
});

describe('huge pages', () => {
  const view = (permissions: string, kernelPageSize: number, offset = 0): Mapping => {
    const mapping = mappingView(permissions, '/anon_hugepage (deleted)', 'rd wr mr mw me ht');
    return { ...mapping, offset, kernelPageKiB: kernelPageSize };
  };
  const kindOf = (mapping: Mapping): string | undefined => mappingKinds.find((kind) => kind.recognise(mapping))?.kind;

  it('are known where they are private, and of a size that x86 has', () => {
    expect([2048, 1048576, 64].map((size) => kindOf(view('rw-p', size)))).toEqual([
      'huge-pages',
      'huge-pages',
      'private-object',
    ]);
    expect(kindOf(view('rw-s', 2048))).toBe('shared-object');
  });

  it('are refused where they are shared and of a file that has lost its name', () => {
    const shared = (path: string) => mappingView('rw-s', `${path} (deleted)`, 'rd wr sh mr mw me ms ht');
    expect(sharedObject.obstacles?.(shared('/mnt/huge/file'))).toMatchObject([{ code: 'mapping-flag' }]);
    expect(sharedObject.obstacles?.(shared('/memfd:pool'))).toEqual([]);
    expect(sharedObject.obstacles?.(shared('/anon_hugepage'))).toEqual([]);
  });

  it('are made in their size', () => {
    const flagsOf = (size: number): number | undefined =>
      hugePages.mapping(hugePages.collect(view('rw-p', size), processWithFiles()))?.flags;
    const common = MAP.MAP_PRIVATE | MAP.MAP_ANONYMOUS | MAP.MAP_HUGETLB;
    expect([2048, 1048576].map(flagsOf)).toEqual([
      common | (21 << MAP.MAP_HUGE_SHIFT),
      common | (30 << MAP.MAP_HUGE_SHIFT),
    ]);
  });

  it('are refused where a part could not be made again', () => {
    expect(hugePages.obstacles?.(view('r--p', 2048, 2 << 20))).toMatchObject([{ code: 'mapping-flag' }]);
    expect(hugePages.obstacles?.(view('rw-p', 2048, 2 << 20))).toEqual([]);
    expect(hugePages.obstacles?.(view('r--p', 2048))).toEqual([]);
  });
});

describe('a mapping of a System V segment', () => {
  it.each([
    ['rw-s', 'rd wr sh mr mw me ms', false],
    ['r--s', 'rd sh mr mw me ms', false],
    ['r--s', 'rd mr me ms', true],
  ])('%s with %s is attached as it was', (permissions, flags, readOnly) => {
    const asked: AskedFile[] = [];
    const mapping = mappingView(permissions, '/SYSV0000002a (deleted)', flags);
    const state = segmentMapping.collect(mapping, processWithFiles(asked));
    expect(state).toEqual({ object: 7, readOnly });
    // One object, whoever may write to it.
    expect(asked).toMatchObject([{ path: '/SYSV0000002a', writable: false }]);
    expect(segmentMapping.mapping(state)).toMatchObject({ file: 7, attach: { readOnly } });
  });

  it('that is no attachment of a segment of ours is refused', () => {
    const mapping = { ...mappingView('rw-s', '/SYSV0000002a (deleted)'), inode: 0x7fff_ffff };
    expect(segmentMapping.treeObstacles?.([{ pid: PID, mapping }], new Set([PID]))).toMatchObject([
      { code: 'odd-segment', path: [`pid ${PID}`, 'mapping 0x7f0000000000'] },
    ]);
  });
});

describe("a mapping of the kernel's", () => {
  it('is known by its name alone, carries no page and is not made', () => {
    const state = kernelMapping.collect(mappingView('r--p', '[vvar_vclock]'), processWithFiles());
    expect(state).toEqual({ name: '[vvar_vclock]' });
    expect([kernelMapping.pages, kernelMapping.mapping(state)]).toEqual(['none', undefined]);
  });
});

describe('a mapped file', () => {
  const strict = { acceptChangedFiles: false } as HostView;
  const lenient = { acceptChangedFiles: true } as HostView;
  const BEFORE = new Date('2001-02-03T04:05:06Z');

  it('must be the one that its name leads to', () => {
    const [held, other] = [newFile('held'), newFile('other')];
    expect(collectMappedFile(held, held, true)).toMatchObject({ file: { path: held }, buildId: '', writable: true });
    for (const path of [other, `${held}-gone`]) {
      expect(errorOf(() => collectMappedFile(held, path, false))).toMatchObject({
        code: 'replaced-file',
        message: expect.stringContaining(path),
      });
    }
  });

  it('without a build id must not have changed, unless that is accepted', () => {
    const path = newFile('content');
    const saved = collectMappedFile(path, path, false);
    expect(planMappedFile(saved, strict)).toEqual([]);
    utimesSync(path, BEFORE, BEFORE);
    expect(planMappedFile(saved, strict)).toMatchObject([{ code: 'changed-file', path: ['mapped file', path] }]);
    expect(planMappedFile(saved, lenient)).toEqual([]);
  });

  it('must not even have grown', () => {
    const path = newFile('content');
    const saved = collectMappedFile(path, path, false);
    writeFileSync(path, 'content and more');
    expect(planMappedFile(saved, strict)).toMatchObject([{ code: 'changed-file' }]);
  });

  it('that is an ELF image may have been installed again, if its build id is the same', () => {
    const library = readMaps(asPid(process.pid)).find((entry) => entry.path.endsWith('/libc.so.6'))?.path;
    if (library === undefined) throw new Error('this process has no C library');
    const path = newFile();
    copyFileSync(library, path);
    const known = collectMappedFile(path, path, false);
    expect(known.buildId).toMatch(/^[0-9a-f]{16,}$/);
    utimesSync(path, BEFORE, BEFORE);
    expect(planMappedFile(known, strict)).toEqual([]);
    expect(planMappedFile({ ...known, buildId: 'ab12' }, strict)).toMatchObject([{ code: 'changed-file' }]);
  });

  it('that has become shorter is refused whatever is accepted', () => {
    const path = newFile('content');
    const saved = collectMappedFile(path, path, false);
    writeFileSync(path, 'cont');
    expect(planMappedFile(saved, lenient)).toMatchObject([
      { code: 'changed-file', message: expect.stringContaining('shorter') },
    ]);
  });

  it('that is missing is refused whatever is accepted', () => {
    const path = newFile();
    const saved = collectMappedFile(path, path, false);
    rmSync(path);
    expect(planMappedFile(saved, lenient)).toMatchObject([{ code: 'missing-file', path: ['mapped file', path] }]);
  });
});
