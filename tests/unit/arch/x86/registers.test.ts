import { expect, it } from 'vitest';
import {
  callResult,
  inSyscall,
  NO_SYSCALL,
  readRegister,
  register,
  registerNames,
  withRegisters,
} from '../../../../src/arch/x86/registers.ts';
import { inCall, running } from './samples.ts';

it('every register has one index, and no two share one', () => {
  expect(registerNames.map((name) => register[name])).toEqual(registerNames.map((_, index) => index));
  expect(new Set(registerNames).size).toBe(27);
});

it('a change leaves every other register, and the original, as they were', () => {
  const before = BigUint64Array.from(registerNames, (_, index) => BigInt(index) + 100n);
  const after = withRegisters(before, { rip: 7n, gs: 8 });
  const changed = registerNames.filter((name) => readRegister(before, name) !== readRegister(after, name));
  expect(changed).toEqual(['rip', 'gs']);
  expect([readRegister(after, 'rip'), readRegister(after, 'gs')]).toEqual([7n, 8n]);
  expect(readRegister(before, 'rip')).toBe(100n + BigInt(register.rip));
});

it('negative values are kept in 64 bits', () => {
  const file = withRegisters(running, { rax: -512, rbx: -1n, rcx: 2n ** 64n + 5n });
  expect([readRegister(file, 'rax'), readRegister(file, 'rbx'), readRegister(file, 'rcx')]).toEqual([
    0xffff_ffff_ffff_fe00n,
    0xffff_ffff_ffff_ffffn,
    5n,
  ]);
  expect(callResult(file)).toBe(-512);
});

it('a result that is no error is positive', () => {
  expect(callResult(withRegisters(running, { rax: 0x7fff_f7ff_f000n }))).toBe(0x7fff_f7ff_f000);
});

it('a thread is in a system call when orig_rax has its number, and read(2) is number 0', () => {
  expect(inSyscall(running)).toBe(false);
  expect(inSyscall(withRegisters(running, { orig_rax: NO_SYSCALL }))).toBe(false);
  expect(inSyscall(inCall(0, -512))).toBe(true);
  expect(inSyscall(inCall(232, -4))).toBe(true);
});
