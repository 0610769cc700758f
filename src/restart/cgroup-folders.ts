/**
 * The folders of cgroups on this host: what is in them, and whether tasks may be put there. Sources: cgroups(7), and cgroup-v2.rst and
 * cgroup-v1/ of the kernel's admin-guide. Only questions are asked here.
 */
import { accessSync, constants, readFileSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { MAGIC } from '../kernel/abi/fs.ts';
import type { CgroupMount } from '../procfs/cgroup-mounts.ts';
import { refuseLack } from '../support/lacking.ts';

/** Where a task is put in one hierarchy. */
export interface CgroupHome {
  readonly controllers: string;
  readonly path: string;
  readonly folder: string;
  readonly mount: CgroupMount;
  /** It is to be made. `threaded`: for threads only, whose process is in another one (version 2). */
  readonly missing?: 'domain' | 'threaded';
}

/** Something else may be mounted over it. */
export function isCgroup(folder: string): boolean {
  try {
    const magic: readonly number[] = [MAGIC.CGROUP_SUPER_MAGIC, MAGIC.CGROUP2_SUPER_MAGIC];
    return magic.includes(statfsSync(folder).type);
  } catch {
    return false;
  }
}

/** Undefined where there is no such file. */
export function readSetting(folder: string, name: string): string | undefined {
  try {
    return readFileSync(`${folder}/${name}`, 'utf8').trim();
  } catch (error) {
    refuseLack(error, `${folder}/${name}`);
    return undefined;
  }
}

function mayWrite(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Why no task can be put from `own` into `folder`; undefined: nothing is known to be in the way. */
export function joiningObstacle(mount: CgroupMount, own: string | undefined, folder: string): string | undefined {
  const obstacle = movingObstacle(mount, own, folder, [`${folder}/cgroup.procs`]);
  if (obstacle !== undefined || mount.version === 1) return obstacle;
  const type = readSetting(folder, 'cgroup.type');
  if (type === 'domain invalid') return 'it cannot have processes (cgroup.type)';
  const given = readSetting(folder, 'cgroup.subtree_control') ?? '';
  // The root, which has no type, may have both.
  return type === 'domain' && given !== '' ? 'its controllers are given to groups below it' : undefined;
}

/** As {@link joiningObstacle}, of a group that is to be made in `above`. */
export const makingObstacle = (mount: CgroupMount, own: string | undefined, above: string): string | undefined =>
  movingObstacle(mount, own, above, [above]);

function movingObstacle(
  { version, mountPoint }: CgroupMount,
  own: string | undefined,
  folder: string,
  written: readonly string[],
): string | undefined {
  if (isFrozen(folder, mountPoint)) return 'it is frozen';
  // Of version 2 whoever moves a task must be one who may also write to the nearest group above both.
  const above = version === 2 && own !== undefined ? [`${commonFolder(own, folder, mountPoint)}/cgroup.procs`] : [];
  const refused = [...written, ...above].find((path) => !mayWrite(path));
  return refused === undefined ? undefined : `you may not write to ${refused}`;
}

/** Also by a group above it. In a frozen group a process does not get as far as being rebuilt. */
function isFrozen(folder: string, mountPoint: string): boolean {
  const state = readSetting(folder, 'freezer.state');
  if (state !== undefined) return state !== 'THAWED';
  return chainOf(folder, mountPoint).some((one) => readSetting(one, 'cgroup.freeze') === '1');
}

/** The folder and those above it, the mount point last. */
export function chainOf(folder: string, mountPoint: string): string[] {
  const chain = [folder];
  for (let one = folder; one.length > mountPoint.length; ) {
    one = dirname(one);
    chain.push(one);
  }
  return chain;
}

/** The lowest that both are in. */
const commonFolder = (one: string, other: string, mountPoint: string): string =>
  chainOf(one, mountPoint).find((folder) => other === folder || other.startsWith(`${folder}/`)) ?? mountPoint;
