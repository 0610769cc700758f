/** The system call that a thread was in when it was saved, as a debugger would show it. */
import { interruptionOf } from '../arch/x86/interrupted-call.ts';
import { callResult, inSyscall, type RegisterFile, type RegisterName, readRegister } from '../arch/x86/registers.ts';
import { errnoName } from '../kernel/abi/errno.ts';
import { syscallName } from '../kernel/abi/syscall.ts';
import { syscallNameI386 } from '../kernel/abi/syscall-i386.ts';
import { hex } from './names.ts';

export interface SystemCallInspection {
  readonly number: number;
  readonly name: string;
  /** As many as the call takes where that is known, else all six registers that arguments are passed in. */
  readonly arguments: readonly string[];
  /**
   * `again`: with the same arguments. `rest`: the call waits for the time that is left. `done`: it has its result, and the
   * program sees that.
   */
  readonly restarts: 'again' | 'rest' | 'done';
  /** Only of a call that is done; a negative errno is a failure. */
  readonly result?: number;
  readonly error?: string;
}

/** Code segment of 32-bit programs (__USER32_CS). */
const USER32_CS = 0x23n;
const argumentRegisters: readonly RegisterName[] = ['rdi', 'rsi', 'rdx', 'r10', 'r8', 'r9'];
const argumentRegisters32: readonly RegisterName[] = ['rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp'];

/** How many arguments the calls take in which programs spend their time. */
const argumentCounts: Readonly<Record<string, number>> = {
  accept: 3,
  accept4: 4,
  clock_nanosleep: 4,
  connect: 3,
  epoll_pwait: 6,
  epoll_pwait2: 6,
  epoll_wait: 4,
  fcntl: 3,
  flock: 2,
  fdatasync: 1,
  fsync: 1,
  futex: 6,
  futex_waitv: 5,
  getrandom: 3,
  io_getevents: 5,
  io_uring_enter: 6,
  ioctl: 3,
  mq_timedreceive: 5,
  mq_timedsend: 5,
  msgrcv: 5,
  msgsnd: 4,
  nanosleep: 2,
  open: 3,
  openat: 4,
  pause: 0,
  poll: 3,
  ppoll: 5,
  pread64: 4,
  pselect6: 6,
  pwrite64: 4,
  read: 3,
  readv: 3,
  recvfrom: 6,
  recvmmsg: 5,
  recvmsg: 3,
  restart_syscall: 0,
  rt_sigsuspend: 2,
  rt_sigtimedwait: 4,
  select: 5,
  semop: 3,
  semtimedop: 4,
  sendfile: 4,
  sendmsg: 3,
  sendto: 6,
  splice: 6,
  wait4: 4,
  waitid: 5,
  write: 3,
  writev: 3,
};

/** Undefined for a thread that was running code of its own. */
export function inspectSystemCall(registers: RegisterFile): SystemCallInspection | undefined {
  if (!inSyscall(registers)) return undefined;
  const is32 = readRegister(registers, 'cs') === USER32_CS;
  const number = Number(readRegister(registers, 'orig_rax'));
  const name = is32 ? syscallNameI386(number) : syscallName(number);
  const passed = (is32 ? argumentRegisters32 : argumentRegisters).map((register) =>
    hex(readRegister(registers, register)),
  );
  const count = Object.hasOwn(argumentCounts, name) ? argumentCounts[name] : undefined;
  return { number, name, arguments: passed.slice(0, count), ...outcome(registers) };
}

function outcome(registers: RegisterFile): Pick<SystemCallInspection, 'restarts' | 'result' | 'error'> {
  const interruption = interruptionOf(registers);
  if (interruption === 'restart') return { restarts: 'again' };
  if (interruption === 'restart-block') return { restarts: 'rest' };
  const result = callResult(registers);
  const failed = result < 0 && result >= -4095;
  return { restarts: 'done', result, ...(failed ? { error: errnoName(-result) } : {}) };
}

const endings = {
  again: 'starts again',
  rest: 'goes on for the time that is left',
} as const;

/** `read(0x3, 0x7ff0, 0x100), which starts again` */
export function describeSystemCall(call: SystemCallInspection): string {
  const shown = `${call.name}(${call.arguments.join(', ')})`;
  if (call.restarts !== 'done') return `${shown}, which ${endings[call.restarts]}`;
  return `${shown}, which has returned ${call.error === undefined ? hexResult(call.result ?? 0) : call.error}`;
}

const hexResult = (result: number): string => (result < 0 ? String(result) : hex(result));
