/**
 * Registers from an image are checked before any process is made: the kernel refuses some of these itself, but late, and
 * others would kill the task at its first instruction.
 */
import { type RegisterFile, type RegisterName, readRegister } from './registers.ts';
import { isCodeSelector, isDataSelector, isStackSelector, noSegments, type Segments, USER64_CS } from './segments.ts';

/** CF PF AF ZF SF TF DF OF NT RF AC ID: what a user program may change (EFLAGS of the Intel SDM; FLAG_MASK of the kernel). */
const USER_FLAGS = 0x254dd5n;
/** Bit 1 is always set, IF always in user mode. */
const FIXED_FLAGS = 0x202n;

/** TASK_SIZE_MAX of the kernel: a page below the end of 47 bits. */
const USER_SPACE_END = (1n << 47n) - 4096n;
/** All code but 64-bit code has instruction pointers of 32 bits. */
const END_OF_32_BITS = 1n << 32n;

const inUserSpace: readonly RegisterName[] = ['rip', 'rsp', 'fs_base', 'gs_base'];

/** One clause for each register that no user program with these segments can have. */
export function registerFaults(file: RegisterFile, segments: Segments = noSegments): string[] {
  const value = (name: RegisterName): bigint => readRegister(file, name);
  const hex = (name: RegisterName): string => `${name} is 0x${value(name).toString(16)}`;
  const faults = inUserSpace
    .filter((name) => value(name) >= USER_SPACE_END)
    .map((name) => `${hex(name)}, outside of user space`);
  if (value('cs') !== BigInt(USER64_CS) && value('rip') >= END_OF_32_BITS && value('rip') < USER_SPACE_END) {
    faults.push(`${hex('rip')}, where only 64-bit code can be`);
  }
  if (!isCodeSelector(Number(value('cs')), segments)) faults.push(`${hex('cs')}, which is not user code`);
  if (!isStackSelector(Number(value('ss')), segments)) faults.push(`${hex('ss')}, which is not user data`);
  for (const name of ['ds', 'es', 'fs', 'gs'] as const) {
    if (!isDataSelector(Number(value(name)), segments))
      faults.push(`${hex(name)}, which names no segment of the program`);
  }
  if ((value('eflags') & ~(USER_FLAGS | FIXED_FLAGS)) !== 0n) {
    faults.push(`${hex('eflags')}, with bits that no program may set`);
  }
  return faults;
}

/** Debug registers: addresses in user space, dr7 without reserved bits, general detect off. */
export function debugRegisterFaults(values: readonly bigint[]): string[] {
  const faults = values
    .slice(0, 4)
    .flatMap((value, index) => (value >= USER_SPACE_END ? [`dr${index} is outside of user space`] : []));
  if ((values[4] ?? 0n) !== 0n || (values[5] ?? 0n) !== 0n) faults.push('dr4 and dr5, which are none, are not zero');
  const dr7 = values[7] ?? 0n;
  if ((dr7 & ~0xffff07ffn) !== 0n) faults.push(`dr7 is 0x${dr7.toString(16)}, with reserved bits`);
  return [...faults, ...BREAKPOINTS.flatMap((index) => breakpointFault(index, values[index] ?? 0n, dr7))];
}

const BREAKPOINTS = [0, 1, 2, 3] as const;
const EXECUTION = 0;
const PORT = 2;
/** Bytes that a breakpoint covers, by its length field. */
const LENGTHS: readonly bigint[] = [1n, 2n, 8n, 4n];

const isEnabled = (index: number, dr7: bigint): boolean => ((dr7 >> BigInt(index * 2)) & 3n) !== 0n;
/** R/W in the lower two bits, LEN in the upper two. */
const fieldsAt = (index: number): bigint => BigInt(16 + index * 4);

/** What the kernel would refuse when dr7 is set, with the process made already: arch/x86/kernel/hw_breakpoint.c. */
function breakpointFault(index: number, address: bigint, dr7: bigint): string[] {
  if (!isEnabled(index, dr7)) return [];
  const fields = Number((dr7 >> fieldsAt(index)) & 0xfn);
  const kind = fields & 3;
  const length = LENGTHS[fields >> 2] ?? 1n;
  if (kind === PORT) return [`dr${index} is for a port`];
  if (kind === EXECUTION && length !== 1n) return [`dr${index} is for an instruction of ${length} bytes`];
  return address % length === 0n ? [] : [`dr${index} is not aligned to the ${length} bytes that it covers`];
}

/** dr7 without the fields of breakpoints that are not enabled: they mean nothing, and the kernel may refuse them. */
export const withoutUnusedFields = (dr7: bigint): bigint =>
  BREAKPOINTS.reduce((bits, index) => (isEnabled(index, bits) ? bits : bits & ~(0xfn << fieldsAt(index))), dr7);
