/** Which pages of a process another one has too, wherever those can be read. */
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NativeMemory } from '../../../src/kernel/native-memory.ts';
import type { LoadChunk } from '../../../src/pages/load-job.ts';
import { without } from '../../../src/pages/page-pieces.ts';
import { encodeParentPages } from '../../../src/pages/parent-pages.ts';
import { encodeRelative, RelativePages } from '../../../src/pages/relative-pages.ts';
import { type StoredPiece, samePages } from '../../../src/pages/stored-pages.ts';

const PAGE = 4096;
const contentOf = (page: number): Buffer => Buffer.alloc(PAGE, page + 1);

let folder = '';
let fd = -1;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'quicksave-relative-'));
  // As /proc/PID/mem: an address is a position.
  writeFileSync(join(folder, 'memory'), Buffer.concat(Array.from({ length: 8 }, (_, page) => contentOf(page))));
  fd = openSync(join(folder, 'memory'), 'r');
});
afterEach(() => {
  closeSync(fd);
  rmSync(folder, { recursive: true });
});

describe('the pages of a relative', () => {
  it('are found where they are equal, in its memory, a copy or the parent image', () => {
    const copy = NativeMemory.allocate(2 * PAGE);
    const stored = NativeMemory.allocate(PAGE);
    const room = NativeMemory.allocate(16 * PAGE);
    contentOf(20).copy(copy.bytes, 0);
    contentOf(21).copy(copy.bytes, PAGE);
    contentOf(30).copy(stored.bytes, 0);
    const chunk = { offset: 0, encoding: 'raw', dataAddress: stored.address, storedBytes: PAGE, rawBytes: PAGE };
    const inParent = { start: 30 * PAGE, pages: 1, offset: 0, chunk: chunk as unknown as LoadChunk };
    const relative = new RelativePages({
      pages: encodeRelative([
        { start: 30 * PAGE, pages: 1, from: { kind: 'parent-image' } },
        { start: 20 * PAGE, pages: 2, from: { kind: 'copy', address: copy.address } },
        { start: 1 * PAGE, pages: 3, from: { kind: 'memory', fd } },
        { start: 6 * PAGE, pages: 2, from: { kind: 'memory', fd } },
      ]),
      parent: encodeParentPages([inParent]),
    });
    const wanted = [0, 1, 2, 3, 4, 6, 7, 19, 20, 21, 22, 30, 31];
    const changed = new Set([2, 20]);
    const ours = wanted.map((page) => {
      const bytes = contentOf(page);
      if (changed.has(page)) bytes[PAGE - 1] = 0xff;
      return bytes;
    });
    const sought = wanted.map((page, index) => ({ start: page * PAGE, offset: index * PAGE }));
    const found: number[] = [];
    relative.match(sought, Buffer.concat(ours), room, ({ start }) => found.push(start / PAGE));
    expect(found.sort((a, b) => a - b)).toEqual([1, 3, 6, 7, 21, 30]);
    found.length = 0;
    // Not only forward.
    relative.match(sought.slice(1, 2), Buffer.concat(ours), room, ({ start }) => found.push(start / PAGE));
    expect(found).toEqual([1]);
    for (const memory of [copy, stored, room]) memory.free();
  });

  it('that are in no other place are none', () => {
    const relative = new RelativePages({ pages: encodeRelative([]), parent: undefined });
    const room = NativeMemory.allocate(PAGE);
    relative.match([{ start: 0, offset: 0 }], Buffer.alloc(PAGE), room, () => expect.fail('found one'));
    room.free();
  });
});

describe('pages of one place in an image', () => {
  const chunkAt = (dataAddress: number) => ({ dataAddress }) as unknown as LoadChunk;
  const piece = (start: number, pages: number, chunk: LoadChunk, offset?: number): StoredPiece => ({
    start: start * PAGE,
    pages,
    offset: offset === undefined ? undefined : offset * PAGE,
    chunk,
  });
  const [a, b] = [chunkAt(1 << 20), chunkAt(2 << 20)];

  it('are the same for two memories, and no others', () => {
    const one = [piece(0, 4, a, 0), piece(4, 2, b, 0), piece(6, 2, a), piece(10, 1, a, 8)];
    const other = [piece(1, 4, { ...a }, 1), piece(5, 1, { ...b }, 1), piece(6, 2, a), piece(10, 1, a, 7)];
    expect(samePages(one, other)).toEqual([
      { start: PAGE, pages: 3 },
      // Two of them are zeros.
      { start: 5 * PAGE, pages: 3 },
    ]);
    expect(samePages(other, one)).toEqual(samePages(one, other));
    expect(samePages(one, [])).toEqual([]);
  });

  it('are taken away from pieces with what they begin at', () => {
    const pieces = [piece(0, 4, a, 0), piece(4, 2, b), piece(8, 2, a, 6)];
    const stretch = (start: number, pages: number) => ({ start: start * PAGE, pages });
    expect(without(pieces, [stretch(1, 1), stretch(3, 2), stretch(9, 5)])).toEqual([
      piece(0, 1, a, 0),
      piece(2, 1, a, 2),
      piece(5, 1, b),
      piece(8, 1, a, 6),
    ]);
    expect(without(pieces, [])).toEqual(pieces);
    expect(without(pieces, [stretch(0, 20)])).toEqual([]);
  });
});
