/** Cgroups of a test's own, below that in which the test is, where a hierarchy is mounted and may be written to. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { afterEach } from 'vitest';
import { findCgroupMount, folderOf } from '../../src/procfs/cgroup-mounts.ts';
import { readMountinfo } from '../../src/procfs/mountinfo.ts';
import { pathsOf } from '../../src/restart/cgroups.ts';
import { asPid } from '../../src/support/brand.ts';
import { waitFor } from './harness.ts';

const made: string[] = [];
let count = 0;

/** The folder of a new group; undefined if there can be none here. */
export function newCgroup(controllers: string): string | undefined {
  const own = asPid(process.pid);
  const mount = findCgroupMount(readMountinfo(own), controllers);
  const path = pathsOf(own).get(controllers);
  const above = mount && path !== undefined ? folderOf(mount, path) : undefined;
  if (above === undefined) return undefined;
  try {
    return below(above, `quicksave-test-${process.ppid}-${process.pid}-${count++}`);
  } catch {
    return undefined;
  }
}

/** A group in one of the test's own. */
export function below(folder: string, name: string): string {
  const group = `${folder}/${name}`;
  mkdirSync(group);
  made.push(group);
  return group;
}

/** Made by somebody else, to be taken away with the others. */
export const expectCgroup = (folder: string): void => void made.push(folder);

export const put = (task: number, folder: string, file = 'cgroup.procs'): void =>
  writeFileSync(`${folder}/${file}`, String(task));

export const tasksIn = (folder: string, file = 'cgroup.procs'): number[] =>
  readFileSync(`${folder}/${file}`, 'latin1').split('\n').filter(Boolean).map(Number);

/** Takes it away when nobody is in it any more: the kernel lets a task leave only when it is reaped. */
export const removeCgroup = (folder: string): Promise<unknown> =>
  waitFor(`${folder} to be empty`, () => {
    if (!existsSync(folder)) return true;
    try {
      rmdirSync(folder);
      return true;
    } catch {
      return false;
    }
  });

afterEach(async () => {
  for (let folder = made.pop(); folder !== undefined; folder = made.pop()) await removeCgroup(folder);
});
