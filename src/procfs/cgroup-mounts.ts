/** Where a hierarchy of cgroups is mounted, and which folder a path of /proc/PID/cgroup is: cgroups(7). Only questions are asked here. */
import type { Mount } from './mountinfo.ts';
import { isLossyText } from './proc-file.ts';

/** A hierarchy that is mounted here. */
export interface CgroupMount {
  readonly version: 1 | 2;
  readonly mountPoint: string;
  /** The path that {@link mountPoint} shows. */
  readonly root: string;
}

/** Undefined if this command sees none with these controllers. Of several mounts that which shows most. */
export function findCgroupMount(mounts: readonly Mount[], controllers: string): CgroupMount | undefined {
  const version = controllers === '' ? 2 : 1;
  const type = version === 2 ? 'cgroup2' : 'cgroup';
  const wanted = version === 2 ? [] : controllers.split(',');
  const [mount] = mounts
    .filter(
      ({ fileSystemType, superOptions }) =>
        fileSystemType === type && wanted.every((name) => superOptions.includes(name)),
    )
    .sort((a, b) => a.root.length - b.root.length);
  return mount && { version, mountPoint: mount.mountPoint, root: mount.root };
}

/** Undefined where the mount does not show it, and for what is no path of a cgroup: the image is not trusted to name other files. */
export function folderOf({ mountPoint, root }: CgroupMount, path: string): string | undefined {
  if (!isPlainPath(path)) return undefined;
  const isShown = root === '/' || path === root || path.startsWith(`${root}/`);
  if (!isShown) return undefined;
  const below = root === '/' ? path : path.slice(root.length);
  return below === '/' ? mountPoint : `${mountPoint}${below}`;
}

/** `/`, or names behind slashes, none of which leads upwards. */
const isPlainPath = (path: string): boolean =>
  path === '/' ||
  (path.startsWith('/') &&
    !path.includes('\0') &&
    !isLossyText(path) &&
    path
      .slice(1)
      .split('/')
      .every((name) => !['', '.', '..'].includes(name)));
