/** Staying with a restarted process in the foreground: signals go on to it, and its end becomes ours. */
import { sendSignal } from '../kernel/calls/task-attributes.ts';
import { waitForChild } from '../kernel/calls/wait-async.ts';
import type { Pid } from '../support/brand.ts';

const forwarded = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGWINCH', 'SIGCONT'] as const;
const numbers: Record<(typeof forwarded)[number], number> = {
  SIGINT: 2,
  SIGTERM: 15,
  SIGHUP: 1,
  SIGQUIT: 3,
  SIGUSR1: 10,
  SIGUSR2: 12,
  SIGWINCH: 28,
  SIGCONT: 18,
};
/** A shell's exit status for a program that a signal has ended: 128 and the signal (bash(1)). */
const SIGNALLED = 128;

/** Waits for the process, our child; returns the exit status that a shell would give. */
export async function accompany(pid: Pid): Promise<number> {
  const handlers = forwarded.map((name) => {
    const handler = (): void => void sendSignal(pid, numbers[name]);
    process.on(name, handler);
    return { name, handler };
  });
  try {
    const event = await waitForChild(pid);
    return event.kind === 'exited' ? event.status : SIGNALLED + event.signal;
  } finally {
    for (const { name, handler } of handlers) process.off(name, handler);
  }
}
