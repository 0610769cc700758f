/** The register file of a 64-bit task, in the order of user_regs_struct (sys/user.h), which ptrace gives and takes. */

/** Register names by index. */
export const registerNames = [
  'r15',
  'r14',
  'r13',
  'r12',
  'rbp',
  'rbx',
  'r11',
  'r10',
  'r9',
  'r8',
  'rax',
  'rcx',
  'rdx',
  'rsi',
  'rdi',
  'orig_rax',
  'rip',
  'cs',
  'eflags',
  'rsp',
  'ss',
  'fs_base',
  'gs_base',
  'ds',
  'es',
  'fs',
  'gs',
] as const;

export type RegisterName = (typeof registerNames)[number];

/** Index of each register in a register file. */
export const register = Object.fromEntries(registerNames.map((name, index) => [name, index])) as Record<
  RegisterName,
  number
>;

/** A register file: {@link registerNames} gives the order. */
export type RegisterFile = BigUint64Array;

/** The value of orig_rax outside of any system call. */
export const NO_SYSCALL = 0xffffffffffffffffn;

export function readRegister(file: RegisterFile, name: RegisterName): bigint {
  return file[register[name]] ?? 0n;
}

/** A copy with some registers changed. */
export function withRegisters(
  file: RegisterFile,
  changes: Partial<Record<RegisterName, bigint | number>>,
): RegisterFile {
  const copy = file.slice();
  for (const [name, value] of Object.entries(changes)) {
    copy[register[name as RegisterName]] = BigInt.asUintN(64, BigInt(value));
  }
  return copy;
}

/** rax as the signed result of a system call. */
export function callResult(file: RegisterFile): number {
  return Number(BigInt.asIntN(64, readRegister(file, 'rax')));
}

/** True when the task is inside a system call, whose number is then in orig_rax. */
export function inSyscall(file: RegisterFile): boolean {
  return BigInt.asIntN(64, readRegister(file, 'orig_rax')) >= 0n;
}
