/**
 * The clocks that a restarted tree has: the host's, or, in a time namespace (time_namespaces(7)), clocks that go on from where they stood at the save.
 * After a reboot or on another host CLOCK_MONOTONIC stands elsewhere, and a program that waits for a point of it would wait for days, or not at all.
 */
import { existsSync } from 'node:fs';
import type { ClocksRecord } from '../image/tree.ts';
import { CLOCK } from '../kernel/abi/itimer.ts';
import { timeOf } from '../kernel/calls/timers.ts';
import { readBootId } from '../procfs/boot-id.ts';
import type { ProcessStatus } from '../procfs/status.ts';
import type { ClockPair } from '../procfs/time-offsets.ts';
import { durationText } from '../support/duration.ts';
import type { Problem } from '../support/errors.ts';

export type ClockChoice = 'host' | 'continue';

export interface PlannedClocks {
  /** Where they shall stand when the root is made. Undefined: where the host's stand. */
  readonly continued: ClockPair | undefined;
  readonly problems: readonly Problem[];
  readonly remarks: readonly string[];
}

/** linux/capability.h */
const NEEDED_CAPABILITIES = [
  ['CAP_SYS_ADMIN', 21n],
  ['CAP_SYS_TIME', 25n],
] as const;

/**
 * `choice` undefined: what the program had, a time namespace or the clocks of its boot of the host. On another boot these are no more: then they
 * go on where they stood, if that may be done. `clocks` undefined: images from before them do not say it.
 */
export function planClocks(
  choice: ClockChoice | undefined,
  clocks: ClocksRecord | undefined,
  status: ProcessStatus,
  bootId = readBootId(),
): PlannedClocks {
  if (clocks === undefined) {
    return { continued: undefined, problems: choice === 'continue' ? [unknownClocks] : [], remarks: [] };
  }
  const problems = namespaceProblems(status);
  const isOtherBoot = bootId !== '' && clocks.bootId !== '' && bootId !== clocks.bootId;
  if (choice === 'continue' || (choice === undefined && clocks.apart)) {
    return { continued: clocks, problems, remarks: [] };
  }
  if (choice === undefined && isOtherBoot && problems.length === 0) {
    const remark =
      'CLOCK_MONOTONIC and CLOCK_BOOTTIME go on where they stood, in a time namespace: this is another boot';
    return { continued: clocks, problems, remarks: [remark] };
  }
  return { continued: undefined, problems: [], remarks: remarksOn(clocks, isOtherBoot) };
}

const unknownClocks: Problem = {
  code: 'no-clocks',
  path: ['host'],
  message: 'The image does not say where its clocks stood.',
  remedy: 'Restart it without --clock continue.',
};

function namespaceProblems({ capEffective }: ProcessStatus): Problem[] {
  if (!existsSync('/proc/self/ns/time')) {
    return [
      {
        code: 'no-time-namespace',
        path: ['host'],
        message: 'Clocks that go on need a time namespace, and this kernel has none.',
        remedy:
          'Restart it on a kernel with CONFIG_TIME_NS, or give --clock host: its clocks become those of this host.',
      },
    ];
  }
  const lacking = NEEDED_CAPABILITIES.flatMap(([name, bit]) => (((capEffective >> bit) & 1n) === 1n ? [] : [name]));
  if (lacking.length === 0) return [];
  return [
    {
      code: 'no-time-namespace',
      path: ['host'],
      message: `Clocks that go on need a time namespace, and you have not ${lacking.join(' and ')}.`,
      remedy: 'Run the restart as root, or give --clock host: its clocks become those of this host.',
    },
  ];
}

function remarksOn({ apart, monotonicNs }: ClocksRecord, isOtherBoot: boolean): string[] {
  const aheadMs = Number(timeOf(CLOCK.CLOCK_MONOTONIC) - monotonicNs) / 1e6;
  const away = `${durationText(Math.abs(aheadMs))} ${aheadMs < 0 ? 'behind' : 'ahead of'} where it stood`;
  const effect = `what waits for a point of it waits ${aheadMs < 0 ? 'longer' : 'less'}`;
  return [
    ...(apart ? ['its clocks were those of a time namespace, and are those of this host now'] : []),
    ...(aheadMs < 0 || isOtherBoot ? [`CLOCK_MONOTONIC stands ${away}: ${effect} (--clock continue)`] : []),
  ];
}
