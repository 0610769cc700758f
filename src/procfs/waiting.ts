/** Where a task waits: /proc/PID/task/TID/syscall and wchan, proc_pid_syscall(5), proc_pid_wchan(5). */
import type { Pid, Tid } from '../support/brand.ts';
import { readProcText } from './proc-file.ts';
import { parseDecimal, parseMask } from './proc-text.ts';

export interface Waiting {
  readonly call: number;
  readonly stackPointer: bigint;
  readonly instructionPointer: bigint;
  /** The kernel's function that it waits in; '0' if the kernel does not tell. */
  readonly function: string;
}

/** `NR ARG*6 SP IP`; undefined for `running` and for a task that is stopped outside of a call. */
export function parseWaiting(syscall: string, wchan: string): Waiting | undefined {
  const fields = syscall.trim().split(' ');
  const [stackPointer, instructionPointer] = fields.slice(-2);
  if (fields.length !== 9 || stackPointer === undefined || instructionPointer === undefined) return undefined;
  return {
    call: parseDecimal('syscall', 'the number of a call', fields[0]),
    stackPointer: parseMask('syscall', 'the stack pointer', stackPointer),
    instructionPointer: parseMask('syscall', 'the instruction pointer', instructionPointer),
    function: wchan.trim(),
  };
}

export const readWaiting = (pid: Pid, tid: Tid): Waiting | undefined =>
  parseWaiting(readProcText(pid, `task/${tid}/syscall`), readProcText(pid, `task/${tid}/wchan`));
