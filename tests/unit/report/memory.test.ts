import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { openInput } from '../../../src/image/image-source.ts';
import type { ProcessInspection } from '../../../src/report/inspect.ts';
import type { ProcessMemory } from '../../../src/report/process-memory.ts';
import { hexdump } from '../../../src/report/render-memory.ts';
import { treeLines } from '../../../src/report/render-tree.ts';
import { placesOf, textsIn } from '../../../src/report/search-memory.ts';
import { memoryOf, openForLooking } from '../../../src/report/task-view.ts';
import { ElfFunctions } from '../../../src/support/elf-functions.ts';
import { processImage } from './sample-image.ts';

const PAGE = 4096;
const folder = mkdtempSync(join(tmpdir(), 'quicksave-test-'));
const path = join(folder, 'image');
writeFileSync(path, processImage());
const opened = openInput(path);
const image = openForLooking(opened);
afterAll(() => {
  image.close();
  opened.close();
  rmSync(folder, { recursive: true });
});

/** Pages at these addresses, for what only asks for those. */
function memoryWith(pages: Readonly<Record<number, Buffer>>): ProcessMemory {
  const list = Object.entries(pages).map(([address, bytes]) => ({ address: Number(address), bytes }));
  return { pagesInImage: () => list } as unknown as ProcessMemory;
}

function page(at: number, text: string): Buffer {
  const bytes = Buffer.alloc(PAGE);
  bytes.write(text, at);
  return bytes;
}

const twoPages = memoryWith({ 4096: page(PAGE - 3, 'hel'), 8192: page(0, 'lo there'), 36864: page(0, 'lone') });

test('a text that reaches over the end of a page is one text, and ends at a gap', () => {
  expect([...textsIn(twoPages, 4)]).toEqual([
    { address: 0x1ffd, text: 'hello there' },
    { address: 0x9000, text: 'lone' },
  ]);
  expect([...textsIn(twoPages, 5)]).toHaveLength(1);
});

test('what is searched for is found over the end of a page, not over a gap, and where it overlaps itself', () => {
  expect([...placesOf(Buffer.from('hello'), twoPages)]).toEqual([0x1ffd]);
  expect([...placesOf(Buffer.from('lo'), twoPages)]).toEqual([0x2000, 0x9000]);
  const gap = memoryWith({ 4096: page(PAGE - 2, 'ab'), 12288: page(0, 'cd') });
  expect([...placesOf(Buffer.from('abcd'), gap)]).toEqual([]);
  expect([...placesOf(Buffer.from('aa'), memoryWith({ 0: page(10, 'aaa') }))]).toEqual([10, 11]);
});

test('memory is what the image says of it: data, zeros, and nothing where it says nothing', () => {
  const memory = memoryOf(image);
  expect(memory.bytes(0x50_3000, 4).length).toBe(4);
  expect(memory.bytes(0x50_0000, 4)).toEqual(Buffer.alloc(4));
  expect(memory.page(0x40_0000)).toBeUndefined();
  expect(memory.page(0x60_0000)).toBeUndefined();
  expect(() => memoryOf(image, 1)).toThrow(/no process 1/);
});

test('a hexdump begins and ends where it is told, and marks bytes that are not known', () => {
  const memory = memoryOf(image);
  expect([...hexdump(memory, 0x50_0ffe, 4)]).toEqual([
    '00500ff0                                             00 00  |              ..|',
    '00501000  00 00                                             |..              |',
  ]);
  expect([...hexdump(memory, 0x40_0000, 2)][0]).toMatch(/^00400000 {2}\?\? \?\? /);
});

const process = (pid: number, parent: number | undefined, comm: string): ProcessInspection =>
  ({
    pid,
    ...(parent === undefined ? {} : { parent }),
    comm,
    threads: [],
    mappings: [],
    descriptors: [],
  }) as unknown as ProcessInspection;

test('a tree shows children below their parents, in the order of the image', () => {
  const tree = [process(10, 1, 'root'), process(11, 10, 'a'), process(12, 11, 'b'), process(13, 10, 'c')];
  expect(
    treeLines(tree)
      .map((line) => line.slice(line.indexOf('[') - 8).trimEnd())
      .slice(2),
  ).toEqual([
    expect.stringMatching(/ \[root\]$/),
    expect.stringMatching(/ {2}\\_ \[a\]$/),
    expect.stringMatching(/ \| {3}\\_ \[b\]$/),
    expect.stringMatching(/ {2}\\_ \[c\]$/),
  ]);
});

test("processes that are each other's parents are shown once each", () => {
  expect(treeLines([process(5, 6, 'x'), process(6, 5, 'y')])).toHaveLength(4);
});

test('functions of a file are found by address, and what is no ELF file has none', () => {
  const node = ElfFunctions.tryOpen(globalThis.process.execPath);
  expect(node).toBeDefined();
  node?.close();
  expect(ElfFunctions.tryOpen(path)).toBeUndefined();
  expect(ElfFunctions.tryOpen('/dev/zero')).toBeUndefined();
  expect(ElfFunctions.tryOpen('/nonexistent')).toBeUndefined();
});
