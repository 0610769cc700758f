/** Streams of 2008 that were cut, changed or made up: refused with one sentence, before any process is made, and nothing is left. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { CR_HDR, CR_HEADER_SIZE } from '../../src/linux-cr/layout.ts';
import { compiled, full, isLeft, mustRun, newFolder, run, said, saveAndEnd, start } from '../support/harness.ts';
import { recordsIn } from '../unit/linux-cr/streams.ts';

interface Sample {
  readonly folder: string;
  readonly pid: number;
  readonly stream: Buffer;
}
let sample: Sample;

beforeEach(async () => {
  const folder = newFolder();
  const target = start(folder, compiled('plain-task', ['-m32']), ['40']);
  await said(target.output, 'ready');
  await saveAndEnd(target.pid, join(folder, 'image'));
  const path = join(folder, 'stream');
  await mustRun('export', '--format', 'linux-cr-v8', join(folder, 'image'), '--output', path);
  sample = { folder, pid: target.pid, stream: readFileSync(path) };
});

const limit = full ? 900_000 : 180_000;
const rounds = full ? 60 : 8;
/** A number below `limit`, the same in every run. */
let seed = 1;
function choose(below: number): number {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed % below;
}

let through: 'file' | 'pipe' = 'file';
async function expectRefusal(stream: Buffer, what: string): Promise<void> {
  through = through === 'file' ? 'pipe' : 'file';
  const path = join(sample.folder, 'damaged');
  writeFileSync(path, stream);
  const args = ['restart', through === 'file' ? path : '-', '--detach'];
  const options = { cwd: sample.folder, ...(through === 'pipe' ? { stdin: stream } : {}) };
  const result = await run(args, options).done;
  expect(result.status, `${what} (${through}): ${result.stderr}`).toBe(1);
  expect(result.stderr, what).toMatch(/^quicksave: [A-Z].*\.\n/);
  expect(result.stderr, what).not.toContain('inside quicksave');
  expect(isLeft(sample.pid, 'plain-task'), `a process after ${what}`).toBe(false);
}

function changed(change: (stream: Buffer) => void): Buffer {
  const copy = Buffer.from(sample.stream);
  change(copy);
  return copy;
}

/** One record of each type, so that each is tried. */
function oneOfEach(): { type: number; offset: number; end: number }[] {
  const records = recordsIn(sample.stream);
  return Object.values(CR_HDR).map((type) => {
    const { offset, behind } = records.find((record) => record.type === type) ?? { offset: 0, behind: 0 };
    return { type, offset, end: offset + CR_HEADER_SIZE + sample.stream.readInt16LE(offset + 2) + behind };
  });
}

test('a stream is refused when it is cut between two records, or in the middle of one', { timeout: limit }, async () => {
  for (const { type, offset, end } of oneOfEach()) {
    if (offset > 0) await expectRefusal(sample.stream.subarray(0, offset), `a cut before record ${type}`);
    await expectRefusal(sample.stream.subarray(0, end - 1), `a cut in record ${type}`);
  }
  for (let round = 0; round < rounds; round++) {
    const length = choose(sample.stream.length);
    await expectRefusal(sample.stream.subarray(0, length), `a cut at byte ${length}`);
  }
});

test('a stream is refused with another length or type of a record', { timeout: limit }, async () => {
  for (const { type, offset } of oneOfEach()) {
    const length = sample.stream.readInt16LE(offset + 2);
    const other = [length - 1, length + 1, -1][choose(3)] ?? 0;
    await expectRefusal(
      changed((copy) => copy.writeInt16LE(other, offset + 2)),
      `a length of ${other} in record ${type}`,
    );
    const types = Object.values(CR_HDR).filter((one) => one !== type);
    const swapped = types[choose(types.length)] ?? 0;
    await expectRefusal(
      changed((copy) => copy.writeInt16LE(swapped, offset)),
      `record ${type} as ${swapped}`,
    );
  }
});

const lies: readonly { type: number; at: number; value: number; what: string; says: string }[] = [
  { type: CR_HDR.HEAD, at: 14, value: 1, what: 'revision', says: 'revision' },
  { type: CR_HDR.HEAD, at: 160, value: 0x36383669, what: 'machine', says: 'i686' },
  { type: CR_HDR.MM, at: 8, value: 0x1000, what: 'start of the code', says: 'no file is mapped where its code begins' },
  { type: CR_HDR.VMA, at: 32, value: 0x1000f9, what: 'flags of a mapping', says: 'VM_SHARED' },
  { type: CR_HDR.VMA, at: 12, value: 1, what: 'address of a mapping', says: 'ends before it begins' },
  { type: CR_HDR.PGARR, at: 0, value: 0x7fffffff, what: 'number of pages', says: 'more than are left' },
  { type: CR_HDR.MM_CONTEXT, at: 84, value: 0, what: 'LDT', says: 'LDT entry 9' },
  { type: CR_HDR.THREAD, at: 12, value: 0, what: 'thread areas', says: 'thread area 0' },
  { type: CR_HDR.THREAD, at: 4, value: 0, what: 'number of thread areas', says: 'thread areas' },
  { type: CR_HDR.CPU, at: 136, value: 0x10, what: 'cs', says: 'cs is 0x10' },
  { type: CR_HDR.CPU, at: 144, value: 0x3002, what: 'eflags', says: 'eflags' },
  { type: CR_HDR.CPU, at: 160, value: 0x18, what: 'ss', says: 'ss is 0x18' },
  { type: CR_HDR.CPU, at: 192, value: 0x5b, what: 'gs', says: 'gs is 0x5b' },
  { type: CR_HDR.CPU, at: 256, value: 0x2000, what: 'dr7', says: 'dr7' },
  { type: CR_HDR.CPU, at: 264, value: 1, what: 'uses_debug', says: 'uses_debug' },
  { type: CR_HDR.CPU, at: 272 + 24, value: 0xffff0000, what: 'MXCSR', says: 'MXCSR' },
  { type: CR_HDR.FD_DATA, at: 0, value: 0xd0003, what: 'type of a file', says: 'symbolic link' },
  { type: CR_HDR.TAIL, at: 0, value: 0, what: 'last magic number', says: 'magic number' },
];

test('a stream whose records lie is refused by what they say', { timeout: limit }, async () => {
  for (const { type, at, value, what, says } of lies) {
    const { offset } = oneOfEach().find((record) => record.type === type) ?? { offset: 0 };
    const stream = changed((copy) => copy.writeUInt32LE(value, offset + CR_HEADER_SIZE + at));
    await expectRefusal(stream, `a lie about the ${what}`);
    const { stderr } = await run(['restart', join(sample.folder, 'damaged')]).done;
    expect(stderr, what).toContain(says);
  }
});

test('random changes never crash the command or hang it', { timeout: limit }, async () => {
  const records = recordsIn(sample.stream);
  for (let round = 0; round < rounds * 4; round++) {
    const stream = changed((copy) => {
      for (let change = choose(4) + 1; change > 0; change--) {
        const { offset } = records[choose(records.length)] ?? { offset: 0 };
        copy[Math.min(copy.length - 1, offset + choose(64))] = choose(256);
      }
    });
    const path = join(sample.folder, 'changed');
    writeFileSync(path, stream);
    for (const command of ['inspect', 'verify']) {
      const result = await run([command, path]).done;
      expect([0, 1]).toContain(result.status);
      expect(result.stderr).not.toContain('inside quicksave');
    }
  }
});
