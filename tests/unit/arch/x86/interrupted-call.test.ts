import { describe, expect, it } from 'vitest';
import { callsOfI386 } from '../../../../src/arch/x86/call-abi.ts';
import {
  CODE_BEFORE_CALL,
  interruptionOf,
  isRestartedCall,
  resolvedAnew,
  resolvedHere,
  withOriginalCall,
  withoutStopInterruption,
} from '../../../../src/arch/x86/interrupted-call.ts';
import {
  NO_SYSCALL,
  type RegisterFile,
  type RegisterName,
  readRegister,
  registerNames,
  withRegisters,
} from '../../../../src/arch/x86/registers.ts';
import { ERRNO, RESTART } from '../../../../src/kernel/abi/errno.ts';
import { SYS } from '../../../../src/kernel/abi/syscall.ts';
import { SYS_I386 } from '../../../../src/kernel/abi/syscall-i386.ts';
import { inCall, running } from './samples.ts';

/** The registers that differ, with their new values as signed numbers. */
function changes(before: RegisterFile, after: RegisterFile): Record<string, number> {
  return Object.fromEntries(
    registerNames
      .filter((name) => readRegister(before, name) !== readRegister(after, name))
      .map((name) => [name, Number(BigInt.asIntN(64, readRegister(after, name)))]),
  );
}

const AT_CALL = 0x40_1000 - 2;
const plainRestarts = [
  ['ERESTARTSYS', 512],
  ['ERESTARTNOINTR', 513],
  ['ERESTARTNOHAND', 514],
] as const;
const { ERESTART_RESTARTBLOCK } = RESTART;
/** Arguments of a call, each recognisable. */
const args = { rdi: 1, rsi: 0x7000, rdx: 0x8000, r10: 0x9000, r8: 5, r9: 6 };

describe('the codes of the kernel', () => {
  it.each([...plainRestarts, ['ERESTART_RESTARTBLOCK', 516]] as const)('%s is %d', (name, code) => {
    expect(RESTART[name]).toBe(code);
  });

  it.each(plainRestarts)('%s starts the call again', (_, code) => {
    expect(interruptionOf(inCall(SYS.read, -code))).toBe('restart');
  });

  it('ERESTART_RESTARTBLOCK goes on with the rest of a call', () => {
    expect(interruptionOf(inCall(SYS.nanosleep, -ERESTART_RESTARTBLOCK))).toBe('restart-block');
  });

  it.each([0, 1, -4, -511, -515, -517, 512, 516])('%d is a result like any other', (result) => {
    expect(interruptionOf(inCall(SYS.read, result))).toBe('none');
  });

  it('mean nothing outside of a call', () => {
    for (const code of [512, 513, 514, 516]) {
      expect(interruptionOf(withRegisters(running, { rax: -code, orig_rax: NO_SYSCALL }))).toBe('none');
    }
  });
});

describe('a call in this same process', () => {
  it.each(plainRestarts)('left with %s is made again: its number in rax, one instruction back', (_, code) => {
    const file = inCall(SYS.futex, -code, args);
    expect(changes(file, resolvedHere(file))).toEqual({ rax: SYS.futex, rip: AT_CALL, orig_rax: -1 });
  });

  it('with a restart block is gone on with by restart_syscall', () => {
    const file = inCall(SYS.nanosleep, -ERESTART_RESTARTBLOCK, args);
    expect(changes(file, resolvedHere(file))).toEqual({ rax: SYS.restart_syscall, rip: AT_CALL, orig_rax: -1 });
  });

  it('that has its result keeps it, and is not made again', () => {
    const file = inCall(SYS.write, 16, args);
    expect(changes(file, resolvedHere(file))).toEqual({ orig_rax: -1 });
    const failed = inCall(SYS.write, -ERRNO.EPIPE, args);
    expect(changes(failed, resolvedHere(failed))).toEqual({ orig_rax: -1 });
  });

  it('that there is not changes nothing', () => {
    expect(changes(running, resolvedHere(running))).toEqual({});
  });
});

