/** The agent in one frozen process: brought in through the vDSO, with every step undone by the stack of the save. */
import { resolvedHere } from '../arch/x86/interrupted-call.ts';
import { tryOpenPidfd } from '../kernel/calls/descriptors.ts';
import type { NativeMemory } from '../kernel/native-memory.ts';
import type { OwnedFd } from '../kernel/owned-fd.ts';
import { is32BitProgram } from '../procfs/exe.ts';
import { readMaps } from '../procfs/smaps.ts';
import { asPid, type Pid } from '../support/brand.ts';
import type { CleanupStack } from '../support/cleanup-stack.ts';
import { QuicksaveError } from '../support/errors.ts';
import { findHole, USER_SPACE_END_32 } from '../tracee/address-space.ts';
import { Agent, type AgentLayout, agentSize } from '../tracee/agent.ts';
import type { StoppedTask } from '../tracee/stopped-task.ts';
import { findVdsoSite, installSite, removeSite, type VdsoSite } from '../tracee/vdso-site.ts';
import type { FrozenProcess } from './freeze.ts';
import { needingRoom } from './no-room.ts';

export const AGENT_LAYOUT: AgentLayout = { maxCalls: 1024, maxDataBytes: 128 * 1024, blocks: 1 };

export interface Visited {
  readonly frozen: FrozenProcess;
  readonly agent: Agent;
  readonly site: VdsoSite;
  readonly pidfd: OwnedFd;
}

/** `mirror` may be the same for many agents: only one batch is collected at a time. */
export function visit(frozen: FrozenProcess, mirror: NativeMemory, undo: CleanupStack): Visited {
  const pidfd = tryOpenPidfd(speakerIn(frozen));
  if (pidfd === undefined) throw new QuicksaveError('no-such-process', `There is no process ${frozen.pid}.`);
  undo.push(() => pidfd.close());
  return needingRoom(frozen.pid, () => ({ frozen, pidfd, ...bringAgentIn(frozen, pidfd, mirror, undo) }));
}

/** Its leader, unless that has ended before the others. */
const speakerIn = ({ pid, tasks: [first] }: FrozenProcess): Pid => (first === undefined ? pid : asPid(first.tid));

/** The agent has the number of the thread that it is in, by which the kernel shows the memory. */
function bringAgentIn(
  frozen: FrozenProcess,
  pidfd: OwnedFd,
  mirror: NativeMemory,
  undo: CleanupStack,
): Pick<Visited, 'agent' | 'site'> {
  const [leader] = frozen.tasks;
  if (leader === undefined) throw new Error('a frozen process has threads');
  const pid = speakerIn(frozen);
  const maps = readMaps(pid);
  const vdso = maps.find((entry) => entry.special === '[vdso]');
  if (vdso === undefined) throw new QuicksaveError('no-vdso', `Process ${pid} has no vDSO.`);
  const site = findVdsoSite(pid, vdso);
  const home = { registers: resolvedHere(leader.registers, leader.callAbi), signalMask: leader.signalMask };
  const sizeBytes = agentSize(AGENT_LAYOUT);
  const hole = findHole(maps, sizeBytes, is32BitProgram(pid) ? USER_SPACE_END_32 : undefined);
  undo.push(() => removeSite(leader.tid, site));
  installSite(leader.tid, site, home, { start: hole, sizeBytes });
  undo.push(() => bringHome(leader));
  leader.leaveHome(site);
  const agent = Agent.bringIn({
    pid,
    pidfd: pidfd.number,
    task: leader,
    site,
    hole,
    layout: AGENT_LAYOUT,
    home,
    mirror,
    undo: (step) => undo.push(step),
  });
  return { agent, site };
}

/** The leader's own mask and registers. */
function bringHome(leader: StoppedTask): void {
  if (leader.isAway) leader.returnHome();
}
