/** Type information of a kernel that has just the structs that a test gives it. */
import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { KernelTypes } from '../../../src/kernel/kernel-types.ts';

const names = ['', 'inner', 'outer', 'a', 'b', 'flag', 'word', 'alias', 'list'] as const;
const strings = Buffer.from(`${names.join('\0')}\0`);
const nameAt = (name: (typeof names)[number]): number => (name === '' ? 0 : strings.indexOf(`\0${name}\0`) + 1);

const words = (...values: number[]): Buffer => Buffer.from(Uint32Array.from(values).buffer);
const info = (kind: number, members = 0, hasBitFields = false): number =>
  ((hasBitFields ? 0x8000_0000 : 0) | (kind << 24) | members) >>> 0;

/** Type ids begin at 1. */
const types = Buffer.concat([
  // 1: int word, of 4 bytes. 2: an array of it. 3: enum of one value.
  words(nameAt('word'), info(1), 4, 32),
  words(nameAt(''), info(3), 0, 1, 1, 4),
  words(nameAt(''), info(6, 1), 4, nameAt('a'), 0),
  // 4: struct inner { word a; word b; }
  words(nameAt('inner'), info(4, 2), 8, nameAt('a'), 1, 0, nameAt('b'), 1, 32),
  // 5: typedef inner alias. 6: const alias.
  words(nameAt('alias'), info(8), 4),
  words(nameAt(''), info(10), 5),
  // 7: union { word a; word word[4]; }
  words(nameAt(''), info(5, 2), 16, nameAt('a'), 1, 0, nameAt('word'), 2, 0),
  // 8: struct outer { word flag : 3 at bit 5; const alias list; union of 7; }
  words(nameAt('outer'), info(4, 3, true), 32, nameAt('flag'), 1, (3 << 24) | 5),
  words(nameAt('list'), 6, 64, nameAt(''), 7, 128),
]);

function typesOf(magic = 0xeb9f): KernelTypes | undefined {
  const header = Buffer.alloc(24);
  header.writeUInt16LE(magic, 0);
  header.writeUInt32LE(24, 4);
  header.writeUInt32LE(types.length, 12);
  header.writeUInt32LE(types.length, 16);
  header.writeUInt32LE(strings.length, 20);
  const path = join(tmpdir(), `quicksave-btf-${process.pid}`);
  writeFileSync(path, Buffer.concat([header, types, strings]));
  return KernelTypes.tryRead(path);
}

describe('the type information of a kernel', () => {
  const known = typesOf();

  it('has sizes of structs', () => {
    expect(known?.sizeOf('inner')).toBe(8);
    expect(known?.sizeOf('outer')).toBe(32);
    expect(known?.sizeOf('alias')).toBeUndefined();
    expect(known?.sizeOf('nothing')).toBeUndefined();
  });

  it.each([
    ['inner', 'b', { bitOffset: 32, bits: 0 }],
    ['outer', 'flag', { bitOffset: 5, bits: 3 }],
    ['outer', 'list', { bitOffset: 64, bits: 0 }],
    ['outer', 'list.b', { bitOffset: 96, bits: 0 }],
    ['outer', 'a', { bitOffset: 128, bits: 0 }],
    ['outer', 'word', { bitOffset: 128, bits: 0 }],
    ['outer', 'b', undefined],
    ['outer', 'flag.a', undefined],
    ['nothing', 'a', undefined],
  ])('knows where in %s %s is', (struct, field, place) => {
    expect(known?.fieldOf(struct, field)).toEqual(place);
  });

  it('is not there where the file is missing or something else', () => {
    expect(KernelTypes.tryRead('/nowhere')).toBeUndefined();
    expect(typesOf(0x9feb)).toBeUndefined();
  });
});
