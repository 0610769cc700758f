/** Where threads wait that a stop has interrupted before: in restart_syscall(2), which says nothing of the call that goes on. */
import { callsOf64, callsOfI386 } from '../arch/x86/call-abi.ts';
import { is32BitProgram } from '../procfs/exe.ts';
import { unlessMissing } from '../procfs/proc-file.ts';
import { listThreads, speakerOf } from '../procfs/tasks.ts';
import { readWaiting, type Waiting } from '../procfs/waiting.ts';
import type { Pid } from '../support/brand.ts';

/** Threads in restart_syscall(2): in which function of the kernel they wait can only be seen before they are stopped. */
export function restartedWaits(pid: Pid): Map<number, Waiting> {
  const found = new Map<number, Waiting>();
  // What 64-bit code of a 32-bit program waits in is not looked for.
  const { restartSyscall } = is32BitProgram(speakerOf(pid)) ? callsOfI386 : callsOf64;
  for (const tid of listThreads(pid)) {
    const waiting = unlessMissing(() => readWaiting(pid, tid));
    if (waiting?.call === restartSyscall) found.set(tid, waiting);
  }
  return found;
}
