/**
 * The auxiliary vector as execve(2) left it on the stack of an i386 program: the number of arguments, their addresses, those of the
 * environment, each list closed by a zero, then pairs up to AT_NULL (create_elf_tables() in fs/binfmt_elf.c). A stream of
 * 2008 has the stack, but not the kernel's copy of the vector.
 */
import type { CrMmFields } from './layout.ts';

/** Bytes of memory as far as the stream has pages of it; zeros where it has none. */
export type ReadMemory = (address: number, length: number) => Buffer;

const WORD = 4;
const PAIR = 8;
/** More than the kernel allows for arguments and environment together is no stack of execve(2). */
const MAX_LENGTH = 1024 * 1024;
/** AT_VECTOR_SIZE on x86 is below 64 pairs. */
const MAX_VECTOR = 64 * PAIR;
const AT_NULL = Buffer.alloc(PAIR);

/** From the vector's first pair to AT_NULL; AT_NULL alone where the stack is not as execve(2) left it. */
export function auxiliaryVector({ startStack, argStart }: CrMmFields, read: ReadMemory): Buffer {
  const length = argStart - startStack;
  if (startStack % WORD !== 0 || length <= 0 || length > MAX_LENGTH) return AT_NULL;
  const stack = read(startStack, length - (length % WORD));
  const word = (at: number): number => (at + WORD <= stack.length ? stack.readUInt32LE(at) : 0);
  let at = WORD * (1 + word(0));
  if (at >= stack.length || word(at) !== 0) return AT_NULL;
  for (at += WORD; at < stack.length && word(at) !== 0; at += WORD);
  const start = at + WORD;
  for (at = start; at + PAIR <= stack.length && at - start < MAX_VECTOR; at += PAIR) {
    if (word(at) === 0) return Buffer.from(stack.subarray(start, at + PAIR));
  }
  return AT_NULL;
}