describe('a call in a new process', () => {
  it.each(plainRestarts)('left with %s is left to the kernel, which sees first whether a handler runs', (_, code) => {
    const file = inCall(SYS.read, -code, args);
    expect(resolvedAnew(file)).toBe(file);
  });

  it('of nanosleep sleeps what the kernel has written down as the rest', () => {
    const file = inCall(SYS.nanosleep, -ERESTART_RESTARTBLOCK, args);
    expect(changes(file, resolvedAnew(file))).toEqual({ rax: -RESTART.ERESTARTNOHAND, rdi: args.rsi });
  });

  it('of a relative clock_nanosleep sleeps the rest too', () => {
    const file = inCall(SYS.clock_nanosleep, -ERESTART_RESTARTBLOCK, { ...args, rsi: 0 });
    expect(changes(file, resolvedAnew(file))).toEqual({ rax: -RESTART.ERESTARTNOHAND, rdx: args.r10 });
  });

  it('of an absolute clock_nanosleep waits for the same time', () => {
    const file = inCall(SYS.clock_nanosleep, -ERESTART_RESTARTBLOCK, { ...args, rsi: 1 });
    expect(changes(file, resolvedAnew(file))).toEqual({ rax: -RESTART.ERESTARTNOHAND });
  });

  it.each([
    ['nanosleep', { rsi: 0 }],
    ['clock_nanosleep', { rsi: 0, r10: 0 }],
  ] as const)('of %s without a place for the rest sleeps again as it was asked', (name, none) => {
    const file = inCall(SYS[name], -ERESTART_RESTARTBLOCK, { ...args, ...none });
    expect(changes(file, resolvedAnew(file))).toEqual({ rax: -RESTART.ERESTARTNOHAND });
  });

  it.each(['poll', 'futex'] as const)('of %s is made again with the arguments it had', (name) => {
    const file = inCall(SYS[name], -ERESTART_RESTARTBLOCK, args);
    expect(changes(file, resolvedAnew(file))).toEqual({ rax: -RESTART.ERESTARTNOHAND });
  });

  it('that has its result keeps it', () => {
    const file = inCall(SYS.read, 3, args);
    expect(resolvedAnew(file)).toBe(file);
  });

  it('that there is not changes nothing', () => {
    expect(resolvedAnew(running)).toBe(running);
  });
});

describe('an EINTR that only our stop has caused', () => {
  // signal(7), "Interruption of system calls and library functions by stop signals".
  const calls = [
    'semop',
    'rt_sigtimedwait',
    'io_getevents',
    'semtimedop',
    'epoll_wait',
    'epoll_pwait',
    'io_pgetevents',
    'epoll_pwait2',
    // With a timeout of the socket.
    'read',
    'write',
    'readv',
    'writev',
    'connect',
    'accept',
    'accept4',
    'sendto',
    'recvfrom',
    'sendmsg',
    'recvmsg',
    'recvmmsg',
    'sendmmsg',
  ] as const;
  const quiet = (): boolean => false;

  it.each(calls)('does not reach %s, which waits on', (name) => {
    const file = inCall(SYS[name], -ERRNO.EINTR, args);
    const mended = withoutStopInterruption(file, quiet);
    expect(changes(file, mended)).toEqual({ rax: -RESTART.ERESTARTNOHAND });
    expect(changes(file, resolvedHere(mended))).toEqual({ rax: SYS[name], rip: AT_CALL, orig_rax: -1 });
    expect(resolvedAnew(mended)).toBe(mended);
  });

  it('is left alone when a signal of its own waits', () => {
    const file = inCall(SYS.epoll_wait, -ERRNO.EINTR);
    expect(withoutStopInterruption(file, () => true)).toBe(file);
  });

  it('is left alone in every other call', () => {
    const others = [SYS.close, SYS.poll, SYS.select, SYS.nanosleep, SYS.pause, SYS.futex, SYS.wait4];
    for (const number of others) {
      const file = inCall(number, -ERRNO.EINTR);
      expect(withoutStopInterruption(file, quiet)).toBe(file);
    }
  });

  it.each([0, 3, -11, -512, -516])('is not seen in a result of %d', (result) => {
    const file = inCall(SYS.epoll_wait, result);
    expect(withoutStopInterruption(file, quiet)).toBe(file);
  });

  it('is not seen outside of a call', () => {
    const file = withRegisters(running, { rax: -ERRNO.EINTR });
    expect(withoutStopInterruption(file, quiet)).toBe(file);
  });

  it('is only asked about where it could matter', () => {
    const asked = (file: RegisterFile): number => {
      let times = 0;
      withoutStopInterruption(file, () => {
        times += 1;
        return false;
      });
      return times;
    };
    expect([asked(inCall(SYS.epoll_wait, -4)), asked(inCall(SYS.close, -4)), asked(running)]).toEqual([1, 0, 0]);
  });
});

