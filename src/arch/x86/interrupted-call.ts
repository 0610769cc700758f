/**
 * System calls that were in flight when the task was stopped. The kernel leaves one of four internal numbers in rax, and
 * decides on the way back to user mode whether the call starts again (arch/x86/kernel/signal.c,
 * arch_do_signal_or_restart). Where the kernel still stands behind the task, it is left to decide; for registers that go
 * back in another way (the agent's way home, a new process), the decision is made here as the kernel makes it when no
 * signal handler runs.
 */
import { callResult, inSyscall, NO_SYSCALL, type RegisterFile, readRegister, withRegisters } from './registers.ts';

const ERESTARTSYS = 512;
const ERESTARTNOINTR = 513;
const ERESTARTNOHAND = 514;
const ERESTART_RESTARTBLOCK = 516;
const EINTR = 4;

/** restart_syscall(2). */
const NR_RESTART_SYSCALL = 219;
/** Bytes of the `syscall` instruction. */
const SYSCALL_LENGTH = 2n;

/**
 * Calls that answer EINTR to any stop, although no handler runs (signal(7), "Interruption of system calls and library
 * functions by stop signals"): the number to the call's name.
 */
const interruptedByStop: ReadonlyMap<number, string> = new Map([
  [65, 'semop'],
  [128, 'rt_sigtimedwait'],
  [208, 'io_getevents'],
  [220, 'semtimedop'],
  [232, 'epoll_wait'],
  [281, 'epoll_pwait'],
  [333, 'io_pgetevents'],
  [441, 'epoll_pwait2'],
]);

export type Interruption = 'none' | 'restart' | 'restart-block';

/** How the call in flight, if any, was left by the stop. */
export function interruptionOf(file: RegisterFile): Interruption {
  if (!inSyscall(file)) return 'none';
  switch (-callResult(file)) {
    case ERESTARTSYS:
    case ERESTARTNOINTR:
    case ERESTARTNOHAND:
      return 'restart';
    case ERESTART_RESTARTBLOCK:
      return 'restart-block';
    default:
      return 'none';
  }
}

/**
 * Calls of the kind that answers EINTR to a stop: the register file is changed so that the kernel starts them again unless
 * a handler runs, which is what a program without a checkpointer would have seen. `signalWaits` says that a signal is
 * pending and not blocked: then the EINTR is the program's own.
 */
export function withoutStopInterruption(file: RegisterFile, signalWaits: () => boolean): RegisterFile {
  if (!inSyscall(file) || callResult(file) !== -EINTR) return file;
  if (!interruptedByStop.has(Number(readRegister(file, 'orig_rax'))) || signalWaits()) return file;
  return withRegisters(file, { rax: -ERESTARTNOHAND });
}

/** The registers with which the task starts its call again by itself, without the kernel's help, in this same process. */
export function resolvedHere(file: RegisterFile): RegisterFile {
  switch (interruptionOf(file)) {
    case 'none':
      return withRegisters(file, { orig_rax: NO_SYSCALL });
    case 'restart':
      return startedAgain(file, readRegister(file, 'orig_rax'));
    case 'restart-block':
      return startedAgain(file, BigInt(NR_RESTART_SYSCALL));
  }
}

function startedAgain(file: RegisterFile, callNumber: bigint): RegisterFile {
  return withRegisters(file, {
    rax: callNumber,
    rip: readRegister(file, 'rip') - SYSCALL_LENGTH,
    orig_rax: NO_SYSCALL,
  });
}

const NR_NANOSLEEP = 35;
const NR_CLOCK_NANOSLEEP = 230;
const TIMER_ABSTIME = 1n;

/**
 * The registers with which a *new* process starts the call again. The kernel's restart block does not come along, so a
 * call that depends on it is made anew: a relative sleep with the remainder where the kernel has written one to the
 * program's `rem` (nanosleep(2)), any other call with the arguments it had.
 */
export function resolvedAnew(file: RegisterFile): RegisterFile {
  const interruption = interruptionOf(file);
  if (interruption === 'none') return withRegisters(file, { orig_rax: NO_SYSCALL });
  const callNumber = readRegister(file, 'orig_rax');
  const again = startedAgain(file, callNumber);
  if (interruption !== 'restart-block') return again;
  if (callNumber === BigInt(NR_NANOSLEEP)) return sleepingTheRest(again, 'rdi', 'rsi');
  if (callNumber === BigInt(NR_CLOCK_NANOSLEEP) && (readRegister(file, 'rsi') & TIMER_ABSTIME) === 0n) {
    return sleepingTheRest(again, 'rdx', 'r10');
  }
  return again;
}

function sleepingTheRest(file: RegisterFile, request: 'rdi' | 'rdx', remainder: 'rsi' | 'r10'): RegisterFile {
  const rem = readRegister(file, remainder);
  return rem === 0n ? file : withRegisters(file, { [request]: rem });
}
