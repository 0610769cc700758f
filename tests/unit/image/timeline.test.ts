import { describe, expect, it } from 'vitest';
import { ImageReader } from '../../../src/image/reader.ts';
import { RECORD, RECORD_FLAG } from '../../../src/image/record-types.ts';
import type { Timeline } from '../../../src/image/timeline.ts';
import type { ImageWriter } from '../../../src/image/writer.ts';
import { errorOf, MemorySource, readAll, recordSpans, sampleImage, writeImage } from './streams.ts';

const times: Timeline = {
  stoppingUs: 60_000,
  stoppedUs: 60_400,
  collectedUs: 65_000,
  securedUs: 70_000,
  resumedUs: 71_000,
  writtenUs: 300_000,
};
const { resumedUs: _, ...ofKill } = times;

const imageWith = (write: (writer: ImageWriter) => void): Uint8Array =>
  writeImage((writer) => {
    write(writer);
    writer.end();
  });

function timelineIn(image: Uint8Array): Timeline | undefined {
  const reader = new ImageReader(new MemorySource(image));
  while (reader.next() !== undefined);
  return reader.timeline;
}

describe('the timeline of an image', () => {
  it('is read back, with and without the moment when the programs went on', () => {
    expect(timelineIn(imageWith((writer) => writer.timeline(times)))).toEqual(times);
    expect(timelineIn(imageWith((writer) => writer.timeline(ofKill)))).toEqual(ofKill);
  });

  it('may have programs that wait for the last page', () => {
    const waiting = { ...times, resumedUs: 300_100 };
    expect(timelineIn(imageWith((writer) => writer.timeline(waiting)))).toEqual(waiting);
  });

  it('is missing in images of earlier writers', () => {
    expect(timelineIn(sampleImage())).toBeUndefined();
  });

  it('is optional, so that earlier readers pass over it, and no record to who reads the others', () => {
    const image = imageWith((writer) => writer.timeline(times));
    const { start } = recordSpans(image)[1] ?? { start: 0 };
    const view = new DataView(image.buffer, image.byteOffset);
    expect([view.getUint16(start, true), view.getUint16(start + 2, true)]).toEqual([
      RECORD.TIMELINE,
      RECORD_FLAG.OPTIONAL,
    ]);
    expect(readAll(image).map(({ type }) => type)).toEqual([RECORD.HEAD]);
  });

  it('is there once', () => {
    const image = imageWith((writer) => {
      writer.timeline(times);
      writer.timeline(times);
    });
    expect(errorOf(() => timelineIn(image)).message).toMatch(/only one TIMELINE/);
  });

  it.each([
    ['goes backwards', { ...times, stoppedUs: 59_999 }],
    ['has written before it knew what', { ...times, writtenUs: 69_999 }],
    ['lets programs go on whose pages are not safe', { ...times, resumedUs: 69_999 }],
    ['lacks a time', { ...times, collectedUs: undefined }],
    ['has a negative one', { ...times, stoppingUs: -1 }],
    ['has a fraction', { ...times, stoppingUs: 0.5 }],
    ['has a text', { ...times, writtenUs: '300000' }],
    ['has a field that nobody knows', { ...times, laterUs: 1 }],
    ['is a number', 7],
  ])('is refused if it %s', (_what, value) => {
    const image = imageWith((writer) => writer.record(RECORD.TIMELINE, 0, value, RECORD_FLAG.OPTIONAL));
    expect(errorOf(() => timelineIn(image)).code).toBe('bad-record');
  });
});
