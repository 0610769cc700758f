import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type OpenedInput, openInput, sourceOf } from '../../../src/image/image-source.ts';
import { PAGE_SIZE as PAGE, type PageRun } from '../../../src/image/page-chunk.ts';
import { type ChunkRecord, ImageReader } from '../../../src/image/reader.ts';
import { openAddressed } from '../../../src/pages/addressed-image.ts';
import { notThere } from '../../../src/pages/lineage.ts';
import { PageStore } from '../../../src/pages/page-store.ts';
import { errorOf, writeImage } from '../image/streams.ts';
import { bytesOf } from '../linux-cr/streams.ts';

const BASE = 0x50_0000;
const ZEROS = new Uint8Array(PAGE);
/** Page `index` behind the base is full of this. */
const contentOf = (index: number): number => (index % 250) + 1;

function filled(runs: readonly PageRun[]): Uint8Array {
  const indices = runs.flatMap(({ start, pages, kind }) =>
    kind === 'zero' ? [] : Array.from({ length: pages }, (_, index) => (start - BASE) / PAGE + index),
  );
  const data = new Uint8Array(indices.length * PAGE);
  indices.forEach((index, place) => {
    data.fill(contentOf(index), place * PAGE, (place + 1) * PAGE);
  });
  return data;
}

const run = (index: number, pages: number, kind: PageRun['kind'] = 'data'): PageRun => ({
  start: BASE + index * PAGE,
  pages,
  kind,
});
/** Not in the order of their addresses, one compressed. */
const chunks: readonly { runs: readonly PageRun[]; level?: number }[] = [
  { runs: [run(20, 2), run(30, 1, 'zero'), run(31, 1)] },
  { runs: [run(0, 3), run(3, 2, 'zero'), run(8, 1)], level: 1 },
  ...Array.from({ length: 12 }, (_, index) => ({ runs: [run(100 + index * 10, 1)] })),
];

let folder = '';
let opened: OpenedInput;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'quicksave-pages-'));
  const image = writeImage((writer) => {
    for (const { runs, level } of chunks) writer.chunk(1, runs, filled(runs), { level });
    writer.end();
  });
  writeFileSync(join(folder, 'image'), image);
  opened = openInput(join(folder, 'image'));
});
afterEach(() => {
  opened.close();
  rmSync(folder, { recursive: true });
});

function chunkRecords(): ChunkRecord[] {
  const reader = new ImageReader(sourceOf(opened), { pageData: 'skip' });
  const found: ChunkRecord[] = [];
  for (let record = reader.next(); record !== undefined; record = reader.next()) {
    if (record.kind === 'chunk') found.push(record);
  }
  return found;
}

const pageNumbers = (addresses: readonly number[]): number[] => addresses.map((address) => (address - BASE) / PAGE);

