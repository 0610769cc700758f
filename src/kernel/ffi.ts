/**
 * The only importer of the FFI. Everything else speaks to Linux through {@link rawSyscall}: one machine-code thunk that
 * enters the kernel and returns its answer as it is (a negative errno on failure). libc's `syscall()` is not used for it,
 * because its errno is a variable that the JavaScript engine may overwrite before we read it.
 *
 * All calls are synchronous and run on the calling thread, as ptrace(2) demands.
 */
import koffi from 'koffi';
import type { LocalAddress } from '../support/brand.ts';

const libc = koffi.load('libc.so.6');
const libcMmap = libc.func('mmap', 'int64_t', ['int64_t', 'size_t', 'int', 'int', 'int', 'int64_t']);

const READ_WRITE_EXECUTE = 7;
const PRIVATE_ANONYMOUS = 0x22;
const CODE_PAGE_SIZE = 4096;

function newCodePage(): { address: number; bytes: Uint8Array } {
  const address = Number(libcMmap(0, CODE_PAGE_SIZE, READ_WRITE_EXECUTE, PRIVATE_ANONYMOUS, -1, 0));
  if (address === -1) throw new Error('no memory for a page of machine code');
  return { address, bytes: new Uint8Array(koffi.view(BigInt(address), CODE_PAGE_SIZE)) };
}

const codePage = newCodePage();
let codePageUsed = 0;

/** Puts machine code into memory that stays for the life of this thread, and returns its address. */
export function installMachineCode(code: Uint8Array): LocalAddress {
  const start = codePageUsed;
  if (start + code.length > CODE_PAGE_SIZE) throw new Error('the page of machine code is full');
  codePage.bytes.set(code, start);
  codePageUsed = (start + code.length + 15) & ~15;
  return (codePage.address + start) as LocalAddress;
}

const sevenLongs = koffi.proto(
  'int64_t quicksave_thunk(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t)',
);

type Argument = number | bigint;
export type Thunk = (
  a: Argument,
  b: Argument,
  c: Argument,
  d: Argument,
  e: Argument,
  f: Argument,
  g: Argument,
) => number | bigint;

/** Makes machine code callable with up to seven integer arguments (System V AMD64 calling convention). */
export function callable(code: Uint8Array): Thunk {
  return koffi.decode(BigInt(installMachineCode(code)), sevenLongs) as Thunk;
}

/*
 * mov rax,rdi; mov rdi,rsi; mov rsi,rdx; mov rdx,rcx; mov r10,r8; mov r8,r9; mov r9,[rsp+8]; syscall; ret
 */
const syscallThunk = callable(Buffer.from('4889f84889f74889d64889ca4d89c24d89c84c8b4c24080f05c3', 'hex'));

/** The thunk itself; with {@link watchSyscalls} or {@link interceptSyscalls}, one that tells of each call or asks about it. */
let enterKernel: Thunk = syscallThunk;

/** Has every system call that this thread makes from now on told to `onCall`, when it has returned. */
export function watchSyscalls(onCall: (number: number, args: readonly Argument[], result: number) => void): void {
  const enter = enterKernel;
  enterKernel = (number, ...args) => {
    const result = enter(number, ...args);
    onCall(Number(number), args, Number(result));
    return result;
  };
}

/** Has `answer` asked before every system call of this thread from now on: the call is made only if it has no answer. */
export function interceptSyscalls(answer: (number: number, args: readonly Argument[]) => number | undefined): void {
  const enter = enterKernel;
  enterKernel = (number, ...args) => answer(Number(number), args) ?? enter(number, ...args);
}

/**
 * Enters the kernel. The result is what the kernel left in rax: a negative errno (-1..-4095) on failure. No call that is
 * used here returns more than 2^53.
 */
export function rawSyscall(
  number: number,
  a: Argument = 0,
  b: Argument = 0,
  c: Argument = 0,
  d: Argument = 0,
  e: Argument = 0,
  f: Argument = 0,
): number {
  return Number(enterKernel(number, a, b, c, d, e, f));
}

/** A function of a C library, from integers to an integer. */
export type LibraryFunction = (...args: readonly Argument[]) => number | bigint;

/**
 * Functions of a library of the system, each with so many arguments of 64 bits; undefined if the library is not there, or has not all of
 * them.
 */
export function tryLibrary<Name extends string>(
  file: string,
  functions: Readonly<Record<Name, number>>,
): Record<Name, LibraryFunction> | undefined {
  try {
    const library = koffi.load(file);
    const entries = Object.entries<number>(functions).map(([name, count]) => {
      const found = library.func(name, 'int64_t', new Array<string>(count).fill('int64_t'));
      return [name, found as unknown as LibraryFunction] as const;
    });
    return Object.fromEntries(entries) as Record<Name, LibraryFunction>;
  } catch {
    return undefined;
  }
}

/** A window of JavaScript onto native memory. The caller keeps the memory mapped as long as it uses the window. */
export function viewOf(address: LocalAddress, sizeBytes: number): ArrayBuffer {
  return koffi.view(BigInt(address), sizeBytes);
}

/** The same on a thread of the pool, for calls that may block for long. Not for ptrace, nor for anything per thread. */
export function rawSyscallAsync(number: number, a: Argument, b: Argument, c: Argument, d: Argument): Promise<number> {
  const { async } = syscallThunk as unknown as { async: (...args: unknown[]) => void };
  return new Promise((resolve, reject) => {
    async(number, a, b, c, d, 0, 0, (error: Error | null, result: number | bigint) => {
      if (error) reject(error);
      else resolve(Number(result));
    });
  });
}
