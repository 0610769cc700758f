/** What the records of an image say of each other: references and places that cannot be. */
import { describe, expect, it } from 'vitest';
import { ModelBuilder } from '../../../src/image/model.ts';
import { ImageReader } from '../../../src/image/reader.ts';
import { RECORD } from '../../../src/image/record-types.ts';
import { ImageWriter } from '../../../src/image/writer.ts';
import { errorOf, MemorySink, MemorySource, sampleHead } from './streams.ts';

const START = 0x60_0000;
const END = START + 16 * 4096;

const task = {
  pid: 42,
  comm: 'worker',
  threads: [42],
  memory: 1,
  files: 2,
  vdso: { sha256: 'cafe' },
  addressBits: 64,
  layoutBits: 0,
};

const mapping = (others: object): object => ({
  start: START,
  end: END,
  protection: 3,
  offset: 0,
  flags: [],
  kind: 'anonymous',
  state: { name: '' },
  hasPages: false,
  ...others,
});

/** What the builder makes of an image with these mappings. */
function take(...mappings: object[]): void {
  const sink = new MemorySink();
  const writer = new ImageWriter(sink);
  writer.head(sampleHead);
  writer.record(RECORD.TASK, 42, task);
  writer.record(RECORD.VMA, 1, { mappings });
  writer.end();
  const builder = new ModelBuilder();
  const reader = new ImageReader(new MemorySource(sink.bytes));
  for (let record = reader.next(); record !== undefined; record = reader.next()) {
    if (record.kind === 'metadata' && record.type !== RECORD.HEAD) builder.add(record);
  }
}

const page = (number: number, pages = 1): object => ({ start: START + number * 4096, pages });

describe('mappings', () => {
  it.each<[string, object[], RegExp]>([
    ['that end before they begin', [mapping({ end: START })], /ends before it begins/],
    ['that overlap', [mapping({}), mapping({ start: END - 4096, end: END + 4096 })], /overlaps the one before/],
    ['with an offset within a page', [mapping({ offset: 7 })], /offset that is not a page's/],
    ['with a guard page before them', [mapping({ guards: [page(-1)] })], /guard page at 0x5ff000, where none can be/],
    ['with a guard page behind them', [mapping({ guards: [page(15, 2)] })], /guard page at 0x60f000/],
    ['with a guard page twice', [mapping({ guards: [page(3, 2), page(4)] })], /guard page at 0x604000/],
    ['with guard pages that descend', [mapping({ guards: [page(5), page(3)] })], /guard page at 0x603000/],
    ['with a guard that is no page', [mapping({ guards: [{ start: START + 1, pages: 1 }] })], /address of a page/],
    ['with a guard of no pages', [mapping({ guards: [page(1, 0)] })], /whole number from 1/],
  ])('%s are refused', (_, mappings, sentence) => {
    expect(errorOf(() => take(...mappings)).message).toMatch(sentence);
  });

  it('may have guard pages anywhere in them', () => {
    expect(() =>
      take(mapping({ guards: [page(0), page(1, 3), page(15)] }), mapping({ start: END, end: END + 4096 })),
    ).not.toThrow();
  });
});
