/** What the records of an image say of each other: references and places that cannot be. */
import { describe, expect, it } from 'vitest';
import { ModelBuilder } from '../../../src/image/model.ts';
import type { PageRun } from '../../../src/image/page-chunk.ts';
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

/** A record: its type, its objref and what it says. */
type Said = readonly [type: number, objref: number, value: object];

/** What the builder makes of an image with these records. */
function takeAll(records: readonly Said[]): void {
  const sink = new MemorySink();
  const writer = new ImageWriter(sink);
  writer.head(sampleHead);
  for (const [type, objref, value] of records) writer.record(type, objref, value);
  writer.end();
  const builder = new ModelBuilder();
  const reader = new ImageReader(new MemorySource(sink.bytes));
  for (let record = reader.next(); record !== undefined; record = reader.next()) {
    if (record.kind === 'metadata' && record.type !== RECORD.HEAD) builder.add(record);
  }
}

/** What it makes of an image with these mappings. */
const take = (...mappings: object[]): void =>
  takeAll([
    [RECORD.TASK, 42, task],
    [RECORD.VMA, 1, { mappings }],
  ]);

const ROOT: Said = [RECORD.TASK, 42, task];

/** A process with numbers of its own, whose objects are those behind 10 times its pid. */
const process = (pid: number, parent: number | undefined, others: object = {}): Said => [
  RECORD.TASK,
  pid,
  { ...task, pid, threads: [pid], memory: pid * 10 + 1, files: pid * 10 + 2, ...(parent && { parent }), ...others },
];

const exited = (pid: number, parent: number, objref = pid): Said => [
  RECORD.EXITED,
  objref,
  { pid, parent, comm: 'gone', session: 42, processGroup: 42, exitSignal: 17, exitCode: 0 },
];

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

