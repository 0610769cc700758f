import { describe, expect, it } from 'vitest';
import { encodeFrame, RECORD_HEADER_SIZE, viewOf } from '../../../src/image/frame.ts';
import type { PageRun } from '../../../src/image/page-chunk.ts';
import { decodeChunkPrefix, decodeChunkRuns, MAX_RUNS, planRawChunk } from '../../../src/image/page-chunk.ts';
import { RECORD } from '../../../src/image/record-types.ts';
import { errorOf, pageData, readAll, sampleData, sampleRuns, writeImage } from './streams.ts';

const data = (start: number, pages: number): PageRun => ({ start, pages, kind: 'data' });
const zero = (start: number, pages: number): PageRun => ({ start, pages, kind: 'zero' });

const chunksOf = (image: Uint8Array) => readAll(image).flatMap((record) => (record.kind === 'chunk' ? [record] : []));

describe('a raw chunk', () => {
  it('has its data at a multiple of the page size, wherever it stands', () => {
    for (let position = 0; position < 8192; position += 8) {
      const plan = planRawChunk(1, sampleRuns, position);
      expect(plan.dataPosition % 4096).toBe(0);
      expect(position + plan.headerBytes.length).toBe(plan.dataPosition);
      expect(plan.totalBytes).toBe(plan.headerBytes.length + sampleData.length);
      expect(plan.headerBytes.length).toBeLessThan(24 + 32 + 16 * 3 + 4096);
    }
  });

  it('of zero pages only has no data and no alignment', () => {
    expect(planRawChunk(1, [zero(0, 5)], 8).totalBytes).toBe(24 + 32 + 16);
  });

  it('keeps runs of a sparse file up to 2^63', () => {
    const runs = [zero(0, 0xffff_ffff), data(2 ** 60, 1), data(2 ** 63 - 4096, 1)];
    const { headerBytes, totalBytes } = planRawChunk(1, runs, 0);
    const payload = headerBytes.subarray(RECORD_HEADER_SIZE);
    const prefix = decodeChunkPrefix(payload, 0, totalBytes - RECORD_HEADER_SIZE);
    expect(decodeChunkRuns(payload, prefix, 0)).toEqual(runs);
  });

  it('keeps which relative has the pages of a run', () => {
    const runs: PageRun[] = [0, 15, 1].map((relative, index) => ({
      start: index * 4096,
      pages: 1,
      kind: 'relative',
      relative,
    }));
    const { headerBytes, totalBytes, rawBytes } = planRawChunk(1, runs, 0);
    const payload = headerBytes.subarray(RECORD_HEADER_SIZE);
    const prefix = decodeChunkPrefix(payload, 0, totalBytes - RECORD_HEADER_SIZE);
    expect(decodeChunkRuns(payload, prefix, 0)).toEqual(runs);
    expect(rawBytes).toBe(0);
  });

  const refused: [string, PageRun[]][] = [
    ['a run of a relative that is not named', [{ start: 0, pages: 1, kind: 'relative' }]],
    ['a run of data that names a relative', [{ ...data(0, 1), relative: 0 }]],
    ['no runs', []],
    ['too many runs', Array.from({ length: MAX_RUNS + 1 }, (_, index) => zero(index * 8192, 1))],
    ['a run without pages', [data(0, 0)]],
    ['a run of part of a page', [data(0, 0.5)]],
    ['a run that begins between pages', [data(100, 1)]],
    ['a run below zero', [data(-4096, 1)]],
    ['runs that overlap', [data(0, 2), data(4096, 1)]],
    ['runs that descend', [data(8192, 1), data(0, 1)]],
    ['a run beyond 2^63', [zero(2 ** 63 - 4096, 2)]],
    ['more than 64 MiB of data', [data(0, 16_385)]],
  ];
  it.each(refused)('is not planned with %s', (_, runs) => {
    expect(errorOf(() => planRawChunk(1, runs, 0)).code).toBe('internal');
  });

  it('takes the largest chunk that the format allows', () => {
    const runs = Array.from({ length: MAX_RUNS }, (_, index) => (index % 4 === 0 ? data : zero)(index * 8192, 1));
    const image = writeImage((writer) => {
      writer.chunk(1, runs, new Uint8Array(64 * 1024 * 1024), {});
      writer.end();
    });
    expect(chunksOf(image)[0]?.runs).toEqual(runs);
  });
});

