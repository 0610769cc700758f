/**
 * /proc/PID/task/TID/sched: when a thread was last on a processor. Before Linux 6.15 only with CONFIG_SCHED_DEBUG. Its clock is that
 * of the processor's run queue, which stands still while the host has taken the processor away (steal time): what two looks
 * at one processor differ by is never more than has passed.
 */
import type { Pid, Tid } from '../support/brand.ts';
import { readProcText } from './proc-file.ts';

export interface SchedStatus {
  /** On the clock of the processor; of a sleeping thread when it fell asleep. */
  readonly lastRanNs: number;
  /** How often it has gone to sleep; a stop by ptrace(2) counts too. */
  readonly voluntarySwitches: number;
}

/** Undefined if the kernel does not say it in the form that is known. */
export function parseSched(text: string): SchedStatus | undefined {
  const [, milliseconds, fraction] = /^se\.exec_start\s*:\s*(\d+)\.(\d{6})$/m.exec(text) ?? [];
  const [, switches] = /^nr_voluntary_switches\s*:\s*(\d+)$/m.exec(text) ?? [];
  if (milliseconds === undefined || fraction === undefined || switches === undefined) return undefined;
  return { lastRanNs: Number(milliseconds) * 1e6 + Number(fraction), voluntarySwitches: Number(switches) };
}

export const readSched = (pid: Pid, tid: Tid): SchedStatus | undefined =>
  parseSched(readProcText(pid, `task/${tid}/sched`));
