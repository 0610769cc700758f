/**
 * Where the clocks of a tree stand. CLOCK_MONOTONIC and CLOCK_BOOTTIME are those of its time namespace (time_namespaces(7)), which may be another
 * than ours; all other clocks are the host's. A process whose children would be born in another one than its own is refused.
 */
import { readlinkSync } from 'node:fs';
import type { ClocksRecord } from '../image/tree.ts';
import { CLOCK } from '../kernel/abi/itimer.ts';
import { timeOf } from '../kernel/calls/timers.ts';
import { readBootId } from '../procfs/boot-id.ts';
import { readTimeOffsets } from '../procfs/time-offsets.ts';
import type { ProcessView } from '../resources/resource.ts';
import { asPid, type Pid } from '../support/brand.ts';
import type { Problem } from '../support/errors.ts';

/** The root first. */
export function clockObstacles(processes: readonly Pick<ProcessView, 'pid' | 'speaker'>[]): Problem[] {
  const [root] = processes;
  if (root === undefined) return [];
  const expected = namespaceOf(root.speaker, 'time');
  return processes.flatMap(({ pid, speaker }) => {
    const odd = (['time', 'time_for_children'] as const).find((kind) => namespaceOf(speaker, kind) !== expected);
    if (odd === undefined) return [];
    return [
      {
        code: 'other-namespace',
        path: [`pid ${pid}`, `${odd} namespace`],
        message: `It is in another ${odd} namespace than process ${root.pid}, the root of the tree.`,
        remedy: `Save the part of the tree that is in one time namespace: quicksave checkpoint ${pid}`,
      },
    ];
  });
}

/** As the program would read them now. `root`: a thread of it that lives. */
export function readClocks(root: Pid): ClocksRecord {
  const own = readTimeOffsets(asPid(process.pid));
  const theirs = readTimeOffsets(root);
  return {
    monotonicNs: timeOf(CLOCK.CLOCK_MONOTONIC) - own.monotonicNs + theirs.monotonicNs,
    boottimeNs: timeOf(CLOCK.CLOCK_BOOTTIME) - own.boottimeNs + theirs.boottimeNs,
    apart: namespaceOf(root, 'time') !== namespaceOf('self', 'time'),
    bootId: readBootId(),
  };
}

/** Undefined where the kernel has none, or the process has ended. */
function namespaceOf(pid: Pid | 'self', kind: 'time' | 'time_for_children'): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/${kind}`);
  } catch {
    return undefined;
  }
}
