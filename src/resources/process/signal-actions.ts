/**
 * What the process does on each signal: rt_sigaction(2). Asked from inside, because /proc shows only which signals are
 * caught or ignored. The kernel's structure (not libc's) is handler, flags, restorer, mask, 8 bytes each.
 *
 * The kernel notes by which way a handler was set, and gives it a frame of that kind (sigaction_compat_abi() in
 * arch/x86/kernel/signal_32.c): those of a 32-bit program are set as i386 does. Lost, because the kernel does not show it: a
 * handler that a program has set the other way.
 */
import * as v from 'valibot';
import { u32, u64 } from '../../image/schema.ts';
import { NSIG, SIGNAL } from '../../kernel/abi/signal.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import { SYS_I386 } from '../../kernel/abi/syscall-i386.ts';
import type { ProcessAspect } from '../resource.ts';

const KERNEL_SIGACTION_SIZE = 32;
const KERNEL_SIGACTION_SIZE_I386 = 20;
const SIGNAL_SET_SIZE = 8;

const action = v.strictObject({
  signal: v.pipe(u32, v.minValue(1), v.maxValue(NSIG), v.notValues([SIGNAL.SIGKILL, SIGNAL.SIGSTOP])),
  handler: u64,
  flags: u64,
  restorer: u64,
  mask: u64,
});
/** Signals that have their default action are left out. */
const schema = v.pipe(
  v.array(action),
  v.maxLength(NSIG),
  v.check((actions) => new Set(actions.map(({ signal }) => signal)).size === actions.length, 'one action for a signal'),
);
type Action = v.InferOutput<typeof action>;

const changeableSignals = Array.from({ length: NSIG }, (_, index) => index + 1).filter(
  (signal) => signal !== SIGNAL.SIGKILL && signal !== SIGNAL.SIGSTOP,
);

export const signalActions: ProcessAspect<Action[]> = {
  name: 'signalActions',
  schema,
  stage: 'late',
  belongsTo: 'handlers',
  collect: ({ batch }) => {
    const asked = changeableSignals.map((signal) => {
      const data = batch.data(KERNEL_SIGACTION_SIZE);
      batch.call(`read the action of signal ${signal}`, SYS.rt_sigaction, signal, 0, data.address, SIGNAL_SET_SIZE);
      return { signal, data };
    });
    return () => asked.map(({ signal, data }) => decode(signal, data.bytes)).filter((found) => !isDefault(found));
  },
  restore: (state, { batch, is32Bit }) => {
    const bySignal = new Map(state.map((entry) => [entry.signal, entry]));
    // Every signal is set: the process has inherited ignored signals from this command.
    for (const signal of changeableSignals) {
      const wanted = bySignal.get(signal) ?? { signal, handler: 0n, flags: 0n, restorer: 0n, mask: 0n };
      const doing = `set the action of signal ${signal}`;
      const { address } = batch.bytes(is32Bit ? encode32(wanted) : encode(wanted));
      if (is32Bit) batch.callI386(doing, SYS_I386.rt_sigaction, signal, address, 0, SIGNAL_SET_SIZE);
      else batch.call(doing, SYS.rt_sigaction, signal, address, 0, SIGNAL_SET_SIZE);
    }
  },
};

function decode(signal: number, bytes: Buffer): Action {
  return {
    signal,
    handler: bytes.readBigUInt64LE(0),
    flags: bytes.readBigUInt64LE(8),
    restorer: bytes.readBigUInt64LE(16),
    mask: bytes.readBigUInt64LE(24),
  };
}

function encode(entry: Action): Buffer {
  const bytes = Buffer.alloc(KERNEL_SIGACTION_SIZE);
  bytes.writeBigUInt64LE(entry.handler, 0);
  bytes.writeBigUInt64LE(entry.flags, 8);
  bytes.writeBigUInt64LE(entry.restorer, 16);
  bytes.writeBigUInt64LE(entry.mask, 24);
  return bytes;
}

/** The structure of i386: handler, flags, restorer, 4 bytes each, mask. */
function encode32(entry: Action): Buffer {
  const bytes = Buffer.alloc(KERNEL_SIGACTION_SIZE_I386);
  bytes.writeUInt32LE(Number(BigInt.asUintN(32, entry.handler)), 0);
  bytes.writeUInt32LE(Number(BigInt.asUintN(32, entry.flags)), 4);
  bytes.writeUInt32LE(Number(BigInt.asUintN(32, entry.restorer)), 8);
  bytes.writeBigUInt64LE(entry.mask, 12);
  return bytes;
}

const isDefault = (entry: Action): boolean => entry.handler === 0n && entry.flags === 0n && entry.mask === 0n;
