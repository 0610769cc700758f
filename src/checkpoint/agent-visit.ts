/** The agent in one frozen process: brought in through the vDSO, with every step undone by the stack of the save. */
import { SYS } from '../kernel/abi/syscall.ts';
import { tryOpenPidfd, waitReadable } from '../kernel/calls/descriptors.ts';
import type { NativeMemory } from '../kernel/native-memory.ts';
import type { OwnedFd } from '../kernel/owned-fd.ts';
import { is32BitProgram } from '../procfs/exe.ts';
import { unlessMissing } from '../procfs/proc-file.ts';
import { type MapsEntry, readMaps } from '../procfs/smaps.ts';
import { asPid, type Pid } from '../support/brand.ts';
import type { CleanupStack } from '../support/cleanup-stack.ts';
import { QuicksaveError } from '../support/errors.ts';
import { findHole, USER_SPACE_END_32 } from '../tracee/address-space.ts';
import { Agent, type AgentLayout, agentSize } from '../tracee/agent.ts';
import type { Unmapping } from '../tracee/state-block.ts';
import type { StoppedTask } from '../tracee/stopped-task.ts';
import { findVdsoSite, hasSite, installSite, removeSite, siteForThread, type VdsoSite } from '../tracee/vdso-site.ts';
import { homeOf } from './asking.ts';
import type { FrozenProcess } from './freeze.ts';
import type { Guest, Host, Hosts } from './memory-hosts.ts';
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
  /** Asked only when all is over. */
  readonly guestsOf: (leader: StoppedTask) => readonly Guest[];
}

export interface VisitedHost extends Host, Pick<Visited, 'agent' | 'site'> {}

export const hasEnded = ({ pidfd }: Pick<Visited, 'pidfd'>): boolean => waitReadable(pidfd.number, 0);

export const endedMeanwhile = (pid: Pid): QuicksaveError =>
  new QuicksaveError('target-ended', `Process ${pid} ended while it was being saved.`);

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
    if (vdso === undefined && hasEnded({ pidfd })) throw endedMeanwhile(frozen.pid);
    if (vdso === undefined) throw new QuicksaveError('no-vdso', `Process ${pid} has no vDSO.`);
    const host = hosts.of(pid, leader, vdso);
    if (host !== undefined) {
      return { frozen, pidfd, agent: host.agent, site: host.site, isGuest: true };
    }
    const { agent, site } = bringAgentIn({ pid, leader, pidfd, maps, vdso }, visiting);
    hosts.add({ leader, vdso, agent, site });
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
  { pid, leader, pidfd, maps, vdso }: Arrival,
  { mirror, undo, guestsOf }: Visiting,
): Pick<Visited, 'agent' | 'site'> {
  const site = findVdsoSite(pid, vdso);
  const home = homeOf(leader);
  const sizeBytes = agentSize(AGENT_LAYOUT);
  const hole = findHole(maps, sizeBytes, is32BitProgram(pid) ? USER_SPACE_END_32 : undefined);
  let coming: Agent | undefined;
  undo.push(() => takeOutOfGuests(guestsOf(leader), site, { start: hole, sizeBytes }, coming));
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
    coming: (one) => {
      coming = one;
    },
  });
  return { agent, site };
}

/** The leader's own mask and registers. */
function bringHome(leader: StoppedTask): void {
  if (leader.isAway) leader.returnHome();
}

/**
 * Somebody has ended the process with the agent meanwhile, and others have its memory: one that lives takes out what is left in it. The foothold may have gone before, with
 * another agent that has come since because the first could not be told to be of the same memory any more.
 */
function takeOutOfGuests(guests: readonly Guest[], site: VdsoSite, memory: Unmapping, agent: Agent | undefined): void {
  const one = guests.find(({ leader }) => vdsoStart(leader) === site.vdso.start);
  if (one === undefined) return;
  const { leader } = one;
  const pid = asPid(leader.tid);
  const isThere = hasSite(pid, site.vdso);
  if (!readMaps(pid).some(({ start, end }) => start < memory.start + memory.sizeBytes && end > memory.start)) {
    if (isThere) removeSite(leader.tid, site);
    return;
  }
  if (!isThere) installSite(leader.tid, site, homeOf(leader), memory);
  const sharer = guests.find((guest) => guest.hasDoorbell && vdsoStart(guest.leader) === site.vdso.start);
  const doorbell = agent?.descriptorsLeft(pid) ?? [];
  if (sharer !== undefined && doorbell.length > 0) {
    callIn(sharer.leader, site, (call) => {
      for (const fd of doorbell) call(SYS.close, fd);
    });
  }
  callIn(leader, site, (call) => call(SYS.munmap, memory.start, memory.sizeBytes));
  removeSite(leader.tid, site);
}

/** Undefined of one that has ended. */
const vdsoStart = ({ tid }: StoppedTask): number | undefined =>
  unlessMissing(() => readMaps(asPid(tid)))?.find(({ special }) => special === '[vdso]')?.start;

/** A few calls without an agent; the task is at home again afterwards. */
function callIn(
  task: StoppedTask,
  site: VdsoSite,
  ask: (call: (number: number, ...args: number[]) => void) => void,
): void {
  const ownSite = siteForThread(task.tid, site, homeOf(task));
  task.leaveHome(ownSite);
  ask((number, ...args) => task.tryCall(ownSite, number, ...args));
  task.standStill(false);
  task.returnHome();
}
