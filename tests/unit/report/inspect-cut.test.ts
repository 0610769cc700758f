/** Images whose end is missing: what there is of them is shown, and that it is not all. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openInput } from '../../../src/image/image-source.ts';
import { RECORD } from '../../../src/image/record-types.ts';
import { type Inspection, inspectImage } from '../../../src/report/inspect.ts';
import { renderInspection } from '../../../src/report/render-inspection.ts';
import { inspectOpened, memoryOf, openForLooking } from '../../../src/report/task-view.ts';
import { errorOf, MemorySource, readAll, recordSpans } from '../image/streams.ts';
import { processImage } from './sample-image.ts';

const whole = processImage();
const folder = mkdtempSync(join(tmpdir(), 'quicksave-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

const upTo = (length: number): Inspection =>
  inspectImage(new MemorySource(whole.subarray(0, length)), { showsCut: true });

/** Where the first record of this type begins. */
function startOf(type: number): number {
  const record = readAll(whole).find((one) => one.type === type);
  if (record === undefined) throw new Error(`there is no record of type ${type}`);
  return record.offset;
}

const headEnd = startOf(RECORD.TASK);

describe('an image that was cut', () => {
  it('is shown from its HEAD on wherever it was cut, and never taken for all', () => {
    const everywhere = Array.from({ length: Math.ceil((whole.length - headEnd) / 29) }, (_, n) => headEnd + n * 29);
    const atRecords = recordSpans(whole).flatMap(({ end }) => [end - 1, end, end + 1]);
    const cuts = [...everywhere, ...atRecords].filter((length) => length >= headEnd && length < whole.length);
    for (const length of cuts) {
      const inspection = upTo(length);
      expect(inspection.cut, `cut at byte ${length}`).toMatchObject({ code: 'cut-image' });
      expect(renderInspection(inspection)).toMatch(/^cut {2,}it breaks off at byte \d+/);
    }
    expect(upTo(whole.length)).not.toHaveProperty('cut');
  });

  it('is refused before its HEAD is there', () => {
    for (let length = 0; length < headEnd; length += 7) expect(() => upTo(length)).toThrow();
  });

  it('is refused where nobody asked for a part', () => {
    expect(errorOf(() => inspectImage(new MemorySource(whole.subarray(0, 3000)))).code).toBe('cut-image');
  });

  it('has no process yet, or one of which it says what is missing', () => {
    expect(upTo(headEnd).processes).toEqual([]);
    const missing = (type: number) => upTo(startOf(type)).processes[0]?.missing;
    expect(missing(RECORD.FNAME)).toEqual(['state', 'descriptors', 'mappings', 'threads']);
    expect(missing(RECORD.VMA)).toEqual(['state', 'mappings', 'threads']);
    expect(missing(RECORD.THREAD_STATE)).toEqual(['threads']);
    expect(missing(RECORD.PGARR)).toBeUndefined();
  });

  it('has the threads that came before', () => {
    const [, second] = readAll(whole).filter(({ type }) => type === RECORD.CPU);
    const [process] = upTo(second?.offset ?? 0).processes;
    expect(process?.threads.map(({ tid }) => tid)).toEqual([4242]);
    expect(process?.missing).toEqual(['threads']);
  });

  it('knows no byte of a page that was cut off, and those of the others', () => {
    const [, second] = readAll(whole).filter(({ type }) => type === RECORD.PGARR);
    const path = join(folder, 'cut');
    writeFileSync(path, whole.subarray(0, second?.offset));
    const opened = openInput(path);
    const image = openForLooking(opened, undefined, { showsCut: true });
    try {
      const memory = memoryOf(image);
      expect(memory.page(0x50_3000)).toHaveLength(4096);
      expect(memory.page(0x50_0000)).toBeUndefined();
      expect(errorOf(() => openForLooking(opened)).code).toBe('cut-image');
    } finally {
      image.close();
      opened.close();
    }
  });

  it('is told by name too when there is no process in it', () => {
    const path = join(folder, 'head');
    writeFileSync(path, whole.subarray(0, headEnd + 5));
    const opened = openInput(path);
    try {
      expect(inspectOpened(opened, undefined)).toMatchObject({ cut: { atByte: headEnd + 5 }, processes: [] });
      expect(errorOf(() => inspectOpened(opened, 4242)).code).toBe('no-such-process');
    } finally {
      opened.close();
    }
  });
});
