/**
 * Processes of a tree that share one memory (CLONE_VM without CLONE_THREAD): the first of them has the agent, and is the host of the others. They have
 * nothing of ours but, while they are asked, the place for threads in the foothold of the host (tracee/vdso-site.ts): a 32-bit vDSO has room for no more.
 */
import { KCMP } from '../kernel/abi/fs.ts';
import { tryOrderTasks } from '../kernel/calls/descriptors.ts';
import type { Pid } from '../support/brand.ts';
import type { StoppedTask } from '../tracee/stopped-task.ts';
import { type AddressRange, hasSite } from '../tracee/vdso-site.ts';
import type { Part, TreeParts } from './parts.ts';

/** A process of the tree that has the agent. */
export interface Host {
  readonly leader: StoppedTask;
  readonly vdso: AddressRange;
}

/** A process that has the memory too. */
export interface Guest {
  readonly leader: StoppedTask;
  /** It has the descriptor table of the host too, in which the doorbell of the agent is. */
  readonly hasDoorbell: boolean;
}

/** Other leaders with the memory of this one, as a look at the running program has seen it: of one that has ended it cannot be asked any more. */
export function guestsOf(
  leader: StoppedTask,
  leaders: readonly (StoppedTask | undefined)[],
  parts: TreeParts | undefined,
): Guest[] {
  if (parts === undefined || parts.leadersAreAlone) return [];
  const isSame = (part: Part, other: StoppedTask): boolean =>
    parts.ownerOf(part, other.tid) === parts.ownerOf(part, leader.tid);
  return leaders
    .filter((other) => other !== undefined)
    .filter((other) => other !== leader && isSame('memory', other))
    .map((other) => ({ leader: other, hasDoorbell: isSame('files', other) }));
}

export class Hosts<Known extends Host> {
  readonly #known: Known[] = [];

  add(host: Known): void {
    this.#known.push(host);
  }

  /** Whose memory it has. Only where code of ours is there is it worth asking: then it is of this save, or was left by one that was killed. */
  of(pid: Pid, leader: StoppedTask, vdso: AddressRange): Known | undefined {
    if (this.#known.length === 0 || !hasSite(pid, vdso)) return undefined;
    const alike = this.#known.filter((one) => one.vdso.start === vdso.start);
    return alike.find((one) => tryOrderTasks(one.leader.tid, leader.tid, KCMP.KCMP_VM) === 'same');
  }
}
