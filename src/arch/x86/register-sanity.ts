/**
 * Registers from an image are checked before any process is made: the kernel refuses some of these itself, but late, and
 * others would kill the task at its first instruction.
 */
import { type RegisterFile, type RegisterName, readRegister } from './registers.ts';

/** CF PF AF ZF SF TF DF OF NT RF AC ID: what a user program may change (EFLAGS of the Intel SDM; FLAG_MASK of the kernel). */
const USER_FLAGS = 0x254dd5n;
/** Bit 1 is always set, IF always in user mode. */
const FIXED_FLAGS = 0x202n;

/** TASK_SIZE_MAX of the kernel: a page below the end of 47 bits. */
const USER_SPACE_END = (1n << 47n) - 4096n;
const USER64_CS = 0x33n;
const USER_DS = 0x2bn;

const inUserSpace: readonly RegisterName[] = ['rip', 'rsp', 'fs_base', 'gs_base'];

/** One clause for each register that no 64-bit user program can have. */
export function registerFaults(file: RegisterFile): string[] {
  const value = (name: RegisterName): bigint => readRegister(file, name);
  const faults = inUserSpace
    .filter((name) => value(name) >= USER_SPACE_END)
    .map((name) => `${name} is 0x${value(name).toString(16)}, outside of user space`);
  if (value('cs') !== USER64_CS) faults.push(`cs is 0x${value('cs').toString(16)}, which is not 64-bit user code`);
  if (value('ss') !== USER_DS) faults.push(`ss is 0x${value('ss').toString(16)}, which is not user data`);
  for (const name of ['ds', 'es', 'fs', 'gs'] as const) {
    if (value(name) !== 0n && value(name) !== USER_DS) {
      faults.push(`${name} is 0x${value(name).toString(16)}, which names no segment of a 64-bit program`);
    }
  }
  if ((value('eflags') & ~(USER_FLAGS | FIXED_FLAGS)) !== 0n) {
    faults.push(`eflags is 0x${value('eflags').toString(16)}, with bits that no program may set`);
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
  return faults;
}
