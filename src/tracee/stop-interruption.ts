/** Calls that answer EINTR to any stop, also to one that the program shall not notice (signal(7)). */
import { type CallAbi, callsOfI386, usualCallAbi } from '../arch/x86/call-abi.ts';
import { withoutStopInterruption } from '../arch/x86/interrupted-call.ts';
import { inSyscall, type RegisterFile } from '../arch/x86/registers.ts';
import { AUDIT_ARCH } from '../kernel/abi/ptrace.ts';
import { getCallArchitecture, setRegisterFile } from '../kernel/calls/ptrace.ts';
import { readTaskStatus } from '../procfs/status.ts';
import type { Pid, Tid } from '../support/brand.ts';

/** Lets such a call start again when the stopped thread goes on; returns its registers, and how it makes calls. `mask`: its blocked signals. */
export function undoStopInterruption(
  pid: Pid,
  tid: Tid,
  registers: RegisterFile,
  mask: bigint,
): { readonly registers: RegisterFile; readonly abi: CallAbi } {
  const abi = callAbiOf(tid, registers);
  const mended = withoutStopInterruption(registers, () => signalWaits(pid, tid, mask), abi);
  // At once: a save that is refused, or killed, does not come to putting registers back.
  if (mended !== registers) setRegisterFile(tid, mended);
  return { registers: mended, abi };
}

/** 64-bit code may call by `int 0x80` too. */
function callAbiOf(tid: Tid, registers: RegisterFile): CallAbi {
  const usual = usualCallAbi(registers);
  if (usual === callsOfI386 || !inSyscall(registers)) return usual;
  return getCallArchitecture(tid) === AUDIT_ARCH.AUDIT_ARCH_I386 ? callsOfI386 : usual;
}

/** A signal is pending that the thread would take as soon as it goes on. */
function signalWaits(pid: Pid, tid: Tid, mask: bigint): boolean {
  const status = readTaskStatus(pid, tid);
  return ((status.pendingSignals | status.sharedPendingSignals) & ~mask) !== 0n;
}
