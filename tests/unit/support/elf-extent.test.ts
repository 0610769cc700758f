import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { stubProgram, stubProgram32 } from '../../../src/arch/x86/stub-elf.ts';
import { endOfElf, endOfSectionHeaders } from '../../../src/support/elf-extent.ts';

/** With section headers written into it. */
function withSections(image: Buffer, wide: boolean): Buffer {
  if (wide) image.writeBigUInt64LE(5000n, 40);
  else image.writeUInt32LE(5000, 32);
  image.writeUInt16LE(40, wide ? 58 : 46);
  image.writeUInt16LE(3, wide ? 60 : 48);
  return image;
}

describe('the end of an ELF image', () => {
  const images: [string, Buffer, boolean][] = [
    ['64', stubProgram(0x10_0000, 1).image, true],
    ['32', stubProgram32(0x10_0000, 1).image, false],
  ];
  it.each(images)('of %s bits is that of its last segment or its section headers', (_, image, wide) => {
    expect(endOfElf(image)).toBe(4096);
    const withThem = withSections(Buffer.from(image), wide);
    expect(endOfSectionHeaders(withThem)).toBe(5120);
    expect(endOfElf(withThem)).toBe(5120);
  });

  it('is the end of the file for a program on this machine, whose section headers stand last', () => {
    const program = readFileSync('/bin/true');
    expect(endOfElf(program)).toBe(program.length);
  });

  it('is not known of what is none', () => {
    expect(endOfElf(Buffer.alloc(4096))).toBeUndefined();
    expect(endOfElf(Buffer.from('7f454c46', 'hex'))).toBeUndefined();
  });
});
