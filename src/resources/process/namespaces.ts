/**
 * Namespaces: namespaces(7). A process in other namespaces than ours is refused for now: its paths, pids and addresses
 * would mean something else here. Time namespaces are another matter: checkpoint/clocks.ts. The image keeps nothing; the restarted process is in the namespaces of the restart.
 */
import { readlinkSync } from 'node:fs';
import * as v from 'valibot';
import { readStatus } from '../../procfs/status.ts';
import type { Pid } from '../../support/brand.ts';
import type { Problem } from '../../support/errors.ts';
import type { ProcessAspect, ProcessView } from '../resource.ts';

/** By the names of their links in /proc/PID/ns, the options of nsenter(1). */
const kinds = new Map([
  ['cgroup', '--cgroup'],
  ['ipc', '--ipc'],
  ['mnt', '--mount'],
  ['net', '--net'],
  ['pid', '--pid'],
  ['pid_for_children', '--pid'],
  ['user', '--user'],
  ['uts', '--uts'],
]);
const schema = v.strictObject({});

export const namespaces: ProcessAspect<Record<string, never>> = {
  name: 'namespaces',
  schema: schema as never,
  stage: 'early',
  obstacles: ({ pid, speaker }: ProcessView) => refuseOthers(pid, speaker),
  collect: () => () => ({}),
  restore: () => {
    // The obstacles make sure that there is nothing to restore.
  },
};

function refuseOthers(pid: Pid, speaker: Pid): Problem[] {
  const others = [...kinds].filter(([kind]) => differs(speaker, kind));
  const options = [...new Set(others.map(([, option]) => option))].join(' ');
  return others.map(([kind]) => ({
    code: 'other-namespace',
    path: [`pid ${pid}`, `${kind} namespace`],
    message: `It is in another ${kind} namespace than this command.`,
    remedy: `Run quicksave inside its namespaces${pidThere(pid)}: nsenter ${options} --preserve-credentials --target ${pid}`,
  }));
}

function differs(speaker: Pid, kind: string): boolean {
  const theirs = link(`/proc/${speaker}/ns/${kind}`);
  return theirs !== undefined && theirs !== ownLink(kind);
}

/** We never leave them while we save. */
const ownLinks = new Map<string, string | undefined>();

function ownLink(kind: string): string | undefined {
  if (!ownLinks.has(kind)) ownLinks.set(kind, link(`/proc/self/ns/${kind}`));
  return ownLinks.get(kind);
}

/** A clause, if it has another number there. */
function pidThere(pid: Pid): string {
  const inside = readStatus(pid).nsPid?.at(-1);
  return inside === undefined || inside === pid ? '' : `, where its pid is ${inside}`;
}

function link(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
