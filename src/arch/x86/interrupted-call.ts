/**
 * System calls that were in flight when the task was stopped. The kernel leaves one of four internal numbers in rax, and
 * decides on the way back to user mode whether the call starts again (arch/x86/kernel/signal.c,
 * arch_do_signal_or_restart). Where registers are set by ptrace, in the same process or in a new one, the kernel is left to
 * decide; for those that the agent's way home sets, the decision is made here as the kernel makes it when no signal handler
 * runs.
 */
import { type CallAbi, callsOf64, usualCallAbi } from './call-abi.ts';
import { callResult, inSyscall, NO_SYSCALL, type RegisterFile, readRegister, withRegisters } from './registers.ts';

const ERESTARTSYS = 512;
const ERESTARTNOINTR = 513;
const ERESTARTNOHAND = 514;
const ERESTART_RESTARTBLOCK = 516;
const EINTR = 4;

/** Bytes of the `syscall` instruction, and of `int 0x80`. */
const CALL_LENGTH = 2n;

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
export function withoutStopInterruption(
  file: RegisterFile,
  signalWaits: () => boolean,
  abi = usualCallAbi(file),
): RegisterFile {
  if (!inSyscall(file) || callResult(file) !== -EINTR) return file;
  const first = Number(argumentOf(file, abi)(0) & 0xffffffffn);
  if (!abi.isInterruptedByStop(Number(readRegister(file, 'orig_rax')), first) || signalWaits()) return file;
  return withRegisters(file, { rax: -ERESTARTNOHAND });
}

/** The registers with which the task starts its call again by itself, without the kernel's help, in this same process. */
export function resolvedHere(file: RegisterFile, abi = usualCallAbi(file)): RegisterFile {
  switch (interruptionOf(file)) {
    case 'none':
      return withRegisters(file, { orig_rax: NO_SYSCALL });
    case 'restart':
      return startedAgain(file, readRegister(file, 'orig_rax'));
    case 'restart-block':
      return startedAgain(file, BigInt(abi.restartSyscall));
  }
}

function startedAgain(file: RegisterFile, callNumber: bigint): RegisterFile {
  return withRegisters(file, {
    rax: callNumber,
    rip: readRegister(file, 'rip') - CALL_LENGTH,
    orig_rax: NO_SYSCALL,
  });
}

const TIMER_ABSTIME = 1n;

/**
 * The registers with which a *new* process goes on. The kernel decides there too: a handler that runs first makes the call
 * answer EINTR, as the program that waits in pause(2) for its handler expects; otherwise it starts again. Only the restart
 * block does not come along, so a call that depends on it is made anew: a relative sleep with the remainder where the kernel
 * has written one to the program's `rem` (nanosleep(2)), any other call with the arguments it had.
 */
export function resolvedAnew(file: RegisterFile, abi = usualCallAbi(file)): RegisterFile {
  if (interruptionOf(file) !== 'restart-block') return file;
  const callNumber = Number(readRegister(file, 'orig_rax'));
  // Which call it once was is not known: see withOriginalCall. No restart block is there: it answers as if interrupted.
  if (callNumber === abi.restartSyscall) return withRegisters(file, { rax: -EINTR, orig_rax: NO_SYSCALL });
  const again = withRegisters(file, { rax: -ERESTARTNOHAND });
  if (abi.nanosleep.includes(callNumber)) return sleepingTheRest(again, abi, 0, 1);
  if (abi.clockNanosleep.includes(callNumber) && (argumentOf(file, abi)(1) & TIMER_ABSTIME) === 0n) {
    return sleepingTheRest(again, abi, 2, 3);
  }
  return again;
}

/** `request` and `remainder` are the numbers of arguments. */
function sleepingTheRest(file: RegisterFile, abi: CallAbi, request: number, remainder: number): RegisterFile {
  const rem = argumentOf(file, abi)(remainder);
  const name = abi.arguments[request];
  return rem === 0n || name === undefined ? file : withRegisters(file, { [name]: rem });
}

/** Bytes before the instruction of the call in which the number of the call is looked for. */
export const CODE_BEFORE_CALL = 32;
const MOV_EAX = 0xb8;
/** No mapping is below (vm.mmap_min_addr): a smaller number is no pointer. */
const LOWEST_POINTER = 0x10000n;
const FUTEX_OPTIONS = 0x180n;

