/** Waiting for a child without standing still: wait4(2) on a thread of the pool. Never for a traced task. */
import type { Pid } from '../../support/brand.ts';
import { ERRNO } from '../abi/errno.ts';
import { SIGNAL } from '../abi/signal.ts';
import { SYS } from '../abi/syscall.ts';
import { WAIT } from '../abi/wait.ts';
import { check } from '../errors.ts';
import { rawSyscall, rawSyscallAsync } from '../ffi.ts';
import { NativeMemory } from '../native-memory.ts';
import { sendSignal } from './task-attributes.ts';
import { decodeWaitStatus, type TaskEvent } from './wait.ts';

export type ChildEnd = Extract<TaskEvent, { kind: 'exited' | 'killed' }>;

/** Ends a child of ours, if there is one with this pid, and waits for it. */
export async function endOwnChild(pid: Pid): Promise<void> {
  if (rawSyscall(SYS.wait4, pid, 0, WAIT.WNOHANG, 0) !== 0) return;
  sendSignal(pid, SIGNAL.SIGKILL);
  await waitForChild(pid);
}

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
