/**
 * Processes of a tree that share one memory (CLONE_VM without CLONE_THREAD): the first of them has the agent, and is the host of the others. They have
 * nothing of ours but, while they are asked, the place for threads in the foothold of the host (tracee/vdso-site.ts): a 32-bit vDSO has room for no more.
 */
import { KCMP } from '../kernel/abi/fs.ts';
import { tryOrderTasks } from '../kernel/calls/descriptors.ts';
import type { Pid } from '../support/brand.ts';
import type { StoppedTask } from '../tracee/stopped-task.ts';
import { type AddressRange, hasSite } from '../tracee/vdso-site.ts';

/** A process of the tree that has the agent. */
export interface Host {
  readonly leader: StoppedTask;
  readonly vdso: AddressRange;
  /** Leaders of the processes that have its memory too. */
  readonly guests: StoppedTask[];
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
