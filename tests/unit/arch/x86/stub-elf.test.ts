import { describe, expect, it } from 'vitest';
import { machineCode, routines } from '../../../../src/arch/x86/machine-code.ts';
import { stubProgram, stubProgram32 } from '../../../../src/arch/x86/stub-elf.ts';
import { ELF, elfAbi } from '../../../../src/kernel/abi/elf.ts';
import { structOf } from '../../../../src/kernel/struct.ts';

const fileHeader = structOf(elfAbi.structs.Elf64_Ehdr);
const programHeader = structOf(elfAbi.structs.Elf64_Phdr);
const PAGE = 4096;
const ADDRESS = 0x5555_0000_0000;
const PARENT = 31_337;

const { image, callOnce } = stubProgram(ADDRESS, PARENT);
const view = new DataView(image.buffer, image.byteOffset, image.length);
const header = fileHeader.read(view);

describe('the stub program', () => {
  it('is a 64-bit little-endian executable for x86-64', () => {
    expect(Buffer.from(header.e_ident).toString('hex')).toBe(`7f454c46020101${'00'.repeat(9)}`);
    expect(header).toMatchObject({ e_type: ELF.ET_EXEC, e_machine: ELF.EM_X86_64, e_version: 1, e_ehsize: 64 });
  });

  it('is one page, loaded whole at its address, to be read and executed but not written', () => {
    expect(image).toHaveLength(PAGE);
    expect(header).toMatchObject({ e_phoff: 64, e_phentsize: programHeader.size, e_phnum: 1, e_shnum: 0 });
    expect(programHeader.read(view, header.e_phoff)).toEqual({
      p_type: ELF.PT_LOAD,
      p_flags: 5,
      p_offset: 0,
      p_vaddr: ADDRESS,
      p_paddr: ADDRESS,
      p_filesz: PAGE,
      p_memsz: PAGE,
      p_align: PAGE,
    });
  });

  it('has all routines within its page, and begins behind them', () => {
    const start = callOnce - ADDRESS - routines.call_once;
    expect(image.subarray(start, start + machineCode.length)).toEqual(Buffer.from(machineCode));
    expect(header.e_entry - ADDRESS).toBeGreaterThanOrEqual(start + machineCode.length);
    expect(start).toBeGreaterThanOrEqual(header.e_phoff + programHeader.size);
    expect(header.e_entry).toBeLessThan(ADDRESS + PAGE);
  });

  it('tells where a system call instruction stands', () => {
    expect(image.subarray(callOnce - ADDRESS, callOnce - ADDRESS + 2).toString('hex')).toBe('0f05');
  });

  it('differs for another parent in the bytes of its number alone', () => {
    const other = stubProgram(ADDRESS, 0x0102_0304).image;
    const differing = [...image.keys()].filter((index) => image[index] !== other[index]);
    const [first = 0] = differing;
    expect(differing).toEqual([first, first + 1, first + 2, first + 3]);
    expect([image.readInt32LE(first), other.readInt32LE(first)]).toEqual([PARENT, 0x0102_0304]);
  });

  it('is the same code at every address', () => {
    const other = stubProgram(0x10_0000, PARENT);
    const behindHeaders = header.e_phoff + programHeader.size;
    expect(other.image.subarray(behindHeaders)).toEqual(image.subarray(behindHeaders));
    expect(other.callOnce - 0x10_0000).toBe(callOnce - ADDRESS);
  });
});

describe('the stub program of 32 bits', () => {
  const ADDRESS_32 = 0x5550_0000;
  const { image: small, callOnce: call } = stubProgram32(ADDRESS_32, PARENT);
  const at = (offset: number, size: 2 | 4): number =>
    size === 2 ? small.readUInt16LE(offset) : small.readUInt32LE(offset);

  it('is an executable for i386, one page that is loaded whole', () => {
    // Offsets of Elf32_Ehdr and Elf32_Phdr: elf(5).
    expect(small).toHaveLength(PAGE);
    expect(small.subarray(0, 16).toString('hex')).toBe(`7f454c46010101${'00'.repeat(9)}`);
    expect([at(16, 2), at(18, 2), at(20, 4)]).toEqual([ELF.ET_EXEC, ELF.EM_386, 1]);
    expect([at(28, 4), at(40, 2), at(42, 2), at(44, 2)]).toEqual([52, 52, 32, 2]);
    const load = [0, 4, 8, 12, 16, 20, 24, 28].map((offset) => at(52 + offset, 4));
    expect(load).toEqual([ELF.PT_LOAD, 0, ADDRESS_32, ADDRESS_32, PAGE, PAGE, 5, PAGE]);
  });

  it('says that its stack is not executed: else all of its memory could be', () => {
    expect([at(84, 4), at(84 + 24, 4)]).toEqual([ELF.PT_GNU_STACK, 6]);
  });

  it('has the routines of 64 bits and begins behind them', () => {
    const start = call - ADDRESS_32 - routines.call_once;
    expect(small.subarray(start, start + machineCode.length)).toEqual(Buffer.from(machineCode));
    expect(at(24, 4) - ADDRESS_32).toBeGreaterThanOrEqual(start + machineCode.length);
  });
});
