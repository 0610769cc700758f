/**
 * Signals that wait for delivery: read with PTRACE_PEEKSIGINFO in their order, queued again from inside with the siginfo
 * that they had. The kernel takes any si_code from a process that signals itself (rt_sigqueueinfo(2)).
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
