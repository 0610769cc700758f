/**
 * System calls that were in flight when the task was stopped. The kernel leaves one of four internal numbers in rax, and
 * decides on the way back to user mode whether the call starts again (arch/x86/kernel/signal.c,
 * arch_do_signal_or_restart). Where registers are set by ptrace, in the same process or in a new one, the kernel is left to
 * decide; for those that the agent's way home sets, the decision is made here as the kernel makes it when no signal handler
 * runs.
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

const NR_POLL = 7;
const NR_NANOSLEEP = 35;
const NR_FUTEX = 202;
const NR_CLOCK_NANOSLEEP = 230;
const TIMER_ABSTIME = 1n;

/**
 * The registers with which a *new* process goes on. The kernel decides there too: a handler that runs first makes the call
 * answer EINTR, as the program that waits in pause(2) for its handler expects; otherwise it starts again. Only the restart
 * block does not come along, so a call that depends on it is made anew: a relative sleep with the remainder where the kernel
 * has written one to the program's `rem` (nanosleep(2)), any other call with the arguments it had.
 */
export function resolvedAnew(file: RegisterFile): RegisterFile {
  if (interruptionOf(file) !== 'restart-block') return file;
  const callNumber = readRegister(file, 'orig_rax');
  // Which call it once was is not known: see withOriginalCall. No restart block is there: it answers as if interrupted.
  if (callNumber === BigInt(NR_RESTART_SYSCALL)) return withRegisters(file, { rax: -EINTR, orig_rax: NO_SYSCALL });
  const again = withRegisters(file, { rax: -ERESTARTNOHAND });
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

/** Bytes before the `syscall` instruction in which the number of the call is looked for. */
export const CODE_BEFORE_CALL = 32;
const MOV_EAX = 0xb8;
/** No mapping is below (vm.mmap_min_addr): a smaller number is no pointer. */
const LOWEST_POINTER = 0x10000n;
const FUTEX_OPTIONS = 0x180n;

/** Whether the arguments can be those of this call with a restart block. */
const fits: ReadonlyMap<number, (argument: Argument) => boolean> = new Map([
  [NR_NANOSLEEP, (argument) => argument('rdi') >= LOWEST_POINTER],
  [NR_CLOCK_NANOSLEEP, (argument) => !isPointer(argument('rdi')) && argument('rdx') >= LOWEST_POINTER],
  [NR_FUTEX, (argument) => [0n, 9n].includes(argument('rsi') & ~FUTEX_OPTIONS) && argument('r10') >= LOWEST_POINTER],
  [NR_POLL, (argument) => argument('rsi') < LOWEST_POINTER],
]);

/** A clock is a small number, or a negative one of 32 bits (clock_getcpuclockid(3)). */
const isPointer = (value: bigint): boolean => value >= LOWEST_POINTER && BigInt.asIntN(32, value) >= 0n;

/**
 * A call that was stopped before, by an earlier save or by SIGSTOP, goes on as restart_syscall(2), and the kernel does not
 * tell which call it was; only its arguments are still there. The code says it: `mov eax, number` before `syscall`, if it
 * is the only such number there; or the kernel's function that it waited in before it was stopped (`waitsIn`). The
 * arguments must fit. Undefined if it cannot be told. `code` is what stands before the `syscall` instruction,
 * {@link CODE_BEFORE_CALL} bytes.
 */
export function withOriginalCall(file: RegisterFile, code: Uint8Array, waitsIn = ''): RegisterFile | undefined {
  const number = numberInCode(file, code) ?? numberOfFunction(file, waitsIn);
  return number === undefined ? undefined : withRegisters(file, { orig_rax: number });
}

type Argument = (name: 'rdi' | 'rsi' | 'rdx' | 'r10') => bigint;

const argumentOf =
  (file: RegisterFile): Argument =>
  (name) =>
    readRegister(file, name);

function numberInCode(file: RegisterFile, code: Uint8Array): number | undefined {
  const bytes = Buffer.from(code);
  const found = new Set<number>();
  for (let at = 0; at + 5 <= bytes.length; at++) {
    if (bytes[at] !== MOV_EAX) continue;
    const number = bytes.readUInt32LE(at + 1);
    if (fits.get(number)?.(argumentOf(file))) found.add(number);
  }
  return found.size === 1 ? [...found][0] : undefined;
}

/** Only four calls have restart blocks: what waits in no futex and no poll sleeps. */
function numberOfFunction(file: RegisterFile, waitsIn: string): number | undefined {
  if (waitsIn === '' || waitsIn === '0') return undefined;
  const sleep = isPointer(readRegister(file, 'rdi')) ? NR_NANOSLEEP : NR_CLOCK_NANOSLEEP;
  const number = waitsIn.includes('futex') ? NR_FUTEX : waitsIn.includes('poll') ? NR_POLL : sleep;
  return fits.get(number)?.(argumentOf(file)) ? number : undefined;
}

/** True if the task stands in restart_syscall(2). */
export const isRestartedCall = (file: RegisterFile): boolean =>
  interruptionOf(file) === 'restart-block' && readRegister(file, 'orig_rax') === BigInt(NR_RESTART_SYSCALL);
