/**
 * Signals that wait for delivery: read with PTRACE_PEEKSIGINFO in their order, queued again from inside with the siginfo
 * that they had. The kernel takes any si_code from a process that signals itself (rt_sigqueueinfo(2)).
 *
 * A signal that was sent when the queue was full (RLIMIT_SIGPENDING, getrlimit(2)) waits without a siginfo: only its bit in
 * the mask is there. The kernel delivers it as one of kill(2) from nobody, and that is what is saved.
 */
import * as v from 'valibot';
import { byteString } from '../image/schema.ts';
import { NSIG } from '../kernel/abi/signal.ts';

const SIGINFO_SIZE = 128;

/** si_signo, the first field of siginfo_t. */
export const signalNumber = (info: Uint8Array): number => Buffer.from(info).readInt32LE(0);

/** Raw siginfo_t, oldest first. */
export const signalQueue = v.pipe(
  v.array(
    v.pipe(
      byteString(SIGINFO_SIZE),
      v.length(SIGINFO_SIZE, 'a siginfo has 128 bytes'),
      v.check((info) => signalNumber(info) >= 1 && signalNumber(info) <= NSIG, 'a signal number is 1 to 64'),
    ),
  ),
  v.maxLength(1 << 20),
);
export type SignalQueue = v.InferOutput<typeof signalQueue>;

/** It never has a siginfo, and who has it pending is about to end. */
const SIGKILL = 9;

/** The queue, and for each signal of the mask that is not in it what the kernel will make of it: collect_signal(). */
export function withoutGaps(queue: readonly Buffer[], mask: bigint): Buffer[] {
  const queued = new Set(queue.map(signalNumber));
  const lost = Array.from({ length: NSIG }, (_, index) => index + 1)
    .filter((signal) => ((mask >> BigInt(signal - 1)) & 1n) === 1n && signal !== SIGKILL && !queued.has(signal))
    .map(fromNobody);
  return [...queue, ...lost];
}

/** si_code SI_USER, pid and uid 0: all zeros but the number. */
function fromNobody(signal: number): Buffer {
  const info = Buffer.alloc(SIGINFO_SIZE);
  info.writeInt32LE(signal, 0);
  return info;
}
