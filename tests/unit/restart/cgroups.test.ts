import { describe, expect, it } from 'vitest';
import { findCgroupMount, folderOf } from '../../../src/procfs/cgroup-mounts.ts';
import { parseMountinfo } from '../../../src/procfs/mountinfo.ts';
import type { CgroupHost } from '../../../src/restart/cgroups.ts';
import { planRestart } from '../../../src/restart/plan.ts';
import { RefusedError } from '../../../src/support/errors.ts';
import { errorOf } from '../image/streams.ts';
import { aspects, goodHost, modelWith, PID } from './models.ts';

const mounts = parseMountinfo(
  [
    '32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct',
    '40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd',
    '42 31 0:38 /box /inner rw - cgroup2 cgroup2 rw',
    '41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw',
    '',
  ].join('\n'),
);

describe('the folder of a cgroup', () => {
  const unified = { version: 2, mountPoint: '/c', root: '/' } as const;
  const inner = { version: 2, mountPoint: '/c', root: '/box' } as const;

  it('is below where its hierarchy is mounted', () => {
    expect(folderOf(unified, '/')).toBe('/c');
    expect(folderOf(unified, '/a/b c')).toBe('/c/a/b c');
    expect(folderOf(inner, '/box')).toBe('/c');
    expect(folderOf(inner, '/box/a')).toBe('/c/a');
  });

  it('is none where the mount does not show it', () => {
    expect(folderOf(inner, '/')).toBeUndefined();
    expect(folderOf(inner, '/boxes')).toBeUndefined();
  });

  it.each(['/../etc', '/a/../../etc', '/a/.', '//a', '/a/', '', 'a', '/a\0b', '/\uFFFD'])(
    'is none of the name %j',
    (path) => {
      expect(folderOf(unified, path)).toBeUndefined();
    },
  );

  it('is looked for in the mount that shows the whole hierarchy', () => {
    expect(findCgroupMount(mounts, '')).toEqual({ version: 2, mountPoint: '/sys/fs/cgroup/unified', root: '/' });
    expect(findCgroupMount(mounts, 'cpu,cpuacct')?.mountPoint).toBe('/sys/fs/cgroup/cpu');
    expect(findCgroupMount(mounts, 'name=systemd')?.mountPoint).toBe('/sys/fs/cgroup/systemd');
    expect(findCgroupMount(mounts, 'pids')).toBeUndefined();
  });
});

describe('the cgroups of an image', () => {
  const host = (choice: CgroupHost['choice']): typeof goodHost => ({
    ...goodHost,
    cgroups: { choice, mounts: [], own: new Map([['', '/here']]) },
  });
  const withCgroups = (cgroups: readonly string[], threads: readonly object[] = []) => {
    const surroundings = { cgroups, threads, label: '', loginUid: '', vsyscall: '' };
    return modelWith({ aspects: { ...aspects, surroundings } });
  };

  it('are not worth a word where they are those of this command', () => {
    const plan = planRestart(withCgroups([':/here', 'cpu:/']), host('join'));
    expect(plan.remarks.filter((remark) => remark.includes('cgroup'))).toEqual([]);
    expect(plan.cgroups.homes.size).toBe(0);
  });

  it('are told where they cannot be joined', () => {
    const { remarks } = planRestart(withCgroups([':/there', 'cpu:/x']), host('join'));
    expect(remarks).toContain('its cgroup was /there, is /here: no mount here shows it');
    expect(remarks).toContain('its cgroup (cpu) was /x, and this host has no such hierarchy');
  });

  it('are told where they are to be left alone', () => {
    expect(planRestart(withCgroups([':/there']), host('ignore')).remarks).toContain('its cgroup was /there, is /here');
  });

  it('stand in the way where all of them are asked for', () => {
    const error = errorOf(() => planRestart(withCgroups([':/there']), host('create')));
    expect(error).toBeInstanceOf(RefusedError);
    expect((error as RefusedError).problems).toMatchObject([
      {
        code: 'no-cgroup',
        path: [`pid ${PID}`],
        message: 'It cannot be put into its cgroup /there: no mount here shows it.',
      },
    ]);
  });

  it('are none of threads that are not there', () => {
    const model = withCgroups([':/here'], [{ tid: PID + 5, cgroups: [':/x'] }]);
    expect(errorOf(() => planRestart(model, host('join'))).message).toContain(`no thread ${PID + 5}`);
  });
});
