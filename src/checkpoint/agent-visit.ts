/** The agent in one frozen process: brought in through the vDSO, with every step undone by the stack of the save. */
import { resolvedHere } from '../arch/x86/interrupted-call.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import { tryOpenPidfd } from '../kernel/calls/descriptors.ts';
import { check } from '../kernel/errors.ts';
import type { NativeMemory } from '../kernel/native-memory.ts';
import type { OwnedFd } from '../kernel/owned-fd.ts';
import { is32BitProgram } from '../procfs/exe.ts';
import { type MapsEntry, readMaps } from '../procfs/smaps.ts';
import { asPid, type Pid } from '../support/brand.ts';
import type { CleanupStack } from '../support/cleanup-stack.ts';
import { QuicksaveError } from '../support/errors.ts';
import { findHole, USER_SPACE_END_32 } from '../tracee/address-space.ts';
import { Agent, type AgentLayout, agentSize } from '../tracee/agent.ts';
import type { Unmapping } from '../tracee/state-block.ts';
import type { StoppedTask } from '../tracee/stopped-task.ts';
import { findVdsoSite, hasSite, installSite, removeSite, siteForThread, type VdsoSite } from '../tracee/vdso-site.ts';
import type { FrozenProcess } from './freeze.ts';
import type { Host, Hosts } from './memory-hosts.ts';
import { needingRoom } from './no-room.ts';

export const AGENT_LAYOUT: AgentLayout = { maxCalls: 1024, maxDataBytes: 128 * 1024, blocks: 1 };

export interface Visited {
  readonly frozen: FrozenProcess;
  /** In its memory. */
  readonly agent: Agent;
  readonly site: VdsoSite;
  /** The agent is that of a process before, which has the same memory. */
  readonly isGuest: boolean;
  readonly pidfd: OwnedFd;
}

export interface Visiting {
  /** May be the same for many agents: only one batch is collected at a time. */
  readonly mirror: NativeMemory;
  /** Of all processes that are visited. */
  readonly hosts: Hosts<VisitedHost>;
  readonly undo: CleanupStack;
}

export interface VisitedHost extends Host, Pick<Visited, 'agent' | 'site'> {}

export function visit(frozen: FrozenProcess, visiting: Visiting): Visited {
  const { hosts, undo } = visiting;
  const pid = speakerIn(frozen);
  const pidfd = tryOpenPidfd(pid);
  if (pidfd === undefined) throw new QuicksaveError('no-such-process', `There is no process ${frozen.pid}.`);
  undo.push(() => pidfd.close());
  const [leader] = frozen.tasks;
  if (leader === undefined) throw new Error('a frozen process has threads');
  return needingRoom(frozen.pid, () => {
    const maps = readMaps(pid);
    const vdso = maps.find((entry) => entry.special === '[vdso]');
    if (vdso === undefined) throw new QuicksaveError('no-vdso', `Process ${pid} has no vDSO.`);
    const host = hosts.of(pid, leader, vdso);
    if (host !== undefined) {
      host.guests.push(leader);
      return { frozen, pidfd, agent: host.agent, site: host.site, isGuest: true };
    }
    const guests: StoppedTask[] = [];
    const { agent, site } = bringAgentIn({ pid, leader, pidfd, maps, vdso, guests }, visiting);
    hosts.add({ leader, vdso, guests, agent, site });
    return { frozen, pidfd, agent, site, isGuest: false };
  });
}

/** Its leader, unless that has ended before the others. */
const speakerIn = ({ pid, tasks: [first] }: FrozenProcess): Pid => (first === undefined ? pid : asPid(first.tid));

interface Arrival extends Host {
  readonly pid: Pid;
  readonly pidfd: OwnedFd;
  readonly maps: readonly MapsEntry[];
}

/** The agent has the number of the thread that it is in, by which the kernel shows the memory. */
function bringAgentIn(
  { pid, leader, pidfd, maps, vdso, guests }: Arrival,
  { mirror, undo }: Visiting,
): Pick<Visited, 'agent' | 'site'> {
  const site = findVdsoSite(pid, vdso);
  const home = { registers: resolvedHere(leader.registers, leader.callAbi), signalMask: leader.signalMask };
  const sizeBytes = agentSize(AGENT_LAYOUT);
  const hole = findHole(maps, sizeBytes, is32BitProgram(pid) ? USER_SPACE_END_32 : undefined);
  undo.push(() => takeOutOfGuests(guests, site, { start: hole, sizeBytes }));
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

/** Somebody has ended the process with the agent meanwhile, and others have its memory: one of them takes out what is left in it. */
function takeOutOfGuests(guests: readonly StoppedTask[], site: VdsoSite, agent: Unmapping): void {
  const [guest] = guests;
  if (guest === undefined || !hasSite(asPid(guest.tid), site.vdso)) return;
  const home = { registers: resolvedHere(guest.registers, guest.callAbi), signalMask: guest.signalMask };
  const ownSite = siteForThread(guest.tid, site, home);
  guest.leaveHome(ownSite);
  const unmapped = guest.tryCall(ownSite, SYS.munmap, agent.start, agent.sizeBytes);
  check('munmap', unmapped, { doing: 'take the agent out', pid: guest.tid });
  guest.standStill(false);
  guest.returnHome();
  removeSite(guest.tid, site);
}
