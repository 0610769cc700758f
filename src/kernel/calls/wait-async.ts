/** Waiting for a child without standing still: wait4(2) on a thread of the pool. Never for a traced task. */
import type { Pid } from '../../support/brand.ts';
import { ERRNO } from '../abi/errno.ts';
import { SYS } from '../abi/syscall.ts';
import { check } from '../errors.ts';
import { rawSyscallAsync } from '../ffi.ts';
import { NativeMemory } from '../native-memory.ts';
import { decodeWaitStatus, type TaskEvent } from './wait.ts';

export type ChildEnd = Extract<TaskEvent, { kind: 'exited' | 'killed' }>;

export async function waitForChild(pid: Pid): Promise<ChildEnd> {
  const status = NativeMemory.allocate(4096);
  try {
    for (;;) {
      const result = await rawSyscallAsync(SYS.wait4, pid, status.address, 0, 0);
      if (result === -ERRNO.EINTR) continue;
      check('wait4', result, { doing: 'wait for the process', pid });
      const event = decodeWaitStatus(status.view.getInt32(0, true));
      if (event.kind === 'exited' || event.kind === 'killed') return event;
    }
  } finally {
    status.free();
  }
}
