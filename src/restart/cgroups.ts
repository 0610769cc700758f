/**
 * Cgroups: each process is put into those of its paths (cgroups(7)), as soon as it is made, because what it allocates later is charged to them and
 * stays so; each thread that had others, when the threads are made. It is done from here, with the rights of the caller.
 * Lost: the settings of a group that is not there, but for what is needed to be in it.
 */
import { existsSync } from 'node:fs';
import { cgroupLines, parseCgroup } from '../procfs/cgroup.ts';
import { type CgroupMount, findCgroupMount, folderOf } from '../procfs/cgroup-mounts.ts';
import { type Mount, readMountinfo } from '../procfs/mountinfo.ts';
import { readProcText } from '../procfs/proc-file.ts';
import type { ProcessAspect, ProcessCgroups } from '../resources/resource.ts';
import { asPid, type Pid } from '../support/brand.ts';
import { ImageError, type Problem } from '../support/errors.ts';
import { type CgroupHome, isCgroup, joiningObstacle, makingObstacle } from './cgroup-folders.ts';
import { type TaskCount, tooManyTasks } from './cgroup-room.ts';

/**
 * `join`: groups that are there and may be joined; of the others it is told. `create`: all, and those that are missing are made. `ignore`: those of
 * the restart command.
 */
export type CgroupChoice = 'join' | 'create' | 'ignore';

export interface CgroupPlan {
  readonly choice: CgroupChoice;
  /** By pid, and by tid of threads that had others than their process. Empty: nobody leaves those of the restart command. */
  readonly homes: ReadonlyMap<number, readonly CgroupHome[]>;
  readonly problems: readonly Problem[];
  readonly remarks: readonly string[];
}

/** What the plan knows of this host. */
export interface CgroupHost {
  readonly choice: CgroupChoice;
  readonly mounts: readonly Mount[];
  /** Paths of the restart command, by controllers. */
  readonly own: ReadonlyMap<string, string>;
}

export const lookAtCgroups = (pid: Pid, choice: CgroupChoice): CgroupHost => ({
  choice,
  mounts: readMountinfo(pid),
  own: pathsOf(pid),
});

/** Paths of a task, by controllers. Empty on a kernel without cgroups. */
export function pathsOf(pid: Pid): Map<string, string> {
  if (!existsSync(`/proc/${pid}/cgroup`)) return new Map();
  const memberships = cgroupLines(readProcText(pid, 'cgroup')).map(parseCgroup);
  return new Map(memberships.map(({ controllers, path }) => [controllers, path]));
}

/** What it needs of the plan of a process. */
export interface CgroupMember extends TaskCount {
  readonly aspects: readonly { readonly aspect: ProcessAspect<unknown>; readonly state: unknown }[];
}

interface Wanted extends ProcessCgroups {
  readonly plan: CgroupMember;
}

/** Throws ImageError for what no save makes. */
export function planCgroups(processes: readonly CgroupMember[], host: CgroupHost): CgroupPlan {
  const survey = new Survey(host);
  const homes = new Map<number, CgroupHome[]>();
  for (const one of processes.flatMap(wantedBy)) {
    homes.set(one.plan.pid, survey.homesOf(one.cgroups, [`pid ${one.plan.pid}`]));
    const tids = new Set<number>(one.plan.threads.map(({ tid }) => tid));
    for (const { tid, cgroups } of one.threads) {
      if (!tids.has(tid)) throw new ImageError('bad-record', `TASK_STATE record: surroundings name no thread ${tid}.`);
      homes.set(tid, survey.homesOf(cgroups, [`pid ${one.plan.pid}`, `thread ${tid}`], true));
    }
  }
  const leaves = [...homes.values()].flat().some(({ controllers, path }) => path !== host.own.get(controllers));
  return {
    choice: host.choice,
    homes: leaves ? homes : new Map(),
    problems: [...survey.problems, ...(leaves ? tooManyTasks(processes, homes) : [])],
    remarks: survey.remarks,
  };
}

function wantedBy(plan: CgroupMember): Wanted[] {
  const [found] = plan.aspects.flatMap(({ aspect, state }) => aspect.cgroupsOf?.(state) ?? []);
  return found === undefined ? [] : [{ plan, ...found }];
}