describe('the call that restart_syscall goes on with', () => {
  const POINTER = 0x7f00_0000_1000;
  const code = (...bytes: string[]): Buffer => Buffer.from(bytes.join('').padStart(CODE_BEFORE_CALL * 2, '90'), 'hex');
  const movEax = (number: number): string => {
    const bytes = Buffer.alloc(5, 0xb8);
    bytes.writeUInt32LE(number, 1);
    return bytes.toString('hex');
  };
  const restarted = (changes: Partial<Record<RegisterName, number>>): RegisterFile =>
    inCall(SYS.restart_syscall, -ERESTART_RESTARTBLOCK, { rdi: 0, rsi: 0, rdx: 0, r10: 0, ...changes });

  it.each([
    ['nanosleep', { rdi: POINTER, rsi: POINTER }],
    ['clock_nanosleep', { rdi: 1, rdx: POINTER, r10: POINTER }],
    ['futex', { rdi: POINTER, rsi: 0x189, r10: POINTER }],
    ['poll', { rdi: POINTER, rsi: 2, rdx: 5000 }],
  ] as const)('is %s, if the code before says so and the arguments fit', (name, registers) => {
    const file = restarted(registers);
    const original = withOriginalCall(file, code(movEax(SYS[name]), '4c89e7'));
    expect(readRegister(original ?? file, 'orig_rax')).toBe(BigInt(SYS[name]));
    expect(isRestartedCall(file)).toBe(true);
    expect(isRestartedCall(original ?? file)).toBe(false);
  });

  it('is not known without the number in the code', () => {
    expect(withOriginalCall(restarted({ rdi: POINTER }), code('89f8'))).toBeUndefined();
  });

  it.each([
    ['futex_do_wait', 'futex', { rdi: POINTER, rsi: 0, r10: POINTER }],
    ['poll_schedule_timeout.constprop.0', 'poll', { rdi: POINTER, rsi: 1, rdx: 100 }],
    ['hrtimer_nanosleep', 'nanosleep', { rdi: POINTER }],
    ['do_syscall_64', 'clock_nanosleep', { rdi: 1, rdx: POINTER }],
  ] as const)('is told by the function %s that it waited in', (waitsIn, name, registers) => {
    const original = withOriginalCall(restarted(registers), code('89f8'), waitsIn);
    expect(original && readRegister(original, 'orig_rax')).toBe(BigInt(SYS[name]));
  });

  it('is not known of a function that the kernel does not tell', () => {
    expect(withOriginalCall(restarted({ rdi: POINTER }), code('89f8'), '0')).toBeUndefined();
  });

  it('is not known when its arguments do not fit the number', () => {
    expect(withOriginalCall(restarted({ rdi: 1, rdx: POINTER }), code(movEax(SYS.nanosleep)))).toBeUndefined();
  });

  it('is not known when the code has two numbers that fit', () => {
    const both = code(movEax(SYS.nanosleep), movEax(SYS.poll));
    expect(withOriginalCall(restarted({ rdi: POINTER }), both)).toBeUndefined();
  });

  it('answers EINTR in a new process when it is not known', () => {
    const file = restarted({ rdi: POINTER });
    expect(changes(file, resolvedAnew(file))).toEqual({ rax: -ERRNO.EINTR, orig_rax: -1 });
  });
});