describe('a compressed chunk', () => {
  it('that would not become smaller is written raw', () => {
    const noise = crypto.getRandomValues(new Uint8Array(4096));
    const image = writeImage((writer) => {
      writer.chunk(1, [data(0, 1)], noise, { level: 3 });
      writer.end();
    });
    expect(chunksOf(image)[0]).toMatchObject({ encoding: 'raw', storedBytes: 4096 });
  });

  it('is smaller than its pages', () => {
    const image = writeImage((writer) => {
      writer.chunk(1, [data(0, 8)], pageData(8), { level: 1 });
      writer.end();
    });
    expect(chunksOf(image)[0]?.storedBytes).toBeLessThan(8 * 2048 + 500);
  });
});

describe('a reader refuses a chunk, though its checksum agrees,', () => {
  /** A raw chunk of one data page and one zero page, changed before it gets its checksum. */
  function readChanged(change: (payload: DataView) => void, cutBytes = 0): string {
    const image = writeImage((writer) => {
      const { headerBytes } = planRawChunk(1, [data(4096, 1), zero(8192, 2)], writer.position);
      const payload = new Uint8Array(headerBytes.length - RECORD_HEADER_SIZE + 4096);
      payload.set(headerBytes.subarray(RECORD_HEADER_SIZE));
      change(viewOf(payload));
      writer.sealed(encodeFrame(RECORD.PGARR, 0, 1, payload.subarray(0, payload.length - cutBytes)));
      writer.end();
    });
    const error = errorOf(() => readAll(image));
    expect(error.code).toBe('bad-record');
    return error.message;
  }
  const U64_MAX = 2n ** 64n - 1n;
  const faults: [string, (payload: DataView) => void, RegExp][] = [
    ['with an unknown encoding', (view) => view.setUint32(0, 2, true), /unknown encoding 2/],
    ['without runs', (view) => view.setUint32(4, 0, true), /0 runs/],
    ['with too many runs', (view) => view.setUint32(4, MAX_RUNS + 1, true), /65537 runs/],
    ['with absurdly many bytes', (view) => view.setBigUint64(8, U64_MAX, true), /claims/],
    ['with more stored than raw', (view) => view.setBigUint64(16, 8192n, true), /stores 8192/],
    ['with less stored than raw', (view) => view.setBigUint64(16, 0n, true), /stores 0/],
    ['with its data elsewhere', (view) => view.setUint32(24, 64, true), /length/],
    ['with a reserved field', (view) => view.setUint32(28, 1, true), /reserved/],
    ['with a run between pages', (view) => view.setBigUint64(32, 4097n, true), /begin at a page/],
    ['with a run far out', (view) => view.setBigUint64(48, U64_MAX - 4095n, true), /beyond 2\^63/],
    ['with a run without pages', (view) => view.setUint32(40, 0, true), /0 pages/],
    ['with more pages than bytes', (view) => view.setUint32(40, 2, true), /overlap/],
    ['with an unknown kind of run', (view) => view.setUint32(44, 19, true), /unknown kind 19/],
    ["with data pages called a relative's", (view) => view.setUint32(44, 18, true), /runs are other/],
    ['with data pages called zero', (view) => view.setUint32(44, 1, true), /runs are other/],
    ['with padding', (view) => view.setUint8(64, 1), /padding/],
    ['compressed, with its data in the place of raw data', (view) => view.setUint32(0, 1, true), /belongs at 64/],
  ];
  it.each(faults)('%s', (_, change, message) => {
    expect(readChanged(change)).toMatch(message);
  });

  it('that is shorter than its parts', () => {
    expect(readChanged(() => undefined, 8)).toMatch(/length/);
    expect(readChanged(() => undefined, 8192 - 100)).toMatch(/length|too short/);
  });
});
