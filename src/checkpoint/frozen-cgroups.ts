/**
 * Processes in a cgroup that is frozen: the freezer of version 2 (cgroup-v2.rst, cgroup.freeze, Linux 5.2) lets ptrace(2) stop them, but nothing of
 * ours run in them, so that a save would wait without end; that of version 1 does not let them be stopped. They are refused, and nobody's
 * freezing is undone.
 */
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { cgroupLines, parseCgroup } from '../procfs/cgroup.ts';
import { type CgroupMount, findCgroupMount, folderOf } from '../procfs/cgroup-mounts.ts';
import { readMountinfo } from '../procfs/mountinfo.ts';
import { readProcText, unlessMissing } from '../procfs/proc-file.ts';
import { asPid, type Pid, type Tid } from '../support/brand.ts';
import type { Problem } from '../support/errors.ts';
import { refuseLack } from '../support/lacking.ts';

/** How a hierarchy freezes: the file of a group that says that it was asked to, what it says then, and what thaws it. */
interface Freezer {
  readonly file: string;
  readonly frozen: string;
  readonly thaw: (folder: string) => string;
}

const V2: Freezer = { file: 'cgroup.freeze', frozen: '1', thaw: (folder) => `echo 0 > ${folder}/cgroup.freeze` };
const V1: Freezer = {
  file: 'freezer.self_freezing',
  frozen: '1',
  thaw: (folder) => `echo THAWED > ${folder}/freezer.state`,
};

/** Of each of these threads; one problem for a process. `leader`: by which /proc shows it. */
export function frozenCgroupObstacles(pid: Pid, tids: readonly Tid[]): Problem[] {
  for (const tid of tids) {
    const text = unlessMissing(() => readProcText(pid, `task/${tid}/cgroup`)) ?? '';
    const found = freezerOf(text);
    if (found === undefined) continue;
    const { freezer, folder } = found;
    const path = [`pid ${pid}`, ...(tid === tids[0] ? [] : [`thread ${tid}`])];
    return [
      {
        code: 'frozen-cgroup',
        path,
        message: `It is in a cgroup that is frozen (${folder}): nothing can be done in it, and a save would wait without end.`,
        remedy: `Thaw it: ${freezer.thaw(folder)}`,
      },
    ];
  }
  return [];
}

/** By the text of /proc/PID/cgroup: which folders it means does not change. */
const known = new Map<string, readonly { readonly freezer: Freezer; readonly folders: readonly string[] }[]>();

function freezerOf(text: string): { freezer: Freezer; folder: string } | undefined {
  let groups = known.get(text);
  if (groups === undefined) {
    groups = groupsIn(text);
    known.set(text, groups);
  }
  for (const { freezer, folders } of groups) {
    const folder = folders.find((one) => read(`${one}/${freezer.file}`) === freezer.frozen);
    if (folder !== undefined) return { freezer, folder };
  }
  return undefined;
}

function groupsIn(text: string): { freezer: Freezer; folders: string[] }[] {
  const mounts = readMountinfo(asPid(process.pid));
  return cgroupLines(text).flatMap((line) => {
    const { controllers, path } = parseCgroup(line);
    const isOld = controllers.split(',').includes('freezer');
    if (controllers !== '' && !isOld) return [];
    const mount = findCgroupMount(mounts, controllers);
    const folder = mount === undefined ? undefined : folderOf(mount, path);
    if (mount === undefined || folder === undefined) return [];
    return [{ freezer: isOld ? V1 : V2, folders: upwards(folder, mount) }];
  });
}

/** It and those above it, as far as they are seen here. */
function upwards(folder: string, mount: CgroupMount): string[] {
  const isTop = folder === mount.mountPoint || folder.length <= mount.mountPoint.length;
  return isTop ? [folder] : [folder, ...upwards(dirname(folder), mount)];
}

/** The first group of a hierarchy does not have the file. */
function read(path: string): string {
  try {
    return readFileSync(path, 'latin1').trim();
  } catch (error) {
    refuseLack(error, path);
    return '';
  }
}
