import { describe, expect, it } from 'vitest';
import {
  descriptorFaults,
  FIRST_TLS_ENTRY,
  noSegments,
  threadAreaTable,
  trimmedTable,
  userDescriptors,
} from '../../../../src/arch/x86/segments.ts';
import { absentAt, codeAt, conformingCodeAt, dataAt, readOnlyDataAt, tableOf, unreadableCodeAt } from './samples.ts';

const withByte = (descriptor: Buffer, offset: number, change: (byte: number) => number): Buffer => {
  const copy = Buffer.from(descriptor);
  copy[offset] = change(copy[offset] ?? 0);
  return copy;
};
const inSlot = (descriptor: Buffer): string[] =>
  descriptorFaults({ ...noSegments, threadAreas: tableOf([undefined, descriptor, undefined]) });
const inLdt = (descriptor: Buffer): string[] =>
  descriptorFaults({ ...noSegments, localDescriptors: tableOf([undefined, descriptor]) });

describe('a table of descriptors', () => {
  it('ends with its last descriptor that is not empty', () => {
    expect(trimmedTable(tableOf([undefined, dataAt(1), undefined]))).toEqual(tableOf([undefined, dataAt(1)]));
    expect(trimmedTable(tableOf([undefined, undefined]))).toHaveLength(0);
  });

  it('is told to the kernel entry by entry, without the empty ones', () => {
    const told = userDescriptors(tableOf([dataAt(0x1234_5678), undefined, unreadableCodeAt(0xfedc_ba98)]), 12);
    expect(told.map(({ entry }) => entry)).toEqual([12, 14]);
    expect(told.map(({ bytes }) => [0, 4, 8, 12].map((offset) => bytes.readUInt32LE(offset)))).toEqual([
      [12, 0x1234_5678, 0xfffff, 0b0000001],
      [14, 0xfedc_ba98, 0xfffff, 0b0001101],
    ]);
  });
});

describe('thread areas', () => {
  const tables: [string, Buffer][] = [
    ['three of them', tableOf([dataAt(0xffff_ffff), readOnlyDataAt(0x8000_0001), dataAt(0)])],
    ['one', tableOf([undefined, withByte(dataAt(5), 6, (byte) => byte | 0x90), undefined])],
    ['none', tableOf([undefined, undefined, undefined])],
  ];
  it.each(tables)('%s come back from what the kernel tells as they were', (_, table) => {
    // As PTRACE_GET_THREAD_AREA fills an empty slot: not writable, not present.
    const areas = Buffer.alloc(48);
    for (const offset of [12, 28, 44]) areas.writeUInt32LE(0b101000, offset);
    for (const { entry, bytes } of userDescriptors(table, FIRST_TLS_ENTRY)) bytes.copy(areas, (entry - 12) * 16);
    expect(threadAreaTable(areas)).toEqual(table);
  });
});

describe('a descriptor of an image', () => {
  it('may be data, and empty', () => {
    expect(inSlot(dataAt(7))).toEqual([]);
    expect(inSlot(readOnlyDataAt(0))).toEqual([]);
    expect(inLdt(dataAt(7))).toEqual([]);
    expect(descriptorFaults(noSegments)).toEqual([]);
  });

  it('of the LDT may also be code, of 16 bits, and not present', () => {
    const sixteen = withByte(codeAt(1), 6, (byte) => byte & ~0x40);
    const good = [
      codeAt(1),
      unreadableCodeAt(1),
      absentAt(1),
      sixteen,
      withByte(conformingCodeAt(1), 5, (byte) => byte & 0x7f),
    ];
    for (const descriptor of good) expect(inLdt(descriptor)).toEqual([]);
  });

  const everywhere: [string, Buffer, string][] = [
    ['a call gate', withByte(dataAt(1), 5, () => 0xec), 'is a system segment'],
    ['a task state', withByte(dataAt(1), 5, () => 0x8b), 'is a system segment'],
    ['a segment of the kernel', withByte(dataAt(1), 5, (byte) => byte & ~0x60), 'is a segment of the kernel'],
    ['a segment of ring 2', withByte(dataAt(1), 5, (byte) => byte & ~0x20), 'is a segment of the kernel'],
    ['64-bit code', withByte(codeAt(1), 6, () => 0x2f), 'is 64-bit code'],
  ];
  it.each(everywhere)('must not be %s', (_, descriptor, fault) => {
    expect(inSlot(descriptor)).toEqual([`thread area 1 ${fault}`]);
    expect(inLdt(descriptor)).toEqual([`LDT entry 1 ${fault}`]);
  });

  const inSlots: [string, Buffer][] = [
    ['is code', codeAt(1)],
    ['is code', conformingCodeAt(1)],
    ['is a 16-bit segment', withByte(dataAt(1), 6, (byte) => byte & ~0x40)],
    ['is not present', absentAt(1)],
  ];
  it.each(inSlots)('that %s is no thread area', (fault, descriptor) => {
    expect(inSlot(descriptor)).toEqual([`thread area 1 ${fault}`]);
  });

  it('of the LDT must not be conforming code that is present, and must cover something', () => {
    expect(inLdt(conformingCodeAt(1))).toEqual(['LDT entry 1 is conforming code']);
    const nothing = Buffer.from([0, 0, 0, 0, 0, 0xf3, 0x40, 0]);
    expect(inLdt(nothing)).toEqual(['LDT entry 1 covers nothing']);
  });
});
