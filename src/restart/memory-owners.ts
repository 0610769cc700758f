/** Processes that share their memory (CLONE_VM of clone(2)): the first that is made has it from its birth as its own, the others are its guests. */
import type { Step } from '../image/hierarchy.ts';

interface Sharer {
  readonly pid: number;
  readonly memory: number;
}

/** By memory, the pid of its owner. `processes`: the root first. */
export function ownersOf(processes: readonly Sharer[], steps: readonly Step[]): ReadonlyMap<number, number> {
  const byPid = new Map(processes.map((one) => [one.pid, one]));
  const owners = new Map<number, number>();
  const made = steps.flatMap((step) => (step.what === 'make' || step.what === 'make-orphan' ? [step.pid] : []));
  const pids = processes.map(({ pid }) => pid);
  for (const pid of [...pids.slice(0, 1), ...made, ...pids]) {
    const memory = byPid.get(pid)?.memory;
    if (memory !== undefined && !owners.has(memory)) owners.set(memory, pid);
  }
  return owners;
}

/** The owners, in an order in which each comes behind the owner of the memory that its maker has. */
export function ownersInOrder<Process extends Sharer>(
  processes: readonly Process[],
  owners: ReadonlyMap<number, number>,
): readonly Process[] {
  if (owners.size === processes.length) return processes;
  const place = new Map([...owners.values()].map((pid, index) => [pid, index]));
  return processes
    .filter(({ pid }) => place.has(pid))
    .sort((a, b) => (place.get(a.pid) ?? 0) - (place.get(b.pid) ?? 0));
}
