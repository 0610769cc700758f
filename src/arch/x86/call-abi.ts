/**
 * The two ways in which programs call the kernel: `syscall` with the numbers of x86-64, `int 0x80` and `sysenter` with those
 * of i386. What must be known of each to start a call again.
 */
import { type RegisterFile, type RegisterName, readRegister } from './registers.ts';
import { USER64_CS } from './segments.ts';

export interface CallAbi {
  /** Registers of the arguments, in order. */
  readonly arguments: readonly RegisterName[];
  /** restart_syscall(2). */
  readonly restartSyscall: number;
  /**
   * Calls that answer EINTR to any stop, although no handler runs (signal(7), "Interruption of system calls and library
   * functions by stop signals").
   */
  readonly isInterruptedByStop: (number: number, firstArgument: number) => boolean;
  /** The calls that have restart blocks. */
  readonly nanosleep: readonly number[];
  readonly clockNanosleep: readonly number[];
  readonly futex: readonly number[];
  readonly poll: readonly number[];
  /** Calls whose fourth argument is a number of milliseconds. */
  readonly epollWait: readonly number[];
}

/**
 * semop, rt_sigtimedwait, io_getevents, semtimedop, epoll_wait, epoll_pwait, io_pgetevents, io_uring_enter, epoll_pwait2; and with SO_RCVTIMEO or
 * SO_SNDTIMEO read, write, readv, writev, connect, accept, sendto, recvfrom, sendmsg, recvmsg, accept4, recvmmsg, sendmmsg, none of
 * which has moved anything then.
 */
const interrupted: ReadonlySet<number> = new Set([
  65, 128, 208, 220, 232, 281, 333, 426, 441, 0, 1, 19, 20, 42, 43, 44, 45, 46, 47, 288, 299, 307,
]);

export const callsOf64: CallAbi = {
  arguments: ['rdi', 'rsi', 'rdx', 'r10', 'r8', 'r9'],
  restartSyscall: 219,
  isInterruptedByStop: (number) => interrupted.has(number),
  nanosleep: [35],
  clockNanosleep: [230],
  futex: [202],
  poll: [7],
  epollWait: [232, 281],
};

/**
 * rt_sigtimedwait, io_getevents, epoll_wait, epoll_pwait, io_pgetevents, io_uring_enter; and with times of 64 bits the later ones. Of sockets read, write,
 * readv, writev, socketcall, recvmmsg, sendmmsg, connect, accept4, sendto, sendmsg, recvfrom, recvmsg, recvmmsg_time64.
 */
const interruptedI386: ReadonlySet<number> = new Set([
  177, 247, 256, 319, 385, 416, 420, 421, 426, 441, 3, 4, 145, 146, 102, 337, 345, 362, 364, 369, 370, 371, 372, 417,
]);
/** ipc(2), which has semop and semtimedop as its numbers 1 and 4; a version stands above 16 bits. */
const IPC = 117;
const SEMAPHORE_WAITS: readonly number[] = [1, 4];

/** The second of two numbers is the call with times of 64 bits. */
export const callsOfI386: CallAbi = {
  arguments: ['rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp'],
  restartSyscall: 0,
  isInterruptedByStop: (number, firstArgument) =>
    interruptedI386.has(number) || (number === IPC && SEMAPHORE_WAITS.includes(firstArgument & 0xffff)),
  nanosleep: [162],
  clockNanosleep: [267, 407],
  futex: [240, 422],
  poll: [168],
  epollWait: [256, 319],
};

/**
 * How code of this segment calls: 32-bit code has no other way than that of i386. 64-bit code that uses `int 0x80` has to
 * be known otherwise (PTRACE_GET_SYSCALL_INFO).
 */
export const usualCallAbi = (file: RegisterFile): CallAbi =>
  readRegister(file, 'cs') === BigInt(USER64_CS) ? callsOf64 : callsOfI386;
