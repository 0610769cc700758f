/** Images that were cut, changed or made up: refused with one sentence, before any process is made, and nothing is left. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { decodeCbor, encodeCbor } from '../../src/image/cbor.ts';
import { RECORD } from '../../src/image/record-types.ts';
import { compiled, full, gone, isLeft, newFolder, run, said, saveAndEnd, start } from '../support/harness.ts';
import { type Piece, putTogether, takeApart } from '../support/image-surgery.ts';

interface Sample {
  readonly folder: string;
  readonly pid: number;
  readonly image: Buffer;
}
let sample: Sample;

beforeEach(async () => {
  const folder = newFolder();
  const target = start(folder, compiled('busy-threads'));
  await said(target.output, 'ready');
  await saveAndEnd(target.pid, join(folder, 'image'));
  sample = { folder, pid: target.pid, image: readFileSync(join(folder, 'image')) };
});

const rounds = full ? 100 : 12;
/** Enough for an image of this size; less than a length that lies would take. */
const MEMORY_MIB = 400;
/** A number below `limit`, the same in every run. */
let seed = 1;
function choose(limit: number): number {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed % limit;
}

async function expectRefusal(image: Buffer, what: string, through: 'file' | 'stream'): Promise<void> {
  const path = join(sample.folder, 'damaged');
  writeFileSync(path, image);
  const args = ['restart', through === 'file' ? path : '-', '--detach'];
  const result = await run(args, { memoryMiB: MEMORY_MIB, ...(through === 'stream' ? { stdin: image } : {}) }).done;
  expect(result.status, `${what} (${through}): ${result.stderr}`).toBe(1);
  expect(result.stderr, what).toMatch(/^quicksave: [A-Z].*\.\n/);
  expect(result.stderr, what).not.toContain('inside quicksave');
  expect(isLeft(sample.pid, 'busy-threads'), `a process after ${what}`).toBe(false);
}

const through = (round: number): 'file' | 'stream' => (round % 3 === 2 ? 'stream' : 'file');
const limit = full ? 600_000 : 120_000;

test('a cut image is refused', { timeout: limit }, async () => {
  for (let round = 0; round < rounds; round++) {
    const length = choose(sample.image.length);
    await expectRefusal(sample.image.subarray(0, length), `a cut at byte ${length}`, through(round));
  }
});

test('an image with a flipped bit is refused', { timeout: limit }, async () => {
  for (let round = 0; round < rounds; round++) {
    const changed = Buffer.from(sample.image);
    const bit = choose(changed.length * 8);
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    await expectRefusal(changed, `bit ${bit} flipped`, through(round));
  }
});

test('an image with a record repeated is refused although all checksums are right', { timeout: limit }, async () => {
  const pieces = takeApart(sample.image);
  for (let round = 0; round < rounds; round++) {
    const index = choose(pieces.length);
    const piece = pieces[index] as Piece;
    const at = choose(pieces.length) + 1;
    const image = putTogether([...pieces.slice(0, at), piece, ...pieces.slice(at)]);
    await expectRefusal(image, `record ${index} (type ${piece.type}) again at ${at}`, through(round));
  }
});

test('an image with two records swapped is refused, or means the same', { timeout: limit }, async () => {
  const pieces = takeApart(sample.image);
  const path = join(sample.folder, 'swapped');
  // The program that comes back checks itself, and ends.
  writeFileSync(join(sample.folder, 'go'), '');
  const outcomes = { refused: 0, same: 0 };
  for (let round = 0; round < rounds; round++) {
    const one = choose(pieces.length);
    const other = (one + 1 + choose(pieces.length - 1)) % pieces.length;
    const swapped = pieces.map((piece, index) => pieces[index === one ? other : index === other ? one : index] ?? piece);
    const image = putTogether(swapped);
    writeFileSync(path, image);
    const isStream = through(round) === 'stream';
    const args = ['restart', isStream ? '-' : path, '--files', 'accept-changed'];
    const what = `records ${one} (type ${pieces[one]?.type}) and ${other} (type ${pieces[other]?.type}) swapped`;
    const { status, stderr } = await run(args, isStream ? { stdin: image } : {}).done;
    expect(stderr, what).not.toContain('inside quicksave');
    if (status === 0) {
      expect(stderr, what).toContain('restarted process');
      outcomes.same++;
    } else {
      expect(stderr, what).toMatch(/^quicksave: [A-Z].*\.\n/);
      outcomes.refused++;
    }
    await gone(sample.pid);
  }
  expect(outcomes.refused).toBeGreaterThan(0);
});

test('an image with a record left out is refused although all checksums are right', { timeout: limit }, async () => {
  const needed = takeApart(sample.image);
  const candidates = needed.map((_, index) => index).filter((index) => needed[index]?.type !== RECORD.PGARR);
  for (let round = 0; round < rounds; round++) {
    const index = candidates[choose(candidates.length)] ?? 0;
    const image = putTogether(needed.filter((_, other) => other !== index));
    await expectRefusal(image, `record ${index} (type ${needed[index]?.type}) left out`, through(round));
  }
});

