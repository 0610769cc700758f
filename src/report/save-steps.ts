/** The steps of a save as a person tells them, out of the TIMELINE of its image. */
import type { Timeline } from '../image/timeline.ts';

export interface SaveStep {
  readonly name: string;
  /** Since the save began, in microseconds; end exclusive. */
  readonly startUs: number;
  readonly endUs: number;
}

/** What quicksave did, one step after the other. */
export function saveSteps({ stoppingUs, stoppedUs, collectedUs, securedUs, writtenUs }: Timeline): SaveStep[] {
  return [
    { name: 'look ahead', startUs: 0, endUs: stoppingUs },
    { name: 'freeze', startUs: stoppingUs, endUs: stoppedUs },
    { name: 'collect', startUs: stoppedUs, endUs: collectedUs },
    { name: 'secure pages', startUs: collectedUs, endUs: securedUs },
    { name: 'copy', startUs: securedUs, endUs: writtenUs },
  ];
}

/** How long the programs stood still; undefined if they did not go on. */
export function pauseOf({ stoppingUs, resumedUs }: Timeline): SaveStep | undefined {
  return resumedUs === undefined ? undefined : { name: 'pause', startUs: stoppingUs, endUs: resumedUs };
}
