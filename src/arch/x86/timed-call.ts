/**
 * Calls with a relative timeout, and what is left of it. Four of them have a restart block, in which the kernel keeps the time when
 * they end; those of the epoll_wait(2) kind have none, and take their timeout from a register each time they start.
 */
import { type CallAbi, callsOf64, usualCallAbi } from './call-abi.ts';
import { interruptionOf, type TimeReader } from './interrupted-call.ts';
import { inSyscall, type RegisterFile, readRegister, withRegisters } from './registers.ts';

export interface TimedCall {
  readonly number: number;
  readonly arguments: readonly bigint[];
  /** Which argument is the timeout. */
  readonly timeout: number;
  /** A number of milliseconds, or the address of seconds and nanoseconds in words of so many bytes. */
  readonly unit: 'milliseconds' | 4 | 8;
  /** Where the kernel writes what is left when the call is interrupted; 0 for nowhere. */
  readonly remainder: bigint;
}

const ARGUMENTS = 6;
/** FUTEX_PRIVATE_FLAG and FUTEX_CLOCK_REALTIME of futex(2). FUTEX_WAIT is 0; FUTEX_WAIT_BITSET has an absolute time. */
const FUTEX_OPTIONS = 0x180n;
const FUTEX_WAIT = 0n;
const TIMER_ABSTIME = 1n;
/** CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME and CLOCK_TAI go on by themselves; others count processor time. */
const STEADY_CLOCKS: readonly bigint[] = [0n, 1n, 7n, 11n];

/** The call that left a restart block, if its timeout is a relative one. */
export function timedCallOf(file: RegisterFile, abi = usualCallAbi(file)): TimedCall | undefined {
  if (interruptionOf(file) !== 'restart-block') return undefined;
  const number = Number(readRegister(file, 'orig_rax'));
  const passed = argumentsOf(file, abi);
  const [first = 0n, second = 0n, third = 0n, fourth = 0n] = passed;
  const call = (timeout: number, unit: TimedCall['unit'], remainder = 0n): TimedCall => ({
    number,
    arguments: passed,
    timeout,
    unit,
    remainder,
  });
  if (abi.poll.includes(number)) return BigInt.asIntN(32, third) > 0n ? call(2, 'milliseconds') : undefined;
  if (abi.nanosleep.includes(number)) return call(0, wordOf(number, abi.nanosleep, abi), second);
  if (abi.clockNanosleep.includes(number)) {
    const isRelative = (second & TIMER_ABSTIME) === 0n && STEADY_CLOCKS.includes(BigInt.asUintN(32, first));
    return isRelative ? call(2, wordOf(number, abi.clockNanosleep, abi), fourth) : undefined;
  }
  const isWait = abi.futex.includes(number) && (BigInt.asUintN(32, second) & ~FUTEX_OPTIONS) === FUTEX_WAIT;
  return isWait && fourth !== 0n ? call(3, wordOf(number, abi.futex, abi)) : undefined;
}

const argumentsOf = (file: RegisterFile, abi: CallAbi): bigint[] =>
  abi.arguments.slice(0, ARGUMENTS).map((name) => {
    const value = readRegister(file, name);
    return abi === callsOf64 ? value : BigInt.asUintN(32, value);
  });

/** Of two numbers of i386 the second has times of 64 bits. */
const wordOf = (number: number, numbers: readonly number[], abi: CallAbi): 4 | 8 =>
  abi === callsOf64 || numbers.indexOf(number) > 0 ? 8 : 4;

const MILLISECOND = 1_000_000n;
const SECOND = 1_000_000_000n;

/**
 * What is left of its time, in nanoseconds. The kernel has written it down for a sleep with a place for it, to the nanosecond;
 * of others it is the timeout without what the call is known to have lasted. Undefined if the time cannot be read.
 */
export function restOf(call: TimedCall, waitedNs: bigint, timeAt: TimeReader): bigint | undefined {
  const timeout = call.arguments[call.timeout] ?? 0n;
  if (call.unit === 'milliseconds') return lessWaited(BigInt.asIntN(32, timeout) * MILLISECOND, waitedNs);
  if (call.remainder !== 0n) return readTime(timeAt(Number(call.remainder)), call.unit);
  const asked = readTime(timeAt(Number(timeout)), call.unit);
  return asked === undefined ? undefined : lessWaited(asked, waitedNs);
}

const lessWaited = (timeout: bigint, waited: bigint): bigint => (timeout > waited ? timeout - waited : 0n);

/** struct timespec; a time of 64 bits of i386 has 32 bits of nanoseconds that count. */
function readTime(bytes: Buffer | undefined, word: 4 | 8): bigint | undefined {
  if (bytes === undefined) return undefined;
  const seconds = word === 8 ? bytes.readBigInt64LE(0) : BigInt(bytes.readInt32LE(0));
  const nanoseconds = BigInt(bytes.readUInt32LE(word));
  return seconds < 0n || nanoseconds >= SECOND ? undefined : seconds * SECOND + nanoseconds;
}

/** A struct timespec with words of that size. */
export function encodeTime(nanoseconds: bigint, word: 4 | 8): Buffer {
  const bytes = Buffer.alloc(2 * word);
  const seconds = nanoseconds / SECOND;
  if (word === 8) bytes.writeBigInt64LE(seconds, 0);
  else bytes.writeInt32LE(Number(seconds), 0);
  bytes.writeUInt32LE(Number(nanoseconds % SECOND), word);
  return bytes;
}

/** The arguments with which the call waits for the rest only. `at` is where its time stands, if it has one in memory. */
export function argumentsForRest(call: TimedCall, rest: bigint, at: number): bigint[] {
  const milliseconds = (rest + MILLISECOND - 1n) / MILLISECOND;
  return call.arguments.map((argument, index) => {
    if (index !== call.timeout) return argument;
    return call.unit === 'milliseconds' ? milliseconds : BigInt(at);
  });
}

/**
 * epoll_wait(2) and epoll_pwait(2), which start again with whatever their register says: with what is left. After the call the
 * program finds that in the register of the argument.
 */
export function withRestInRegister(file: RegisterFile, waitedNs: bigint, abi = usualCallAbi(file)): RegisterFile {
  if (!inSyscall(file) || interruptionOf(file) !== 'restart') return file;
  const name = abi.arguments[EPOLL_TIMEOUT];
  if (name === undefined || !abi.epollWait.includes(Number(readRegister(file, 'orig_rax')))) return file;
  const timeout = BigInt.asIntN(32, readRegister(file, name));
  if (timeout <= 0n) return file;
  const rest = lessWaited(timeout * MILLISECOND, waitedNs);
  return withRegisters(file, { [name]: (rest + MILLISECOND - 1n) / MILLISECOND });
}

const EPOLL_TIMEOUT = 3;

/** Whether a thread that is in this call can be asked how long it has waited. */
export const hasTimeout = (number: number, abi: CallAbi): boolean =>
  number === abi.restartSyscall ||
  [abi.poll, abi.nanosleep, abi.clockNanosleep, abi.futex, abi.epollWait].some((numbers) => numbers.includes(number));
