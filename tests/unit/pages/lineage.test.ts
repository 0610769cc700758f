/** What an incremental image takes from its parents, and which parents are refused. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { imagesIn } from '../../../src/image/image-folder.ts';
import { type ImageModel, ModelBuilder } from '../../../src/image/model.ts';
import type { PageRun } from '../../../src/image/page-chunk.ts';
import { ImageReader } from '../../../src/image/reader.ts';
import { RECORD } from '../../../src/image/record-types.ts';
import { ImageWriter } from '../../../src/image/writer.ts';
import { followParents } from '../../../src/pages/lineage.ts';
import { PageCrew } from '../../../src/pages/page-crew.ts';
import { encodeParentPages, ParentPages } from '../../../src/pages/parent-pages.ts';
import { pagesOfPieces, storedPieces } from '../../../src/pages/stored-pages.ts';
import { errorOf, MemorySink, MemorySource, sampleHead } from '../image/streams.ts';
import { processImage } from '../report/sample-image.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'quicksave-lineage-'));
  writeFileSync(join(folder, 'parent'), processImage(1));
  writeFileSync(join(folder, 'something else'), 'not an image');
});
afterEach(() => rmSync(folder, { recursive: true }));

const crew = new PageCrew(0, () => undefined);
const run = (start: number, pages: number, kind: PageRun['kind'] = 'parent'): PageRun => ({ start, pages, kind });

/** An image with these runs of its memory, whose parent's memory is 10. */
function follow(runs: readonly PageRun[], parentId = sampleHead.imageId, { pid = 4242, parent = 10 } = {}) {
  const head = { formatVersion: 1, state: { ...sampleHead, imageId: 'child', parentId } };
  const process = { task: { pid, memory: 1 }, memory: { parent } };
  const model = { head, processes: [process] } as unknown as ImageModel;
  return followParents({
    image: { model, chunks: [{ objref: 1, runs }] },
    isEncrypted: false,
    find: imagesIn(folder),
    crew,
  });
}

const message = (runs: readonly PageRun[], parentId?: string): string => errorOf(() => follow(runs, parentId)).message;

describe('a parent', () => {
  it('gives the pages that are taken from it, and no others', () => {
    const lineage = follow([run(0x50_1000, 1), run(0x50_3000, 1, 'data'), run(0x50_4000, 1)]);
    const pieces = storedPieces(lineage.chunks);
    expect(pieces.map(({ start, pages, offset }) => [start, pages, offset])).toEqual([
      [0x50_1000, 1, undefined],
      [0x50_4000, 1, 4096],
    ]);
    const [, second] = [...pagesOfPieces(pieces)];
    const parent = new ParentPages(encodeParentPages(pieces));
    const bytes = Buffer.from(second?.bytes ?? []);
    expect(bytes).toHaveLength(4096);
    expect(parent.equals(0x50_4000, bytes, 0)).toBe(true);
    expect(parent.equals(0x50_1000, Buffer.alloc(4096), 0)).toBe(false);
    expect(parent.equals(0x50_3000, bytes, 0)).toBe(false);
    bytes[4095] = 1;
    expect(parent.equals(0x50_4000, bytes, 0)).toBe(false);
    lineage.close();
  });

  it('is not looked for where nothing is taken from it', () => {
    expect(follow([run(0x50_3000, 1, 'data')], 'nowhere').chunks).toEqual([]);
  });

  it('that is not there, or lacks a page, is refused', () => {
    expect(message([run(0x50_4000, 1)], 'nowhere')).toBe(
      `The image builds on image nowhere, which is not in ${folder}.`,
    );
    expect(message([run(0x50_4000, 2)])).toContain('takes the page at 0x505000 from');
    expect(message([run(0x50_2000, 1)])).toContain('0x502000');
  });

  it('that does not have the process, or says that another memory is its own, is refused', () => {
    const wanted = [run(0x50_4000, 1)];
    const ofOther = errorOf(() => follow(wanted, sampleHead.imageId, { pid: 4243 }));
    expect(ofOther.message).toMatch(/takes pages of process 4243 from .*parent, which does not have them/);
    const ofObject = errorOf(() => follow(wanted, sampleHead.imageId, { parent: 11 }));
    expect(ofObject.message).toMatch(/takes pages of process 4242 from .*parent, which does not have them/);
  });

  it('that would be the image itself is refused', () => {
    expect(message([run(0x50_4000, 1)], 'child')).toBe('The image child builds on itself.');
  });

  it('that is damaged is named', () => {
    const bytes = processImage();
    // In the data of the first chunk.
    const at = Buffer.from(bytes).indexOf(Buffer.from([0x00, 0x30, 0x50]));
    const data = Math.ceil(at / 4096) * 4096 + 100;
    bytes[data] = (bytes[data] ?? 0) ^ 1;
    writeFileSync(join(folder, 'parent'), bytes);
    expect(message([run(0x50_4000, 1)])).toMatch(/^In the parent image .*parent: The image is damaged/);
  });
});

it('pages of a parent are refused in an image that has none', () => {
  const sink = new MemorySink();
  const writer = new ImageWriter(sink);
  writer.head(sampleHead);
  const vdso = { sha256: 'cafe' };
  writer.record(RECORD.TASK, 42, { pid: 42, comm: '', threads: [42], memory: 1, files: 2, vdso });
  writer.record(RECORD.MM, 1, { mappings: 0, pages: 0, parent: 7 });
  writer.chunk(1, [run(0x1000, 1)], new Uint8Array(0));
  writer.end();
  const reader = new ImageReader(new MemorySource(sink.bytes));
  const builder = new ModelBuilder();
  const build = (): void => {
    for (let record = reader.next(); record !== undefined; record = reader.next()) {
      if (record.kind === 'metadata') builder.add(record);
      else builder.addChunk(record);
    }
  };
  expect(errorOf(build).message).toMatch(/pages of a parent, and there is none/);
});
