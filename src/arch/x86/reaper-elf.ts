/** The first process of a pid namespace, when all that it has left to do is to stay: it reaps whatever ends, and ends behind the last. */
import { onePageProgram } from './stub-elf.ts';

const ADDRESS = 0x1000_0000;
const ENTRY_OFFSET = 0x100;

/*
 * again: mov edi,-1; xor esi,esi; mov edx,0x40000000 (__WALL); xor r10d,r10d; mov eax,61 (wait4); syscall
 * test rax,rax; jns again; cmp eax,-4 (EINTR); je again
 * xor edi,edi; mov eax,231 (exit_group); syscall
 */
const code = Buffer.from('bfffffffff31f6ba000000404531d2b83d0000000f054885c079e583f8fc74e031ffb8e70000000f05', 'hex');

/** An ELF64 executable (elf(5)) of one page. */
export function reaperProgram(): Buffer {
  const image = onePageProgram(ADDRESS, ENTRY_OFFSET);
  image.set(code, ENTRY_OFFSET);
  return image;
}
