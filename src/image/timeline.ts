/**
 * TIMELINE, an optional record behind the pages: when the steps of the save were over. It is for people; a restart does nothing with it.
 * What comes after the last page (TAIL, and that a file is on disk) no image can tell of itself.
 */
import * as v from 'valibot';
import { decodeCbor, encodeCbor } from './cbor.ts';
import { badRecord } from './image-errors.ts';
import { count, parseState } from './schema.ts';

/** Microseconds since the save began, by a clock that is never set (CLOCK_MONOTONIC). */
export interface Timeline {
  /** Its first process is being stopped. */
  readonly stoppingUs: number;
  /** Nothing in the tree moves any more. */
  readonly stoppedUs: number;
  /** All but the pages is known. */
  readonly collectedUs: number;
  /** What the programs write from now on does not change the image. */
  readonly securedUs: number;
  /** The last process of the tree goes on. Missing: they were to end. */
  readonly resumedUs?: number | undefined;
  /** The last page is in the image. */
  readonly writtenUs: number;
}

const schema: v.GenericSchema<unknown, Timeline> = v.strictObject({
  stoppingUs: count,
  stoppedUs: count,
  collectedUs: count,
  securedUs: count,
  resumedUs: v.optional(count),
  writtenUs: count,
});

export const encodeTimeline = (timeline: Timeline): Uint8Array => encodeCbor(timeline);

/** Throws ImageError for what is no timeline, or one that goes backwards. `where` names the record, as `recordLabel` does. */
export function decodeTimeline(payload: Uint8Array, where: string): Timeline {
  const timeline = parseState(schema, decodeCbor(payload, where), where);
  const { stoppingUs, stoppedUs, collectedUs, securedUs, resumedUs = securedUs, writtenUs } = timeline;
  const moments = [stoppingUs, stoppedUs, collectedUs, securedUs, writtenUs];
  // Whether the programs go on before the last page is written, or wait for it, is the writer's choice.
  const ascends = moments.every((moment, index) => moment >= (moments[index - 1] ?? 0)) && resumedUs >= securedUs;
  if (!ascends) throw badRecord(where, 'its times do not follow one another');
  return timeline;
}
