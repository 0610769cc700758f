import { describe, expect, it } from 'vitest';
import { SIGNAL, signalAbi } from '../../../src/kernel/abi/signal.ts';
import { structOf } from '../../../src/kernel/struct.ts';
import { signalNumber, withoutGaps } from '../../../src/resources/pending-signals.ts';
import { sharedPendingSignals } from '../../../src/resources/process/shared-pending-signals.ts';
import { ownPendingSignals } from '../../../src/resources/thread/own-pending-signals.ts';
import { PID, restored, TID } from './in-a-batch.ts';
import { siginfo } from './samples.ts';

const siginfoStruct = structOf(signalAbi.structs.siginfo);

/** As sigqueue(3) sends one. */
const queued = (signal: number, value: bigint): Buffer =>
  siginfoStruct.encode({ si_signo: signal, si_code: -1, si_pid: 77, si_uid: 1000, si_value: value });

describe('a pending signal', () => {
  it.each([1, SIGNAL.SIGUSR1, 34, 64])('%d is known by the number in its siginfo', (signal) => {
    expect(signalNumber(siginfo(signal, 0xff))).toBe(signal);
    expect(signalNumber(queued(signal, 1n))).toBe(signal);
  });

  it('is read from a view that does not begin with its buffer', () => {
    const many = Buffer.concat([siginfo(1), siginfo(2)]);
    expect(signalNumber(many.subarray(128))).toBe(2);
  });
});

describe('a signal that waits without a siginfo', () => {
  const bit = (signal: number): bigint => 1n << BigInt(signal - 1);

  it('is saved as the kernel will deliver it: from kill(2), by nobody', () => {
    const queue = [queued(34, 1n)];
    const found = withoutGaps(queue, bit(34) | bit(SIGNAL.SIGUSR1) | bit(64));
    expect(found.slice(0, 1)).toEqual(queue);
    const zeros = { si_errno: 0, si_code: 0, si_pid: 0, si_uid: 0 };
    expect(found.slice(1)).toEqual(
      [SIGNAL.SIGUSR1, 64].map((si_signo) => siginfoStruct.encode({ si_signo, ...zeros }).subarray(0, 128)),
    );
  });

  it('is none where the queue has all, also what came after the mask was read', () => {
    const queue = [queued(34, 1n), queued(34, 2n), queued(35, 3n)];
    expect(withoutGaps(queue, bit(34))).toEqual(queue);
    expect(withoutGaps([], 0n)).toEqual([]);
  });

  it('is not SIGKILL, which never has one', () => {
    expect(withoutGaps([], bit(SIGNAL.SIGKILL))).toEqual([]);
  });
});

describe('pending signals', () => {
  const queue = [queued(34, 1n), queued(SIGNAL.SIGTERM, 2n), queued(34, 2n ** 64n - 1n)];

  it('of a process are queued again in their order, each with all its bytes', () => {
    const { calls, at } = restored((process) => sharedPendingSignals.restore(queue, process));
    expect(calls.map(({ name, args: [pid, signal] }) => [name, pid, signal])).toEqual([
      ['rt_sigqueueinfo', PID, 34],
      ['rt_sigqueueinfo', PID, SIGNAL.SIGTERM],
      ['rt_sigqueueinfo', PID, 34],
    ]);
    expect(calls.map(({ args }) => at(args[2]).subarray(0, 128))).toEqual(queue);
  });

  it('of a thread are queued again for that thread', () => {
    const { calls, at } = restored((thread) => ownPendingSignals.restore(queue, thread));
    expect(calls.map(({ name, args: [pid, tid, signal] }) => [name, pid, tid, signal])).toEqual([
      ['rt_tgsigqueueinfo', PID, TID, 34],
      ['rt_tgsigqueueinfo', PID, TID, SIGNAL.SIGTERM],
      ['rt_tgsigqueueinfo', PID, TID, 34],
    ]);
    expect(calls.map(({ args }) => at(args[3]).subarray(0, 128))).toEqual(queue);
  });

  it('that are none make no call', () => {
    expect(restored((process) => sharedPendingSignals.restore([], process)).calls).toEqual([]);
    expect(restored((thread) => ownPendingSignals.restore([], thread)).calls).toEqual([]);
  });

  // RLIMIT_SIGPENDING is 15,000 and more on common systems: a RangeError in the middle of the rebuilding.
  it('may be more than fit into one batch', () => {
    const many = Array.from({ length: 4097 }, () => queued(34, 7n));
    expect(restored((process) => sharedPendingSignals.restore(many, process)).calls).toHaveLength(4097);
  });
});
