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
export type ChildStop = Extract<TaskEvent, { kind: 'stopped' }>;

/** Ends a child of ours, if there is one with this pid, and waits for it. */
export async function endOwnChild(pid: Pid): Promise<void> {
  if (rawSyscall(SYS.wait4, pid, 0, WAIT.WNOHANG, 0) !== 0) return;
  sendSignal(pid, SIGNAL.SIGKILL);
  await waitForChild(pid);
}

/** The next thing that happens to a child: its end, or a stop by a signal. */
export async function waitForChange(pid: Pid): Promise<ChildEnd | ChildStop> {
  const status = NativeMemory.allocate(4096);
  try {
    for (;;) {
      const result = await rawSyscallAsync(SYS.wait4, pid, status.address, WAIT.WUNTRACED, 0);
      if (result === -ERRNO.EINTR) continue;
      check('wait4', result, { doing: 'wait for the process', pid });
      const event = decodeWaitStatus(status.view.getInt32(0, true));
      if (event.kind !== 'continued') return event;
    }
  } finally {
    status.free();
  }
}

export async function waitForChild(pid: Pid): Promise<ChildEnd> {
  for (;;) {
    const event = await waitForChange(pid);
    if (event.kind !== 'stopped') return event;
  }
}
