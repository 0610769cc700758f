/** Signals: numbers, sigaction(2), sigprocmask(2), sigaltstack(2), and what is queued. */
import { defineAbi } from './define-abi.ts';

export const SIGNAL = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGTRAP: 5,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGSEGV: 11,
  SIGUSR2: 12,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
  SIGSTKFLT: 16,
  SIGCHLD: 17,
  SIGCONT: 18,
  SIGSTOP: 19,
  SIGTSTP: 20,
  SIGTTIN: 21,
  SIGTTOU: 22,
  SIGURG: 23,
  SIGXCPU: 24,
  SIGXFSZ: 25,
  SIGVTALRM: 26,
  SIGPROF: 27,
  SIGWINCH: 28,
  SIGIO: 29,
  SIGPWR: 30,
  SIGSYS: 31,
  SIG_BLOCK: 0,
  SIG_UNBLOCK: 1,
  SIG_SETMASK: 2,
} as const;

export const SA = {
  SA_NOCLDSTOP: 0x1,
  SA_NOCLDWAIT: 0x2,
  SA_SIGINFO: 0x4,
  SA_ONSTACK: 0x8000000,
  SA_RESTART: 0x10000000,
  SA_NODEFER: 0x40000000,
  SA_RESETHAND: 0x80000000,
} as const;

export const SS = {
  SS_ONSTACK: 0x1,
  SS_DISABLE: 0x2,
} as const;

/** Origins of a signal, in si_code. */
export const SI = {
  SI_USER: 0,
  SI_KERNEL: 128,
  SI_QUEUE: -1,
  SI_TIMER: -2,
  SI_MESGQ: -3,
  SI_ASYNCIO: -4,
  SI_SIGIO: -5,
  SI_TKILL: -6,
  CLD_EXITED: 1,
  CLD_KILLED: 2,
  CLD_DUMPED: 3,
  CLD_TRAPPED: 4,
  CLD_STOPPED: 5,
  CLD_CONTINUED: 6,
} as const;

export const SIGEV = {
  SIGEV_SIGNAL: 0,
  SIGEV_NONE: 1,
  SIGEV_THREAD: 2,
  SIGEV_THREAD_ID: 4,
} as const;

export const signalAbi = defineAbi({
  headers: ['signal.h'],
  constants: { ...SIGNAL, ...SA, ...SS, ...SI, ...SIGEV },
  structs: {
    /** The head that all kinds share, and the fields of kill and sigqueue. */
    siginfo: {
      cType: 'siginfo_t',
      size: 128,
      fields: {
        si_signo: [0, 'i32'],
        si_errno: [4, 'i32'],
        si_code: [8, 'i32'],
        si_pid: [16, 'i32'],
        si_uid: [20, 'u32'],
        si_value: [24, 'u64'],
      },
    },
    stack: {
      cType: 'stack_t',
      size: 24,
      fields: {
        ss_sp: [0, 'addr'],
        ss_flags: [8, 'i32'],
        ss_size: [16, 'u64'],
      },
    },
    /** What the rt_sigaction system call takes. Not in any header for user space: glibc has a struct of its own. */
    kernel_sigaction: {
      cType: 'struct kernel_sigaction',
      definition:
        'struct kernel_sigaction { void *handler; unsigned long sa_flags; void *restorer; unsigned long mask; };',
      size: 32,
      fields: {
        handler: [0, 'addr'],
        sa_flags: [8, 'u64'],
        restorer: [16, 'addr'],
        mask: [24, 'u64'],
      },
    },
    sigevent: {
      size: 64,
      fields: {
        sigev_value: [0, 'u64'],
        sigev_signo: [8, 'i32'],
        sigev_notify: [12, 'i32'],
      },
    },
  },
});

/** Size of the kernel's sigset_t: 64 signals. glibc's own is 128 bytes. */
export const KERNEL_SIGSET_SIZE = 8;
/** The handlers SIG_DFL and SIG_IGN, which are pointers in C. */
export const SIG_DFL = 0;
export const SIG_IGN = 1;
/** Highest signal number; real-time signals are 32 to 64 for the kernel. */
export const NSIG = 64;
/** Set in sa_flags by every x86 C library (asm/signal.h, hidden by glibc's header). */
export const SA_RESTORER = 0x04000000;

const NAMES = new Map<number, string>(
  Object.entries(SIGNAL)
    .filter(([name]) => !name.startsWith('SIG_'))
    .map(([name, number]) => [number, name]),
);

/** `SIGTERM`, `SIGRT+3` (counted from 32, the kernel's first), or `signal 99`. */
export function signalName(signal: number): string {
  const name = NAMES.get(signal);
  if (name !== undefined) return name;
  return signal >= 32 && signal <= NSIG ? `SIGRT+${signal - 32}` : `signal ${signal}`;
}
