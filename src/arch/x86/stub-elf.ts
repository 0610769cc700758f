/**
 * The program that a process begins as before it becomes the one in the image: one page of code at an address that the
 * image leaves free. It asks to die with its parent, and waits to be taken over.
 */
import { machineCode, routines } from './machine-code.ts';

const PAGE = 4096;
const CODE_OFFSET = 0x100;
const ENTRY_OFFSET = 0x400;

/*
 * mov edi,1 (PR_SET_PDEATHSIG); mov esi,9; xor edx,edx; xor r10d,r10d; xor r8d,r8d; mov eax,157 (prctl); syscall
 * mov eax,110 (getppid); syscall; cmp eax,imm32; jne leave
 * again: mov eax,34 (pause); syscall; jmp again
 * leave: mov edi,1; mov eax,231 (exit_group); syscall
 *
 * The parent may have died before the first call: then its pid is not the expected one any more.
 */
function entryCode(parent: number): Buffer {
  const code = Buffer.from(
    'bf01000000be0900000031d24531d24531c0b89d0000000f05' +
      'b86e0000000f053d00000000' +
      '7509b8220000000f05ebf7bf01000000b8e70000000f05',
    'hex',
  );
  code.writeInt32LE(parent, 25 + 8);
  return code;
}

/*
 * The same in 32-bit code, with calls of i386:
 * mov ebx,1; mov ecx,9; xor edx,edx; xor esi,esi; xor edi,edi; mov eax,172 (prctl); int 0x80
 * mov eax,64 (getppid); int 0x80; cmp eax,imm32; jne leave
 * again: mov eax,29 (pause); int 0x80; jmp again
 * leave: mov ebx,1; mov eax,252 (exit_group); int 0x80
 */
function entryCode32(parent: number): Buffer {
  const code32 = Buffer.from(
    'bb01000000b90900000031d231f631ffb8ac000000cd80' +
      'b840000000cd803d00000000' +
      '7509b81d000000cd80ebf7bb01000000b8fc000000cd80',
    'hex',
  );
  code32.writeInt32LE(parent, 23 + 8);
  return code32;
}

export interface StubProgram {
  readonly image: Buffer;
  /** Where a `syscall` instruction stands in the running stub. */
  readonly callOnce: number;
}

/** An ELF64 executable (elf(5)) of one page at `address`, for the parent with this pid. */
export function stubProgram(address: number, parent: number): StubProgram {
  const image = onePageProgram(address, ENTRY_OFFSET);
  image.set(machineCode, CODE_OFFSET);
  entryCode(parent).copy(image, ENTRY_OFFSET);
  return { image, callOnce: address + CODE_OFFSET + routines.call_once };
}

/**
 * The same as an ELF32 executable, which makes a 32-bit process. `address` is below 4 GiB. Its routines are 64-bit code all
 * the same, to be entered with the code segment of 64 bits.
 */
export function stubProgram32(address: number, parent: number): StubProgram {
  const image = Buffer.alloc(PAGE);
  Buffer.from('7f454c46010101', 'hex').copy(image, 0);
  image.writeUInt16LE(2, 16); // ET_EXEC
  image.writeUInt16LE(3, 18); // EM_386
  image.writeUInt32LE(1, 20);
  image.writeUInt32LE(address + ENTRY_OFFSET, 24);
  image.writeUInt32LE(52, 28); // program headers
  image.writeUInt16LE(52, 40);
  image.writeUInt16LE(32, 42);
  image.writeUInt16LE(2, 44);
  // PT_LOAD, readable and executable: the whole page. PT_GNU_STACK: without it all that can be read could be executed too
  // (READ_IMPLIES_EXEC, asm/elf.h).
  [1, 0, address, address, PAGE, PAGE, 5, PAGE, 0x6474e551, 0, 0, 0, 0, 0, 6, 16].forEach((value, index) => {
    image.writeUInt32LE(value, 52 + index * 4);
  });
  image.set(machineCode, CODE_OFFSET);
  entryCode32(parent).copy(image, ENTRY_OFFSET);
  return { image, callOnce: address + CODE_OFFSET + routines.call_once };
}

/** The headers of an ELF64 executable of one page, which begins at `entryOffset`. Code goes behind the first 120 bytes. */
export function onePageProgram(address: number, entryOffset: number): Buffer {
  const image = Buffer.alloc(PAGE);
  Buffer.from('7f454c46020101', 'hex').copy(image, 0);
  image.writeUInt16LE(2, 16); // ET_EXEC
  image.writeUInt16LE(62, 18); // EM_X86_64
  image.writeUInt32LE(1, 20);
  image.writeBigUInt64LE(BigInt(address + entryOffset), 24);
  image.writeBigUInt64LE(64n, 32); // program headers
  image.writeUInt16LE(64, 52);
  image.writeUInt16LE(56, 54);
  image.writeUInt16LE(1, 56);
  writeLoadHeader(image, address);
  return image;
}

/** PT_LOAD, readable and executable: the whole page. */
function writeLoadHeader(image: Buffer, address: number): void {
  image.writeUInt32LE(1, 64);
  image.writeUInt32LE(5, 68);
  image.writeBigUInt64LE(0n, 72);
  image.writeBigUInt64LE(BigInt(address), 80);
  image.writeBigUInt64LE(BigInt(address), 88);
  image.writeBigUInt64LE(BigInt(PAGE), 96);
  image.writeBigUInt64LE(BigInt(PAGE), 104);
  image.writeBigUInt64LE(BigInt(PAGE), 112);
}