describe('a call of i386', () => {
  const inCall32 = (name: keyof typeof SYS_I386, result: number, others = {}): RegisterFile =>
    inCall(SYS_I386[name], result, { cs: 0x23, rip: 0xf7f0_05e9, ...others });
  const POINTER = 0xf7d0_0000;

  it('goes on with the restart_syscall of i386', () => {
    const file = inCall32('nanosleep', -ERESTART_RESTARTBLOCK);
    expect(changes(file, resolvedHere(file))).toEqual({
      rax: SYS_I386.restart_syscall,
      rip: 0xf7f0_05e7,
      orig_rax: -1,
    });
  });

  it.each(['clock_nanosleep', 'clock_nanosleep_time64'] as const)('%s sleeps the rest in a new process', (name) => {
    const file = inCall32(name, -ERESTART_RESTARTBLOCK, { rbx: 1, rcx: 0, rdx: POINTER, rsi: POINTER + 16 });
    expect(changes(file, resolvedAnew(file))).toEqual({ rax: -RESTART.ERESTARTNOHAND, rdx: POINTER + 16 });
  });

  it('from 64-bit code is known by how it was made, not by the code segment', () => {
    const file = inCall(SYS_I386.nanosleep, -ERESTART_RESTARTBLOCK, { rbx: POINTER, rcx: POINTER + 8 });
    expect(changes(file, resolvedAnew(file, callsOfI386))).toEqual({ rax: -RESTART.ERESTARTNOHAND, rbx: POINTER + 8 });
    expect(changes(file, resolvedHere(file, callsOfI386))).toMatchObject({ rax: 0 });
  });

  it.each([
    ['rt_sigtimedwait', 0],
    ['rt_sigtimedwait_time64', 0],
    ['io_getevents', 0],
    ['epoll_wait', 0],
    ['epoll_pwait', 0],
    ['epoll_pwait2', 0],
    ['semtimedop_time64', 0],
    ['ipc', 1],
    ['ipc', 0x1_0004],
    ['socketcall', 10],
    ['recvfrom', 3],
    ['recvmmsg_time64', 3],
  ] as const)('%s (%d) waits on after a stop', (name, rbx) => {
    const file = inCall32(name, -ERRNO.EINTR, { rbx });
    expect(
      changes(
        file,
        withoutStopInterruption(file, () => false),
      ),
    ).toEqual({ rax: -RESTART.ERESTARTNOHAND });
  });

  it('ipc that is no wait for a semaphore keeps its EINTR', () => {
    const file = inCall32('ipc', -ERRNO.EINTR, { rbx: 12 });
    expect(withoutStopInterruption(file, () => false)).toBe(file);
  });

  const restarted = (others: Partial<Record<RegisterName, number>>): RegisterFile =>
    inCall32('restart_syscall', -ERESTART_RESTARTBLOCK, { rbx: POINTER, rcx: 0, rdx: 0, rsi: POINTER, ...others });
  const time = (...words: number[]): (() => Buffer) => {
    const bytes = Buffer.alloc(12);
    words.forEach((word, index) => {
      bytes.writeUInt32LE(word, index * 4);
    });
    return () => bytes;
  };

  it('that goes on by restart_syscall is told by the code before it', () => {
    const code = Buffer.from('b897010000', 'hex');
    const original = withOriginalCall(restarted({ rbx: 1, rdx: POINTER }), code);
    expect(original && readRegister(original, 'orig_rax')).toBe(BigInt(SYS_I386.clock_nanosleep_time64));
  });

  it.each([
    ['futex', time(5, 1000, 0)],
    ['futex', time(5, 0, 1_000_000_000)],
    ['futex_time64', time(5, 0, 1000)],
    ['futex_time64', time(5, 0, 0)],
  ] as const)('or by the function that it waited in, and its time: %s (%#)', (name, timeAt) => {
    const original = withOriginalCall(restarted({}), Buffer.alloc(0), 'futex_do_wait', callsOfI386, timeAt);
    expect(original && readRegister(original, 'orig_rax')).toBe(BigInt(SYS_I386[name]));
  });

  it('is not known if its time cannot be read', () => {
    expect(withOriginalCall(restarted({}), Buffer.alloc(0), 'futex_do_wait', callsOfI386)).toBeUndefined();
  });
});