/** Finds where tasks go, and notes what is told, or stands in the way. */
class Survey {
  readonly problems: Problem[] = [];
  readonly #host: CgroupHost;
  readonly #remarks = new Set<string>();
  readonly #mounts = new Map<string, CgroupMount | undefined>();
  readonly #obstacles = new Map<string, string | undefined>();

  constructor(host: CgroupHost) {
    this.#host = host;
  }

  get remarks(): string[] {
    return [...this.#remarks];
  }

  /** In each hierarchy that both have: what it had, or, where that cannot be, what the restart command has. */
  homesOf(lines: readonly string[], where: readonly string[], ofThread = false): CgroupHome[] {
    return lines.map(parseCgroup).flatMap(({ controllers, path }) => {
      const { own, choice } = this.#host;
      const ownPath = own.get(controllers);
      const subject = `its cgroup${controllers === '' ? '' : ` (${controllers})`}`;
      if (ownPath === undefined) {
        if (path !== '/') this.#remarks.add(`${subject} was ${path}, and this host has no such hierarchy`);
        return [];
      }
      const mount = this.#mountOf(controllers);
      const ownHome = homeIn(mount, controllers, ownPath);
      if (path === ownPath) return ownHome ?? [];
      const home = choice === 'ignore' ? undefined : homeIn(mount, controllers, path);
      const obstacle = choice === 'ignore' ? '' : this.#obstacle(home, ownHome?.folder);
      if (home !== undefined && obstacle === undefined) {
        if (isCgroup(home.folder)) return home;
        this.#remarks.add(`${subject} ${path} was made; the settings of its controllers are not those that it had`);
        return { ...home, missing: ofThread && home.mount.version === 2 ? 'threaded' : 'domain' };
      }
      this.#note({ subject, path, ownPath, obstacle: obstacle ?? '', where });
      return ownHome ?? [];
    });
  }

  #note(about: { subject: string; path: string; ownPath: string; obstacle: string; where: readonly string[] }): void {
    const { subject, path, ownPath, obstacle, where } = about;
    if (this.#host.choice !== 'create') {
      this.#remarks.add(`${subject} was ${path}, is ${ownPath}${obstacle === '' ? '' : `: ${obstacle}`}`);
      return;
    }
    const message = `It cannot be put into ${subject} ${path}: ${obstacle}.`;
    this.problems.push({ code: 'no-cgroup', path: where, message });
  }

  #mountOf(controllers: string): CgroupMount | undefined {
    if (!this.#mounts.has(controllers)) {
      this.#mounts.set(controllers, findCgroupMount(this.#host.mounts, controllers));
    }
    return this.#mounts.get(controllers);
  }

  /** Many tasks have the same. */
  #obstacle(home: CgroupHome | undefined, own: string | undefined): string | undefined {
    if (home === undefined) return 'no mount here shows it';
    const { folder, mount } = home;
    if (!this.#obstacles.has(folder)) {
      const found = isCgroup(folder) ? joiningObstacle(mount, own, folder) : this.#makingObstacle(home, own);
      this.#obstacles.set(folder, found);
    }
    return this.#obstacles.get(folder);
  }

  #makingObstacle({ folder, mount }: CgroupHome, own: string | undefined): string | undefined {
    if (this.#host.choice === 'join') return 'there is no such group here (--cgroups makes it)';
    const above = nearestThere(folder);
    if (!isCgroup(above)) return 'no mount here shows it';
    return makingObstacle(mount, own, above);
  }
}

/** Undefined where it is not shown here. */
function homeIn(mount: CgroupMount | undefined, controllers: string, path: string): CgroupHome | undefined {
  const folder = mount && folderOf(mount, path);
  return mount === undefined || folder === undefined ? undefined : { controllers, path, folder, mount };
}

function nearestThere(folder: string): string {
  let one = folder;
  while (!existsSync(one)) one = one.slice(0, one.lastIndexOf('/')) || '/';
  return one;
}

/** Of a stopped task. */
export const isIn = (pid: number, { controllers, path }: CgroupHome): boolean =>
  pathsOf(asPid(pid)).get(controllers) === path;
