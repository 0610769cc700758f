/**
 * Calls with a relative timeout go on with what is left of it. The kernel keeps the end of such a call in the task, where nobody can
 * write it (restart_syscall(2)); so each thread begins its call again for the rest, and is stopped in it before it sleeps. The
 * registers then say what they said in the image, and the call goes on by itself when the thread is let go.
 */
import { callsOfI386, usualCallAbi } from '../arch/x86/call-abi.ts';
import { TIME_SIZE } from '../arch/x86/interrupted-call.ts';
import { NO_SYSCALL, type RegisterFile, withRegisters } from '../arch/x86/registers.ts';
import { argumentsForRest, encodeTime, restOf, timedCallOf } from '../arch/x86/timed-call.ts';
import { ERRNO, RESTART } from '../kernel/abi/errno.ts';
import { KernelError } from '../kernel/errors.ts';
import { type Pid, remoteAddress, type Tid } from '../support/brand.ts';
import { readRemote, writeRemote } from '../tracee/remote-memory.ts';
import type { CallSite } from '../tracee/stopped-task.ts';
import type { PlannedThread } from './process-plan.ts';
import type { RebuiltProcessTree } from './process-rebuild.ts';

/** Answers that say only that the call did not come to its end; one that is made anew will. */
const INTERRUPTED: readonly number[] = [
  -RESTART.ERESTARTSYS,
  -RESTART.ERESTARTNOINTR,
  -RESTART.ERESTARTNOHAND,
  -ERRNO.EINTR,
];

/** The registers of the threads whose call has begun; the others make theirs anew. The agent's data must still be there. */
export function beginTimedCalls(
  { plan, tasks, agent }: RebuiltProcessTree,
  site: CallSite,
  registersOf: (thread: PlannedThread) => RegisterFile,
): ReadonlyMap<Tid, RegisterFile> {
  const begun = new Map<Tid, RegisterFile>();
  plan.threads.forEach((thread, index) => {
    const task = tasks[index];
    const registers = registersOf(thread);
    // The vDSO has the instruction of one kind of calls.
    if (task === undefined || (usualCallAbi(registers) === callsOfI386) !== plan.is32Bit) return;
    const call = timedCallOf(registers);
    if (call === undefined) return;
    const rest = restOf(call, thread.waitedNs, (address) => tryReadTime(plan.pid, address));
    if (rest === undefined) return;
    if (call.unit !== 'milliseconds') writeRemote(plan.pid, agent.dataAddress, encodeTime(rest, call.unit));
    const args = argumentsForRest(call, rest, agent.dataAddress);
    const result = task.tryBegin(site, usualCallAbi(registers), call.number, args);
    if (result === -RESTART.ERESTART_RESTARTBLOCK) begun.set(thread.tid, registers);
    else if (!INTERRUPTED.includes(result)) {
      begun.set(thread.tid, withRegisters(registers, { rax: result, orig_rax: NO_SYSCALL }));
    }
  });
  return begun;
}

/** Undefined for an address that no program could have passed. */
function tryReadTime(pid: Pid, address: number): Buffer | undefined {
  try {
    return readRemote(pid, remoteAddress(address), TIME_SIZE);
  } catch (error) {
    if (error instanceof KernelError) return undefined;
    throw error;
  }
}