describe('the pages of an image by address', () => {
  it('are those of a range, ascending, with or without zeros', () => {
    const store = new PageStore(opened.fd, chunkRecords());
    const end = BASE + 40 * PAGE;
    expect(pageNumbers(store.addressesIn(BASE, end, { zeroPages: false }))).toEqual([0, 1, 2, 8, 20, 21, 31]);
    expect(pageNumbers(store.addressesIn(BASE, end, { zeroPages: true }))).toEqual([0, 1, 2, 3, 4, 8, 20, 21, 30, 31]);
    const middle = { zeroPages: true };
    expect(pageNumbers(store.addressesIn(BASE + PAGE, BASE + 4 * PAGE, middle))).toEqual([1, 2, 3]);
    expect(store.addressesIn(BASE + 5 * PAGE, BASE + 8 * PAGE, middle)).toEqual([]);
  });

  it('are what was written, however their chunk is stored and in whatever order they are asked for', () => {
    const store = new PageStore(opened.fd, chunkRecords());
    const indices = [8, 0, 31, 2, ...Array.from({ length: 12 }, (_, index) => 100 + index * 10), 1, 20, 21];
    for (const index of [...indices, ...indices.reverse()]) {
      expect(
        Buffer.from(store.page(BASE + index * PAGE)).equals(Buffer.alloc(PAGE, contentOf(index))),
        `${index}`,
      ).toBe(true);
    }
  });

  it('are zeros where the image says so, or has nothing', () => {
    const store = new PageStore(opened.fd, chunkRecords());
    for (const index of [3, 4, 5, 7, 9, 30, 32, 99, 10_000]) {
      expect(Buffer.from(store.page(BASE + index * PAGE)).equals(ZEROS)).toBe(true);
    }
    expect(Buffer.from(store.page(0)).equals(ZEROS)).toBe(true);
  });

  it('are those of a relative where the image says so, pages of zeros too', () => {
    const relative = new PageStore(opened.fd, chunkRecords());
    const ofRelative = (index: number, pages: number): PageRun => ({ ...run(index, pages, 'relative'), relative: 0 });
    const runs = [ofRelative(3, 1), ofRelative(20, 2), run(22, 1, 'zero')];
    const chunk = { ...(chunkRecords()[0] as ChunkRecord), runs };
    const store = new PageStore(opened.fd, [chunk], [relative]);
    // And what has them from this one in turn.
    const next = new PageStore(opened.fd, [{ ...chunk, runs: [ofRelative(21, 1)] }], [store]);
    const end = BASE + 40 * PAGE;
    expect(pageNumbers(store.addressesIn(BASE, end, { zeroPages: false }))).toEqual([20, 21]);
    expect(pageNumbers(store.addressesIn(BASE, end, { zeroPages: true }))).toEqual([3, 20, 21, 22]);
    for (const one of [store, next]) {
      expect(Buffer.from(one.page(BASE + 21 * PAGE)).equals(Buffer.alloc(PAGE, contentOf(21)))).toBe(true);
      expect(one.hasData(BASE + 21 * PAGE)).toBe(true);
    }
    expect(Buffer.from(store.page(BASE + 3 * PAGE)).equals(ZEROS)).toBe(true);
    expect([3, 22, 23].map((index) => store.has(BASE + index * PAGE))).toEqual([true, true, false]);
    expect([3, 22, 31].map((index) => store.hasData(BASE + index * PAGE))).toEqual([false, false, false]);
  });

  it('are those of the parent image where the image says so, and must be there', () => {
    const parent = new PageStore(opened.fd, chunkRecords());
    const runs = [run(2, 2, 'parent'), run(31, 1, 'parent'), run(32, 1, 'parent')];
    const chunk = { ...(chunkRecords()[0] as ChunkRecord), runs };
    const lookUp = (address: number): PageStore => {
      if (!parent.has(address)) throw notThere(address, 'parent');
      return parent;
    };
    const store = new PageStore(opened.fd, [chunk], [], lookUp);
    expect(Buffer.from(store.page(BASE + 31 * PAGE)).equals(Buffer.alloc(PAGE, contentOf(31)))).toBe(true);
    expect([2, 3, 31].map((index) => store.hasData(BASE + index * PAGE))).toEqual([true, false, true]);
    const end = BASE + 32 * PAGE;
    expect(pageNumbers(store.addressesIn(BASE, end, { zeroPages: false }))).toEqual([2, 31]);
    expect(pageNumbers(store.addressesIn(BASE, end, { zeroPages: true }))).toEqual([2, 3, 31]);
    for (const look of [
      () => store.page(BASE + 32 * PAGE),
      () => store.hasData(BASE + 32 * PAGE),
      () => store.addressesIn(BASE, end + PAGE, { zeroPages: false }),
    ])
      expect(errorOf(look).code).toBe('wrong-parent');
  });

  it('are refused when their chunk is damaged', () => {
    const records = chunkRecords();
    const image = readFileSync(join(folder, 'image'));
    const place = records[0]?.dataPosition ?? 0;
    image[place] = (image[place] ?? 0) ^ 1;
    writeFileSync(join(folder, 'image'), image);
    const store = new PageStore(opened.fd, records);
    expect(errorOf(() => store.page(BASE + 20 * PAGE)).code).toBe('damaged-image');
    expect(Buffer.from(store.page(BASE)).equals(Buffer.alloc(PAGE, contentOf(0)))).toBe(true);
  });
});

describe('what is opened for an export', () => {
  it('is no stream of 2008', () => {
    writeFileSync(join(folder, 'stream'), bytesOf());
    const stream = openInput(join(folder, 'stream'));
    try {
      expect(errorOf(() => openAddressed(stream)).code).toBe('foreign-image');
    } finally {
      stream.close();
    }
  });

  it('is no file of another kind, nor an empty one', () => {
    for (const content of ['', 'a text that is longer than what tells a format']) {
      writeFileSync(join(folder, 'other'), content);
      const other = openInput(join(folder, 'other'));
      try {
        expect(errorOf(() => openAddressed(other)).code).toBe('not-an-image');
      } finally {
        other.close();
      }
    }
  });
});
