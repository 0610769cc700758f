/** /proc/PID/cmdline: proc_pid_cmdline(5); and how messages name a process. */
import type { Pid } from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';
import { readProcText } from './proc-file.ts';
import { commOf } from './tasks.ts';

/** Empty for a kernel thread and a zombie. A program may have written over its arguments (setproctitle). */
export const readCommandLine = (pid: Pid): string[] => parseCommandLine(readProcText(pid, 'cmdline'));

export function parseCommandLine(text: string): string[] {
  if (text === '') return [];
  return (text.endsWith('\0') ? text.slice(0, -1) : text).split('\0');
}

/** "1234 (xz)" for a message; "1234" if the process is gone. Never throws, since it is called while errors are made. */
export function describeProcess(pid: Pid): string {
  try {
    return `${pid} (${printable(commOf(pid))})`;
  } catch (error) {
    if (error instanceof QuicksaveError) return String(pid);
    throw error;
  }
}

/** A program chooses its own name, also one that would steer the terminal. */
const printable = (text: string): string => text.replace(/\p{C}/gu, '?');
