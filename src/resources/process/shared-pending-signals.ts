/** Signals sent to the process as a whole that no thread has taken yet: signal(7). */
import { SYS } from '../../kernel/abi/syscall.ts';
import { peekSignals } from '../../kernel/calls/ptrace.ts';
import { readPendingMasks } from '../../procfs/status.ts';
import { type SignalQueue, signalNumber, signalQueue, withoutGaps } from '../pending-signals.ts';
import type { ProcessAspect } from '../resource.ts';

export const sharedPendingSignals: ProcessAspect<SignalQueue> = {
  name: 'sharedPendingSignals',
  schema: signalQueue,
  stage: 'late',
  // When all else has been read: a timer may still run out meanwhile.
  collect:
    ({ pid, leader }) =>
    () => {
      // The mask first: what comes in between is in the queue then.
      const { shared } = readPendingMasks(pid, leader);
      return withoutGaps(peekSignals(leader, 'shared'), shared);
    },
  restore: (state, { pid, batch }) => {
    for (const info of state) {
      if (!batch.hasRoomFor(1, info.length)) batch.run();
      const signal = signalNumber(info);
      batch.call(`queue signal ${signal} again`, SYS.rt_sigqueueinfo, pid, signal, batch.bytes(info).address);
    }
  },
};
