/** The numbers of calls in call-abi.ts, which says them without the tables of the kernel's ABI. */
import { describe, expect, it } from 'vitest';
import { type CallAbi, callsOf64, callsOfI386 } from '../../src/arch/x86/call-abi.ts';
import { SYS } from '../../src/kernel/abi/syscall.ts';
import { SYS_I386 } from '../../src/kernel/abi/syscall-i386.ts';

const interruptedBy = (abi: CallAbi): number[] =>
  Array.from({ length: 500 }, (_, number) => number).filter((number) => abi.isInterruptedByStop(number, 0));
const ascending = (numbers: readonly number[]): number[] => [...numbers].sort((a, b) => a - b);

describe('the calls of x86-64', () => {
  it('have their numbers', () => {
    const { restart_syscall, nanosleep, clock_nanosleep, futex, poll } = SYS;
    expect(callsOf64).toMatchObject({
      restartSyscall: restart_syscall,
      nanosleep: [nanosleep],
      clockNanosleep: [clock_nanosleep],
      futex: [futex],
      poll: [poll],
      epollWait: [SYS.epoll_wait, SYS.epoll_pwait],
    });
    const {
      semop,
      rt_sigtimedwait,
      io_getevents,
      semtimedop,
      epoll_wait,
      epoll_pwait,
      io_pgetevents,
      io_uring_enter,
      epoll_pwait2,
    } = SYS;
    const calls = [
      semop,
      rt_sigtimedwait,
      io_getevents,
      semtimedop,
      epoll_wait,
      epoll_pwait,
      io_pgetevents,
      io_uring_enter,
      epoll_pwait2,
    ];
    const ofSockets = [
      ...([SYS.read, SYS.write, SYS.readv, SYS.writev, SYS.connect, SYS.accept, SYS.accept4] as const),
      ...([SYS.sendto, SYS.recvfrom, SYS.sendmsg, SYS.recvmsg, SYS.recvmmsg, SYS.sendmmsg] as const),
    ];
    expect(interruptedBy(callsOf64)).toEqual(ascending([...calls, ...ofSockets]));
  });
});

describe('the calls of i386', () => {
  it('have their numbers', () => {
    const { restart_syscall, nanosleep, clock_nanosleep, clock_nanosleep_time64, futex, futex_time64, poll } = SYS_I386;
    expect(callsOfI386).toMatchObject({
      restartSyscall: restart_syscall,
      nanosleep: [nanosleep],
      clockNanosleep: [clock_nanosleep, clock_nanosleep_time64],
      futex: [futex, futex_time64],
      poll: [poll],
      epollWait: [SYS_I386.epoll_wait, SYS_I386.epoll_pwait],
    });
    const names = [
      ...([
        'rt_sigtimedwait',
        'rt_sigtimedwait_time64',
        'io_getevents',
        'io_pgetevents',
        'io_pgetevents_time64',
        'io_uring_enter',
      ] as const),
      ...(['epoll_wait', 'epoll_pwait', 'epoll_pwait2', 'semtimedop_time64'] as const),
      ...(['read', 'write', 'readv', 'writev', 'socketcall', 'connect', 'accept4', 'sendto', 'recvfrom'] as const),
      ...(['sendmsg', 'recvmsg', 'recvmmsg', 'recvmmsg_time64', 'sendmmsg'] as const),
    ];
    expect(interruptedBy(callsOfI386)).toEqual(ascending(names.map((name) => SYS_I386[name])));
    expect(callsOfI386.isInterruptedByStop(SYS_I386.ipc, 4)).toBe(true);
  });
});