/** Whether the arguments can be those of this call with a restart block. */
function fits(number: number, file: RegisterFile, abi: CallAbi): boolean {
  const argument = argumentOf(file, abi);
  if (abi.nanosleep.includes(number)) return argument(0) >= LOWEST_POINTER;
  if (abi.clockNanosleep.includes(number)) return !isPointer(argument(0)) && argument(2) >= LOWEST_POINTER;
  if (abi.futex.includes(number)) {
    return [0n, 9n].includes(argument(1) & ~FUTEX_OPTIONS) && argument(3) >= LOWEST_POINTER;
  }
  return abi.poll.includes(number) && argument(1) < LOWEST_POINTER;
}

/** A clock is a small number, or a negative one of 32 bits (clock_getcpuclockid(3)). */
const isPointer = (value: bigint): boolean => value >= LOWEST_POINTER && BigInt.asIntN(32, value) >= 0n;

/**
 * A call that was stopped before, by an earlier save or by SIGSTOP, goes on as restart_syscall(2), and the kernel does not
 * tell which call it was; only its arguments are still there. The code says it: `mov eax, number` before the call, if it
 * is the only such number there; or the kernel's function that it waited in before it was stopped (`waitsIn`). The
 * arguments must fit. Undefined if it cannot be told. `code` is what stands before the instruction of the call.
 */
export function withOriginalCall(
  file: RegisterFile,
  code: Uint8Array,
  waitsIn = '',
  abi = usualCallAbi(file),
  timeAt: TimeReader = () => undefined,
): RegisterFile | undefined {
  const number = numberInCode(file, code, abi) ?? numberOfFunction(file, waitsIn, abi, timeAt);
  return number === undefined ? undefined : withRegisters(file, { orig_rax: number });
}

/** Arguments by their number. In 32 bits only the lower halves of the registers count. */
const argumentOf =
  (file: RegisterFile, abi: CallAbi) =>
  (index: number): bigint => {
    const name = abi.arguments[index];
    const value = name === undefined ? 0n : readRegister(file, name);
    return abi === callsOf64 ? value : BigInt.asUintN(32, value);
  };

function numberInCode(file: RegisterFile, code: Uint8Array, abi: CallAbi): number | undefined {
  const bytes = Buffer.from(code);
  const found = new Set<number>();
  for (let at = 0; at + 5 <= bytes.length; at++) {
    if (bytes[at] !== MOV_EAX) continue;
    const number = bytes.readUInt32LE(at + 1);
    if (fits(number, file, abi)) found.add(number);
  }
  return found.size === 1 ? [...found][0] : undefined;
}

/** {@link TIME_SIZE} bytes of the program's memory, where a call's time stands; undefined if they cannot be read. */
export type TimeReader = (address: number) => Buffer | undefined;
export const TIME_SIZE = 12;
const NANOSECONDS = 1_000_000_000;

/** Only four calls have restart blocks: what waits in no futex and no poll sleeps. */
function numberOfFunction(file: RegisterFile, waitsIn: string, abi: CallAbi, timeAt: TimeReader): number | undefined {
  if (waitsIn === '' || waitsIn === '0') return undefined;
  const argument = argumentOf(file, abi);
  const sleep = isPointer(argument(0)) ? abi.nanosleep : abi.clockNanosleep;
  const candidates = waitsIn.includes('futex') ? abi.futex : waitsIn.includes('poll') ? abi.poll : sleep;
  const fitting = candidates.filter((number) => fits(number, file, abi));
  if (fitting.length < 2) return fitting[0];
  const time = timeAt(Number(argument(candidates === abi.futex ? 3 : 2)));
  return time === undefined ? undefined : fitting[hasTimeOf64Bits(time) ? 1 : 0];
}

/**
 * Seconds and nanoseconds of 32 bits, or of 64. A time of 32 bits that can be taken for the other kind is one of whole
 * seconds, and is taken for one that is less than a second longer.
 */
const hasTimeOf64Bits = (time: Buffer): boolean => time.readUInt32LE(4) === 0 && time.readUInt32LE(8) < NANOSECONDS;

/** True if the task stands in restart_syscall(2). */
export const isRestartedCall = (file: RegisterFile, abi = usualCallAbi(file)): boolean =>
  interruptionOf(file) === 'restart-block' && readRegister(file, 'orig_rax') === BigInt(abi.restartSyscall);