/** Places in binary payloads that are lengths, counts, selectors or reserved, with values that cannot be. */
const lies: readonly { type: number; at: number; value: number; what: string }[] = [
  { type: RECORD.HEAD, at: 8, value: 99, what: 'format version' },
  { type: RECORD.HEAD, at: 12, value: 0x7fffffff, what: 'length of HEAD' },
  { type: RECORD.PGARR, at: 0, value: 7, what: 'encoding of a page chunk' },
  { type: RECORD.PGARR, at: 4, value: 0x00ffffff, what: 'number of runs' },
  { type: RECORD.PGARR, at: 8, value: 0x7fffffff, what: 'raw bytes' },
  { type: RECORD.PGARR, at: 16, value: 1, what: 'stored bytes' },
  { type: RECORD.PGARR, at: 24, value: 0x7ffffff0, what: 'offset of the data' },
  { type: RECORD.PGARR, at: 32, value: 0x123, what: 'address of a page' },
  { type: RECORD.PGARR, at: 40, value: 0x7fffffff, what: 'length of a run' },
  { type: RECORD.PGARR, at: 44, value: 9, what: 'kind of a run' },
  { type: RECORD.CPU, at: 136, value: 0x08, what: 'cs' },
  { type: RECORD.CPU, at: 160, value: 0x10, what: 'ss' },
  { type: RECORD.CPU, at: 144, value: 0x3002, what: 'eflags' },
  { type: RECORD.CPU, at: 132, value: 0xffff8000, what: 'rip' },
  { type: RECORD.CPU, at: 156, value: 0x10000, what: 'rsp' },
  { type: RECORD.CPU, at: 788, value: 0xffff8000, what: 'fs_base' },
  { type: RECORD.CPU, at: 256, value: 0x2000, what: 'dr7' },
  { type: RECORD.CPU, at: 272 + 24, value: 0xffff0000, what: 'MXCSR' },
  { type: RECORD.CPU, at: 808, value: 0xfffffff0, what: 'xstate size' },
  { type: RECORD.CPU, at: 812, value: 0x00ffffff, what: 'component count' },
  { type: RECORD.CPU, at: 820, value: 0x00ffffff, what: 'component offset' },
  { type: RECORD.THREAD, at: 0, value: 0x7fff, what: 'TLS entries' },
];

test('an image whose binary records lie is refused although all checksums are right', { timeout: limit }, async () => {
  const pieces = takeApart(sample.image);
  for (const [round, lie] of lies.entries()) {
    const index = pieces.findIndex(({ type }) => type === lie.type);
    const piece = pieces[index] as Piece;
    const payload = Buffer.from(piece.payload);
    payload.writeUInt32LE(lie.value, lie.at);
    const image = putTogether(pieces.map((other, at) => (at === index ? { ...piece, payload } : other)));
    await expectRefusal(image, `a lie about the ${lie.what}`, through(round));
  }
});

/** Payloads that are no state of any kind. */
const nonsense: readonly unknown[] = [null, 0, -1, '', [], {}, { pid: 1 }, { mappings: 5 }, { aspects: 7 }, [[[]]], 2n ** 63n];

test('an image whose records hold nonsense is refused although all checksums are right', { timeout: limit }, async () => {
  const pieces = takeApart(sample.image);
  const types = [
    RECORD.TASK,
    RECORD.FNAME,
    RECORD.FD_DATA,
    RECORD.FILES,
    RECORD.MM,
    RECORD.VMA,
    RECORD.TASK_STATE,
    RECORD.THREAD_STATE,
  ];
  let round = 0;
  for (const type of types) {
    for (const value of full ? nonsense : nonsense.slice(0, 4)) {
      const index = pieces.findIndex((piece) => piece.type === type);
      const piece = pieces[index] as Piece;
      const payload = Buffer.from(encodeCbor(value));
      const image = putTogether(pieces.map((other, at) => (at === index ? { ...piece, payload } : other)));
      await expectRefusal(image, `nonsense in a record of type ${type}`, through(round++));
    }
  }
});

test('an image whose saver is no process that could have saved it is refused', async () => {
  const pieces = takeApart(sample.image);
  const savers = [
    { pid: sample.pid, leads: 'nothing' },
    { pid: 0, leads: 'nothing' },
    { pid: 2 ** 22 + 1, leads: 'nothing' },
    { pid: 1, leads: 'everything' },
    { pid: 1 },
    7,
  ];
  for (const saver of savers) {
    const image = putTogether(
      pieces.map((piece) => {
        if (piece.type !== RECORD.TASK) return piece;
        return { ...piece, payload: Buffer.from(encodeCbor({ ...(decodeCbor(piece.payload) as object), saver })) };
      }),
    );
    await expectRefusal(image, `the saver ${JSON.stringify(saver)}`, 'file');
  }
});

test('random changes with right checksums never crash the command or hang it', { timeout: limit }, async () => {
  const pieces = takeApart(sample.image);
  for (let round = 0; round < rounds; round++) {
    const index = choose(pieces.length);
    const piece = pieces[index] as Piece;
    if (piece.type === RECORD.PGARR || piece.payload.length === 0) continue;
    const payload = Buffer.from(piece.payload);
    for (let change = choose(4) + 1; change > 0; change--) payload[choose(payload.length)] = choose(256);
    const path = join(sample.folder, 'changed');
    writeFileSync(path, putTogether(pieces.map((other, at) => (at === index ? { ...piece, payload } : other))));
    const result = await run(['inspect', path]).done;
    expect([0, 1]).toContain(result.status);
    expect(result.stderr).not.toContain('inside quicksave');
  }
});
