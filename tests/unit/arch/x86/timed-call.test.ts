import { describe, expect, it } from 'vitest';
import { callsOf64, callsOfI386 } from '../../../../src/arch/x86/call-abi.ts';
import { readRegister } from '../../../../src/arch/x86/registers.ts';
import {
  argumentsForRest,
  encodeTime,
  restOf,
  timedCallOf,
  withRestInRegister,
} from '../../../../src/arch/x86/timed-call.ts';
import { RESTART } from '../../../../src/kernel/abi/errno.ts';
import { SYS } from '../../../../src/kernel/abi/syscall.ts';
import { SYS_I386 } from '../../../../src/kernel/abi/syscall-i386.ts';
import { inCall, running } from './samples.ts';

const BLOCK = -RESTART.ERESTART_RESTARTBLOCK;
const AT = 0x7000_0000;
const REST_AT = 0x7000_1000;
const HERE = 0x6000;
const second = 1_000_000_000n;
/** Five seconds where the program has its timeout, 1.25 where the kernel has written what is left. */
const timeAt =
  (word: 4 | 8) =>
  (address: number): Buffer | undefined => {
    if (address === AT) return Buffer.concat([encodeTime(5n * second, word), Buffer.alloc(4)]);
    return address === REST_AT ? Buffer.concat([encodeTime((5n * second) / 4n, word), Buffer.alloc(4)]) : undefined;
  };

const calls64 = [
  ['nanosleep', { rdi: AT, rsi: 0 }, 0],
  ['clock_nanosleep', { rdi: 1, rsi: 0, rdx: AT, r10: 0 }, 2],
  ['futex', { rdi: 0x1000, rsi: 0x80, rdx: 3, r10: AT }, 3],
] as const;

describe('a call with a relative timeout', () => {
  it.each(calls64)('waits for its time without what it has lasted: %s', (name, registers, timeout) => {
    const file = inCall(SYS[name], BLOCK, registers);
    const call = timedCallOf(file);
    expect(call).toMatchObject({ number: SYS[name], timeout, unit: 8, remainder: 0n });
    if (call === undefined) return;
    expect(restOf(call, 2n * second, timeAt(8))).toBe(3n * second);
    expect(restOf(call, 9n * second, timeAt(8))).toBe(0n);
    expect(restOf(call, 0n, () => undefined)).toBeUndefined();
    const args = argumentsForRest(call, 3n * second, HERE);
    expect(args).toEqual(call.arguments.map((argument, index) => (index === timeout ? BigInt(HERE) : argument)));
  });

  it('in milliseconds is rounded up', () => {
    const call = timedCallOf(inCall(SYS.poll, BLOCK, { rdi: AT, rsi: 1, rdx: 5000 }));
    expect(call).toMatchObject({ number: SYS.poll, timeout: 2, unit: 'milliseconds' });
    if (call === undefined) return;
    const rest = restOf(call, second + 1n, timeAt(8));
    expect(rest).toBe(4n * second - 1n);
    expect(argumentsForRest(call, rest ?? 0n, HERE).slice(0, 3)).toEqual([BigInt(AT), 1n, 4000n]);
  });

  it.each([
    ['nanosleep', { rdi: AT, rsi: REST_AT }],
    ['clock_nanosleep', { rdi: 0, rsi: 0, rdx: AT, r10: REST_AT }],
  ] as const)('that has a place for its rest goes by what the kernel has written there: %s', (name, registers) => {
    const call = timedCallOf(inCall(SYS[name], BLOCK, registers));
    expect(call && restOf(call, 0n, timeAt(8))).toBe((5n * second) / 4n);
  });

  it.each([
    ['nanosleep', 4, { rbx: AT, rcx: 0 }],
    ['clock_nanosleep', 4, { rbx: 1, rcx: 0, rdx: AT, rsi: 0 }],
    ['clock_nanosleep_time64', 8, { rbx: 1, rcx: 0, rdx: AT, rsi: 0 }],
    ['futex', 4, { rbx: 0x1000, rcx: 0, rdx: 3, rsi: AT }],
    ['futex_time64', 8, { rbx: 0x1000, rcx: 0, rdx: 3, rsi: AT }],
  ] as const)('of i386 has words of its own: %s has %d bytes', (name, unit, registers) => {
    const call = timedCallOf(inCall(SYS_I386[name], BLOCK, { cs: 0x23, ...registers }));
    expect(call).toMatchObject({ number: SYS_I386[name], unit });
    expect(call && restOf(call, second, timeAt(unit))).toBe(4n * second);
  });

  it.each([
    ['an absolute sleep', inCall(SYS.clock_nanosleep, BLOCK, { rdi: 1, rsi: 1, rdx: AT })],
    ['a sleep by processor time', inCall(SYS.clock_nanosleep, BLOCK, { rdi: 2, rsi: 0, rdx: AT })],
    ['a futex with an absolute time', inCall(SYS.futex, BLOCK, { rsi: 0x189, r10: AT })],
    ['a futex without a time', inCall(SYS.futex, BLOCK, { rsi: 0, r10: 0 })],
    ['a poll without end', inCall(SYS.poll, BLOCK, { rdx: 0xffff_ffffn })],
    ['a call that starts again', inCall(SYS.poll, -RESTART.ERESTARTNOHAND, { rdx: 5000 })],
    ['a call with its result', inCall(SYS.poll, 1, { rdx: 5000 })],
    ['code of the program', running],
  ])('is not %s', (_, file) => {
    expect(timedCallOf(file)).toBeUndefined();
  });

  it('with a time that no kernel takes has no rest', () => {
    const call = timedCallOf(inCall(SYS.nanosleep, BLOCK, { rdi: AT, rsi: 0 }));
    const negative = Buffer.alloc(12);
    negative.writeBigInt64LE(-1n);
    const tooLong = Buffer.alloc(12);
    tooLong.writeUInt32LE(1_000_000_000, 8);
    for (const bytes of [negative, tooLong]) expect(call && restOf(call, 0n, () => bytes)).toBeUndefined();
  });
});

describe('epoll_wait', () => {
  const again = -RESTART.ERESTARTNOHAND;

  it.each([
    ['epoll_wait', callsOf64, 'r10', { r10: 5000 }, SYS.epoll_wait],
    ['epoll_pwait', callsOf64, 'r10', { r10: 5000 }, SYS.epoll_pwait],
    ['epoll_wait of i386', callsOfI386, 'rsi', { cs: 0x23, rsi: 5000 }, SYS_I386.epoll_wait],
  ] as const)('has its rest in the register: %s', (_, abi, name, registers, number) => {
    const after = withRestInRegister(inCall(number, again, registers), 2n * second - 1n, abi);
    expect(readRegister(after, name)).toBe(3001n);
  });

  it.each([
    ['without end', inCall(SYS.epoll_wait, again, { r10: 0xffff_ffffn })],
    ['that does not wait', inCall(SYS.epoll_wait, again, { r10: 0 })],
    ['that has its result', inCall(SYS.epoll_wait, 1, { r10: 5000 })],
    ['that is another call', inCall(SYS.futex, again, { r10: 5000 })],
  ])('is left alone %s', (_, file) => {
    expect(withRestInRegister(file, second)).toBe(file);
  });
});
