/** Making cgroups and putting tasks into them: cgroup.procs, cgroup.threads and tasks of cgroups(7). */
import { closeSync, constants, mkdirSync, openSync, rmdirSync, writeSync } from 'node:fs';
import type { Pid, Tid } from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';
import { type CgroupHome, chainOf, readSetting } from './cgroup-folders.ts';
import { type CgroupPlan, isIn } from './cgroups.ts';

export class CgroupPlacement {
  readonly #plan: CgroupPlan;
  readonly #remarks = new Set<string>();

  constructor(plan: CgroupPlan) {
    this.#plan = plan;
  }

  /** Of groups that took a process no more when it was to be put there. */
  get remarks(): string[] {
    return [...this.#remarks];
  }

  /** What the plan says is missing; `onMade` with what takes it away again, the innermost last. */
  makeMissing(onMade: (undo: () => void) => void): void {
    for (const home of [...this.#plan.homes.values()].flat()) {
      if (home.missing === undefined) continue;
      for (const folder of chainOf(home.folder, home.mount.mountPoint).reverse()) makeGroup(folder, home, onMade);
    }
  }

  /** It has just been made, and is where its maker is. */
  placeProcess(pid: Pid): void {
    for (const home of this.#plan.homes.get(pid) ?? []) {
      if (!isIn(pid, home)) this.#put(pid, home, 'cgroup.procs');
    }
  }

  /** It is where its process is. */
  placeThread(tid: Tid): void {
    for (const home of this.#plan.homes.get(tid) ?? []) {
      if (!isIn(tid, home)) this.#put(tid, home, home.mount.version === 2 ? 'cgroup.threads' : 'tasks');
    }
  }

  #put(task: number, { folder, path, controllers }: CgroupHome, file: string): void {
    try {
      write(`${folder}/${file}`, String(task));
    } catch (cause) {
      const reason = reasonOf(cause);
      if (this.#plan.choice === 'create')
        throw new QuicksaveError('no-cgroup', `Task ${task} cannot be put into ${folder}: ${reason}.`, { cause });
      this.#remarks.add(
        `its cgroup${controllers === '' ? '' : ` (${controllers})`} was ${path}, which it cannot be put into: ${reason}`,
      );
    }
  }
}

function makeGroup(
  folder: string,
  { mount, folder: wanted, missing }: CgroupHome,
  onMade: (undo: () => void) => void,
): void {
  try {
    mkdirSync(folder);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return;
    throw new QuicksaveError('no-cgroup', `The cgroup ${folder} cannot be made: ${reasonOf(cause)}.`, { cause });
  }
  onMade(() => rmdirSync(folder));
  if (mount.version === 1) inheritCpus(folder);
  if (missing === 'threaded' && folder === wanted) write(`${folder}/cgroup.type`, 'threaded');
}

/** In version 1 a new group of cpuset has none, and takes no task then (cpusets.rst). */
function inheritCpus(folder: string): void {
  for (const name of ['cpuset.cpus', 'cpuset.mems']) {
    if (readSetting(folder, name) === '') write(`${folder}/${name}`, readSetting(`${folder}/..`, name) ?? '');
  }
}

function write(path: string, text: string): void {
  const fd = openSync(path, constants.O_WRONLY);
  try {
    writeSync(fd, text);
  } finally {
    closeSync(fd);
  }
}

/** What the kernel says with it, of these files. */
const REASONS: Readonly<Record<string, string>> = {
  EACCES: 'you may not do that',
  EPERM: 'you may not do that',
  EROFS: 'it is mounted read-only',
  EAGAIN: 'cgroup.max.depth or cgroup.max.descendants of a group above it forbids more',
  EBUSY: 'its controllers are given to groups below it',
  EINVAL: 'it does not take real-time tasks, or not without its own share of a resource',
  ENODEV: 'it has been removed',
  ENOENT: 'it has been removed',
  ENOSPC: 'it has no CPUs or memory nodes',
  EOPNOTSUPP: 'its type does not allow it (cgroup.type)',
};

function reasonOf(cause: unknown): string {
  const { code = 'unknown error' } = cause as NodeJS.ErrnoException;
  const reason = REASONS[code];
  return reason === undefined ? code : `${reason} (${code})`;
}
