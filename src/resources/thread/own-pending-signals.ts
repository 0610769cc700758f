/** Signals sent to one thread that it has not taken yet: tgkill(2), pthread_sigqueue(3). */
import { SYS } from '../../kernel/abi/syscall.ts';
import { peekSignals } from '../../kernel/calls/ptrace.ts';
import { readPendingMasks } from '../../procfs/status.ts';
import { type SignalQueue, signalNumber, signalQueue, withoutGaps } from '../pending-signals.ts';
import type { ThreadAspect } from '../resource.ts';

export const ownPendingSignals: ThreadAspect<SignalQueue> = {
  name: 'ownPendingSignals',
  schema: signalQueue,
  collect: ({ pid, tid }) => {
    // The mask first: what comes in between is in the queue then.
    const { own } = readPendingMasks(pid, tid);
    const queued = withoutGaps(peekSignals(tid, 'own'), own);
    return () => queued;
  },
  restore: (state, { pid, tid, batch }) => {
    for (const info of state) {
      if (!batch.hasRoomFor(1, info.length)) batch.run();
      const signal = signalNumber(info);
      batch.call(`queue signal ${signal} again`, SYS.rt_tgsigqueueinfo, pid, tid, signal, batch.bytes(info).address);
    }
  },
};