describe('processes', () => {
  const threads = [42, 43, 44];
  const apart = (...own: object[]): Said => [RECORD.TASK, 42, { ...task, threads, fileSystem: 9, apart: own }];

  it('may have children, threads and savers, and some that have ended', () => {
    expect(() =>
      takeAll([
        ROOT,
        process(43, 42, { threads: [43, 44] }),
        process(45, 43, { saver: { pid: 46, leads: 'nothing' } }),
        process(47, 42, { threads: [51, 50], leaderStatus: 255 }),
        exited(48, 45),
        exited(49, 42),
      ]),
    ).not.toThrow();
  });

  it.each<[string, Said[], RegExp]>([
    ['with a parent that comes later', [ROOT, process(44, 43), process(43, 42)], /its parent 43 is not there/],
    ['with a parent that is nowhere', [ROOT, process(43, 99)], /its parent 99 is not there/],
    ['that are their own parent', [ROOT, process(43, 43)], /its parent 43 is not there/],
    [
      'whose parent is a thread that leads no process',
      [ROOT, process(43, 42, { threads: [43, 44] }), process(45, 44)],
      /its parent 44 is not there/,
    ],
    ['whose parent has ended', [ROOT, exited(43, 42), process(44, 43)], /its parent 43 is not there/],
    ['of which two are roots', [ROOT, process(43, undefined)], /it is there twice/],
    ['of which none is the root', [process(43, 42)], /the first process has a parent/],
    ['of which one is there twice', [ROOT, process(43, 42), process(43, 42)], /task 43 is there twice/],
    [
      'whose leader has ended and is a thread',
      [ROOT, process(43, 42, { threads: [44, 43], leaderStatus: 0 })],
      /a thread is there twice/,
    ],
    [
      'whose leader that has ended is a thread of another',
      [ROOT, process(44, 42, { threads: [44, 43] }), process(43, 42, { threads: [45], leaderStatus: 0 })],
      /task 43 is there twice/,
    ],
    [
      'that are stopped without a leader',
      [ROOT, process(43, 42, { threads: [44], leaderStatus: 0, stopped: 'reported' })],
      /it is stopped, and its leader has ended/,
    ],
    ['without their leader', [ROOT, process(43, 42, { threads: [44] })], /its first thread is not the group leader/],
    [
      'whose leader has ended with no status',
      [ROOT, process(43, 42, { threads: [44], leaderStatus: 256 })],
      /leaderStatus/,
    ],
    ['with the thread of another', [ROOT, process(43, 42, { threads: [43, 42] })], /task 42 is there twice/],
    [
      'whose saver is a thread of another',
      [ROOT, process(43, 42, { saver: { pid: 42, leads: 'nothing' } })],
      /task 42 is there twice/,
    ],
    [
      'with the memory of one that runs another program',
      [ROOT, process(43, 42, { memory: 1, addressBits: 32 })],
      /it runs another program than process 42, whose memory it has/,
    ],
    [
      'with the handlers of another and not its memory',
      [process(42, undefined, { handlers: 9 }), process(43, 42, { handlers: 9 })],
      /it shares handlers without the memory/,
    ],
    ['with handlers that are a memory', [ROOT, process(43, 42, { handlers: 1 })], /memory or its descriptor table is/],
    [
      'with descriptors that threads of another have and it has not',
      [apart({ tid: 43, files: 3 }), process(45, 42, { files: 3 })],
      /memory or its descriptor table is some/,
    ],
    [
      'with threads that have the descriptors of another',
      [ROOT, process(43, 42, { threads: [43, 44], apart: [{ tid: 44, files: 2 }] })],
      /memory or its descriptor table is some/,
    ],
    ['with the descriptors of another as memory', [ROOT, process(43, 42, { memory: 2 })], /memory or its descriptor/],
    [
      'with one object for both',
      [ROOT, process(43, 42, { files: 431 })],
      /memory or its descriptor table is something/,
    ],
  ])('%s are refused', (_, records, sentence) => {
    expect(errorOf(() => takeAll(records)).message).toMatch(sentence);
  });

  it.each<[string, Said[], RegExp]>([
    ['with a parent that is nowhere', [ROOT, exited(43, 99)], /its parent 99 is not there/],
    ['whose parent has ended', [ROOT, exited(43, 42), exited(44, 43)], /its parent 43 is not there/],
    ['before the root', [exited(43, 42), ROOT], /the first process has a parent/],
    ['that are there twice', [ROOT, exited(43, 42), exited(43, 42)], /task 43 is there twice/],
    ['with the number of a living one', [ROOT, process(43, 42), exited(43, 42)], /task 43 is there twice/],
    ['whose number a later one has', [ROOT, exited(43, 42), process(43, 42)], /task 43 is there twice/],
    ['with the number of a thread', [ROOT, process(43, 42, { threads: [43, 44] }), exited(44, 42)], /task 44 is there/],
    ['under another number', [ROOT, exited(43, 42, 44)], /its objref is not its pid/],
  ])('that have ended, %s, are refused', (_, records, sentence) => {
    expect(errorOf(() => takeAll(records)).message).toMatch(sentence);
  });

  it('may share their memory, and what they do on signals', () => {
    const both = [process(42, undefined, { handlers: 9 }), process(43, 42, { memory: 421, handlers: 9 })];
    expect(() => takeAll(both)).not.toThrow();
  });

  it('may share tables and directories', () => {
    const one = [RECORD.FILES, 2, { entries: [] }] as const;
    const both: Said[] = [apart({ tid: 43, files: 3 }), process(45, 42, { files: 2, fileSystem: 9 }), one];
    expect(() => takeAll(both)).not.toThrow();
    expect(() => takeAll([...both, one])).toThrow('it is there twice');
  });

  it('may have threads with tables and directories of their own, which these may share', () => {
    const own = apart({ tid: 43, files: 3 }, { tid: 44, files: 3, fileSystem: 4 });
    expect(() => takeAll([own, [RECORD.FILES, 2, { entries: [] }], [RECORD.FILES, 3, { entries: [] }]])).not.toThrow();
    expect(() => takeAll([own, [RECORD.FILES, 5, { entries: [] }]])).toThrow('not one that TASK names');
    expect(() => takeAll([own, ...[3, 3].map((table): Said => [RECORD.FILES, table, { entries: [] }])])).toThrow(
      'it is there twice',
    );
  });

  it.each<[string, object[], RegExp]>([
    ['that are not there', [{ tid: 45, files: 3 }], /thread 45 cannot have something/],
    ['that lead', [{ tid: 42, files: 3 }], /thread 42 cannot have something/],
    ['twice', [43, 43].map((tid) => ({ tid, files: 3 })), /thread 43 cannot have something/],
    ['with nothing', [{ tid: 43 }], /thread 43 has nothing of its own/],
    ['with the table of the leader', [{ tid: 43, files: 2 }], /what is its leader's/],
    ['with the directory of the leader', [{ tid: 43, fileSystem: 9 }], /what is its leader's/],
    ['with memory as a table', [{ tid: 43, files: 1 }], /something else as well/],
    ['with a table as a directory', [{ tid: 43, files: 3, fileSystem: 3 }], /something else as well/],
  ])('cannot have threads on their own %s', (_, own, sentence) => {
    expect(errorOf(() => takeAll([apart(...own)])).message).toMatch(sentence);
  });

  it('have their records told apart by their objrefs', () => {
    const mappings = [mapping({})];
    const both: Said[] = [ROOT, process(43, 42), [RECORD.VMA, 1, { mappings }], [RECORD.VMA, 431, { mappings }]];
    expect(() => takeAll(both)).not.toThrow();
    expect(errorOf(() => takeAll([...both, [RECORD.VMA, 431, { mappings }]])).message).toMatch(
      /overlaps the one before/,
    );
    expect(errorOf(() => takeAll([ROOT, [RECORD.VMA, 431, { mappings }]])).message).toMatch(/not one that TASK names/);
  });
});

describe('pages that are those of another process', () => {
  const run = (number: number, pages: number, relative?: number): PageRun => ({
    start: START + number * 4096,
    pages,
    ...(relative === undefined ? { kind: 'zero' as const } : { kind: 'relative' as const, relative }),
  });

  /** 42 has children 43 and 44; `relatives` and `runs` by pid, the memories of the children are 431 and 441. */
  function takePages(relatives: Record<number, number[]>, runs: readonly [objref: number, runs: PageRun[]][]): void {
    const sink = new MemorySink();
    const writer = new ImageWriter(sink);
    writer.head(sampleHead);
    for (const [type, objref, value] of [ROOT, process(43, 42), process(44, 42)]) writer.record(type, objref, value);
    for (const memory of [1, 431, 441]) {
      writer.record(RECORD.MM, memory, { mappings: 1, pages: 0, relatives: relatives[memory] ?? [] });
      writer.record(RECORD.VMA, memory, { mappings: [mapping({ hasPages: true })] });
    }
    for (const [objref, ofMemory] of runs) writer.chunk(objref, ofMemory, new Uint8Array(0));
    writer.end();
    const builder = new ModelBuilder();
    const reader = new ImageReader(new MemorySource(sink.bytes));
    for (let record = reader.next(); record !== undefined; record = reader.next()) {
      if (record.kind === 'metadata') builder.add(record);
      else builder.addChunk(record);
    }
    builder.finishPages();
  }

  it('may be those of several that come before, whatever these have them from', () => {
    expect(() =>
      takePages({ 431: [1], 441: [1, 431] }, [
        [441, [run(0, 2, 0), run(2, 1, 1), run(3, 1), run(4, 2, 1)]],
        [1, [run(0, 1), run(1, 2), run(4, 1)]],
        [431, [run(2, 1, 0), run(3, 2), run(5, 3)]],
      ]),
    ).not.toThrow();
  });

  it.each<[string, Record<number, number[]>, [number, PageRun[]][], RegExp]>([
    ['of itself', { 431: [431] }, [], /its relative 431 is no memory of a process before this one/],
    ['of one that comes later', { 431: [441], 441: [431] }, [], /its relative 441 is no memory/],
    ['of a descriptor table', { 431: [2] }, [], /its relative 2 is no memory/],
    ['of one that is not named', { 431: [1] }, [[431, [run(0, 1, 1)]]], /pages of a relative that MM does not name/],
    ['for the root', {}, [[1, [run(0, 1, 0)]]], /pages of a relative that MM does not name/],
    ['that it does not have', { 431: [1] }, [[431, [run(0, 1, 0)]]], /takes the page at 0x600000 from its memory 1/],
    [
      'of which it has only some',
      { 431: [1] },
      [
        [431, [run(0, 3, 0)]],
        [1, [run(0, 1), run(2, 1)]],
      ],
      /takes the page at 0x601000 from its memory 1, which has none there/,
    ],
    [
      'behind those that it has',
      { 431: [1] },
      [
        [431, [run(0, 1, 0), run(3, 2, 0)]],
        [1, [run(0, 4)]],
      ],
      /takes the page at 0x604000/,
    ],
    ['outside of its mappings', { 431: [1] }, [[431, [run(16, 1, 0)]]], /takes the page at|no mapping takes it/],
  ])('are refused: %s', (_, relatives, runs, sentence) => {
    expect(errorOf(() => takePages(relatives, runs)).message).toMatch(sentence);
  });
});
