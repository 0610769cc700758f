/** When the steps of a save are over, for the TIMELINE of its image. */
import type { Timeline } from '../image/timeline.ts';

type Moment = keyof Timeline;

export class SaveClock {
  /** By performance.now(). */
  readonly #moments = new Map<Moment, number>();

  /** `now`: if it was looked at already. */
  note(moment: Moment, now = performance.now()): void {
    this.#moments.set(moment, now);
  }

  /** Of a save that began at `startedMs` and has written its pages. */
  timeline(startedMs: number): Timeline {
    const since = (moment: Moment): number => {
      const at = this.#moments.get(moment);
      if (at === undefined) throw new Error(`the save has not come to ${moment}`);
      return Math.round((at - startedMs) * 1000);
    };
    return {
      stoppingUs: since('stoppingUs'),
      stoppedUs: since('stoppedUs'),
      collectedUs: since('collectedUs'),
      securedUs: since('securedUs'),
      ...(this.#moments.has('resumedUs') ? { resumedUs: since('resumedUs') } : {}),
      writtenUs: since('writtenUs'),
    };
  }
}
