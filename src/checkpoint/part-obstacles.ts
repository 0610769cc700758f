/** What tasks of a tree share, or do not share, in a way that cannot be saved yet: parts.ts. */
import { hasThreadPidfd } from '../kernel/calls/descriptors.ts';
import type { ProcessView } from '../resources/resource.ts';
import { asTid, type Pid, type Tid } from '../support/brand.ts';
import type { Problem } from '../support/errors.ts';
import { CALLED, type Part, type TreeParts } from './parts.ts';
import { vforkProblem, vforkWaits } from './vfork.ts';

export function partObstacles(
  tree: readonly Pick<ProcessView, 'pid' | 'speaker' | 'tids' | 'stat'>[],
  parts: TreeParts,
): Problem[] {
  const processOf = new Map<Tid, Pid>(tree.flatMap(({ pid, tids }) => tids.map((tid) => [tid, pid] as const)));
  return tree.flatMap(({ pid, speaker, tids, stat }) => [
    ...heldUp(pid, speaker, stat.ppid, parts),
    ...tids.filter((tid) => tid !== asTid(speaker)).flatMap((tid) => ofThread({ pid, speaker }, tid, parts, processOf)),
  ]);
}

/** Memory that it has while its parent waits in vfork(2) until it has it no more. */
function heldUp(pid: Pid, speaker: Pid, parent: Pid, parts: TreeParts): Problem[] {
  if (parts.ownerOf('memory', asTid(speaker)) === asTid(speaker)) return [];
  const wait = vforkWaits(parent).find(({ child }) => child === pid);
  return wait === undefined ? [] : [vforkProblem(wait)];
}

function ofThread(
  { pid, speaker }: Pick<ProcessView, 'pid' | 'speaker'>,
  tid: Tid,
  parts: TreeParts,
  processOf: ReadonlyMap<Tid, Pid>,
): Problem[] {
  const found = (['files', 'fileSystem'] as const).flatMap((part) => {
    const owner = parts.ownerOf(part, tid);
    const isLeaders = owner === parts.ownerOf(part, asTid(speaker));
    return isLeaders || processOf.get(owner) === pid ? [] : [withOtherProcess(part, pid, tid, processOf.get(owner))];
  });
  const hasTable = parts.ownerOf('files', tid) === tid;
  return hasTable && !hasThreadPidfd(tid) ? [...found, noThreadPidfd(pid, tid)] : found;
}

const withOtherProcess = (part: Part, pid: Pid, tid: Tid, other: Pid | undefined): Problem => ({
  code: 'odd-thread',
  path: [`pid ${pid}`, `thread ${tid}`],
  message: `This thread shares its ${CALLED[part].what} with process ${other ?? '?'} and not with its own, which cannot be saved yet.`,
  remedy: 'Save it when that process has ended or executed another program.',
});

const noThreadPidfd = (pid: Pid, tid: Tid): Problem => ({
  code: 'odd-thread',
  path: [`pid ${pid}`, `thread ${tid}`],
  message: 'This thread has a descriptor table of its own, which can be saved from Linux 6.9 on (PIDFD_THREAD).',
});
