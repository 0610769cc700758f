/** Calls in a task that has no agent of its own: a thread, or the leader of a process whose memory, and so whose agent, is that of another one. */
import { resolvedHere } from '../arch/x86/interrupted-call.ts';
import type { Agent } from '../tracee/agent.ts';
import type { BatchRunner } from '../tracee/call-batch.ts';
import { SingleCalls } from '../tracee/single-calls.ts';
import type { WayHome } from '../tracee/state-block.ts';
import type { StoppedTask } from '../tracee/stopped-task.ts';
import { siteForThread, type VdsoSite } from '../tracee/vdso-site.ts';

export interface Asked {
  /** In its memory. */
  readonly agent: Agent;
  readonly site: VdsoSite;
}

/** Where it is, in which it makes calls and stands still in between. */
export interface Asking {
  readonly runner: BatchRunner;
  readonly standStill: () => void;
}

/** Of a task that stands still where the program has brought it. */
export const homeOf = (task: StoppedTask): WayHome => ({
  registers: resolvedHere(task.registers, task.callAbi),
  signalMask: task.signalMask,
});

/** One task of a memory after the other: they have one place for it. It is at home again afterwards. */
export function inTask<T>(task: StoppedTask, { agent, site }: Asked, ask: (runner: BatchRunner) => T): T {
  const ownSite = siteForThread(task.tid, site, homeOf(task));
  task.leaveHome(ownSite);
  const answer = ask(new SingleCalls(agent, task, ownSite));
  task.returnHome();
  return answer;
}

/** The leader of a process. */
export function inLeader<T>(
  leader: StoppedTask,
  { isGuest, ...asked }: Asked & { readonly isGuest: boolean },
  ask: (asking: Asking) => T,
): T {
  const { agent } = asked;
  if (!isGuest) return ask({ runner: agent, standStill: () => agent.pause() });
  // Its calls leave it standing still.
  return inTask(leader, asked, (runner) => ask({ runner, standStill: () => undefined }));
}
