import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readBuildId, readElfIdentity } from '../../../src/support/elf-build-id.ts';

const folder = mkdtempSync(join(tmpdir(), 'quicksave-elf-'));
afterAll(() => rmSync(folder, { recursive: true }));

const ID = '18d2317ab417f26cd6e7ab8c79a6145f730313f8';

interface Shape {
  readonly is64: boolean;
  readonly littleEndian: boolean;
  readonly notes: Buffer;
  readonly alignment: number;
}

function note(name: string, type: number, descriptor: Buffer, littleEndian: boolean, alignment: number): Buffer {
  const pad = (size: number): number => Math.ceil(size / alignment) * alignment;
  const start = pad(12 + name.length);
  const bytes = Buffer.alloc(pad(start + descriptor.length));
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setUint32(0, name.length, littleEndian);
  view.setUint32(4, descriptor.length, littleEndian);
  view.setUint32(8, type, littleEndian);
  bytes.write(name, 12, 'latin1');
  descriptor.copy(bytes, start);
  return bytes;
}

/** An ELF file of a header, one PT_LOAD, one PT_NOTE and the notes. */
function elf({ is64, littleEndian, notes, alignment }: Shape): Buffer {
  const [headerSize, entrySize] = is64 ? [64, 56] : [52, 32];
  const bytes = Buffer.alloc(headerSize + 2 * entrySize);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const word = (at: number, value: number): void =>
    is64 ? view.setBigUint64(at, BigInt(value), littleEndian) : view.setUint32(at, value, littleEndian);
  bytes.write('\x7fELF', 'latin1');
  bytes[4] = is64 ? 2 : 1;
  bytes[5] = littleEndian ? 1 : 2;
  word(is64 ? 32 : 28, headerSize);
  view.setUint16(is64 ? 54 : 42, entrySize, littleEndian);
  view.setUint16(is64 ? 56 : 44, 2, littleEndian);
  view.setUint32(headerSize, 1, littleEndian);
  const entry = headerSize + entrySize;
  view.setUint32(entry, 4, littleEndian);
  word(entry + (is64 ? 8 : 4), bytes.length);
  word(entry + (is64 ? 32 : 16), notes.length);
  word(entry + (is64 ? 48 : 28), alignment);
  return Buffer.concat([bytes, notes]);
}

function identityOf(bytes: Uint8Array) {
  const path = join(folder, 'file');
  writeFileSync(path, bytes);
  return readElfIdentity(path);
}

const shapes = [true, false].flatMap((is64) =>
  [true, false].flatMap((littleEndian) => [4, 8].map((alignment) => ({ is64, littleEndian, alignment }))),
);

const sample = (shape: Omit<Shape, 'notes'>): Buffer => {
  const { littleEndian, alignment } = shape;
  const notes = [
    note('GNU\0', 1, Buffer.alloc(16), littleEndian, alignment),
    note('Another\0', 3, Buffer.alloc(7), littleEndian, alignment),
    note('GNU\0', 3, Buffer.from(ID, 'hex'), littleEndian, alignment),
  ];
  return elf({ ...shape, notes: Buffer.concat(notes) });
};

describe('readBuildId', () => {
  it.each(shapes)('finds the note behind others: %o', (shape) => {
    expect(identityOf(sample(shape))).toEqual({ isElf: true, buildId: ID });
  });

  it('agrees with readelf about the program that runs', () => {
    const expected = /Build ID: ([0-9a-f]+)/.exec(execFileSync('readelf', ['-n', '/bin/sleep'], { encoding: 'utf8' }));
    expect(readBuildId('/bin/sleep')).toBe(expected?.[1]);
    expect(readElfIdentity(process.execPath).isElf).toBe(true);
  });

  it('reads an open descriptor and leaves its position', () => {
    const fd = openSync('/bin/sleep', 'r');
    try {
      expect(readBuildId(fd)).toBe(readBuildId('/bin/sleep'));
      const magic = Buffer.alloc(4);
      readSync(fd, magic);
      expect(magic.toString('latin1')).toBe('\x7fELF');
    } finally {
      closeSync(fd);
    }
  });

  it('says what is no ELF file', () => {
    const notElf = { isElf: false, buildId: undefined };
    expect(identityOf(Buffer.from('#!/bin/sh\n'))).toEqual(notElf);
    expect(identityOf(Buffer.alloc(0))).toEqual(notElf);
    expect(identityOf(Buffer.from('\x7fELF'))).toEqual(notElf);
    expect(readElfIdentity(join(folder, 'absent'))).toEqual(notElf);
    expect(readElfIdentity(folder)).toEqual(notElf);
    expect(readElfIdentity('/dev/zero')).toEqual(notElf);
    expect(readElfIdentity(987654)).toEqual(notElf);
  });

  it('does not wait on a named pipe', () => {
    const path = join(folder, 'fifo');
    execFileSync('mkfifo', [path]);
    expect(readElfIdentity(path).isElf).toBe(false);
  });

  it('has no answer for a file cut anywhere, and never throws', () => {
    const whole = sample({ is64: true, littleEndian: true, alignment: 4 });
    for (let length = 16; length < whole.length; length++) {
      expect(identityOf(whole.subarray(0, length))).toEqual({ isElf: true, buildId: undefined });
    }
  });

  it('survives any single byte being wrong', () => {
    const whole = sample({ is64: true, littleEndian: true, alignment: 4 });
    for (let at = 0; at < whole.length; at++) {
      const broken = Buffer.from(whole);
      broken[at] = 0xff;
      expect(identityOf(broken).buildId ?? '').toMatch(/^[0-9a-f]*$/);
    }
  });

  it('refuses a build id of no or of too many bytes', () => {
    for (const size of [0, 65]) {
      const notes = note('GNU\0', 3, Buffer.alloc(size), true, 4);
      expect(identityOf(elf({ is64: true, littleEndian: true, alignment: 4, notes })).buildId).toBeUndefined();
    }
  });
});
