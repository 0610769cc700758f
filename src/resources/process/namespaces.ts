/**
 * Namespaces: namespaces(7). A process in other namespaces than ours is refused for now: its paths, pids and addresses
 * would mean something else here. Time namespaces are another matter: checkpoint/clocks.ts. The image keeps nothing; the restarted process is in the namespaces of the restart.
 */
import { readlinkSync } from 'node:fs';
import * as v from 'valibot';
import type { Problem } from '../../support/errors.ts';
import type { ProcessAspect, ProcessView } from '../resource.ts';

const kinds = ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'pid_for_children', 'user', 'uts'];
const schema = v.strictObject({});

export const namespaces: ProcessAspect<Record<string, never>> = {
  name: 'namespaces',
  schema: schema as never,
  stage: 'early',
  obstacles: ({ pid, speaker }: ProcessView) => kinds.flatMap((kind) => differs(pid, speaker, kind)),
  collect: () => () => ({}),
  restore: () => {
    // The obstacles make sure that there is nothing to restore.
  },
};

function differs(pid: number, speaker: number, kind: string): Problem[] {
  const theirs = link(`/proc/${speaker}/ns/${kind}`);
  if (theirs === undefined || theirs === link(`/proc/self/ns/${kind}`)) return [];
  return [
    {
      code: 'other-namespace',
      path: [`pid ${pid}`, `${kind} namespace`],
      message: `It is in another ${kind} namespace than this command.`,
      remedy: `Run quicksave inside its namespaces: nsenter --all --target ${pid}`,
    },
  ];
}

function link(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
