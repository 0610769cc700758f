/** Staying with a restarted process in the foreground: signals go on to it, and its end becomes ours. */
import { SIGNAL } from '../kernel/abi/signal.ts';
import { forbidOwnCoreFile, sendSignal } from '../kernel/calls/task-attributes.ts';
import { waitForChange } from '../kernel/calls/wait-async.ts';
import type { Pid } from '../support/brand.ts';
import type { Foreground } from './terminal.ts';

export const forwarded = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGWINCH'] as const;
export type End = { readonly status: number } | { readonly signal: number };

/** Passes a signal on that was noted for us. */
export const passOn = (pid: Pid, signal: number): void => void sendSignal(pid, signal);

/** From its making on, signals for us go on to the process, our child. */
export class Companion {
  readonly #pid: Pid;
  readonly #foreground: Foreground | undefined;
  readonly #handlers: { readonly name: (typeof forwarded)[number]; readonly handler: () => void }[];

  constructor(pid: Pid, foreground: Foreground | undefined) {
    this.#pid = pid;
    this.#foreground = foreground;
    this.#handlers = forwarded.map((name) => {
      const handler = (): void => void sendSignal(pid, SIGNAL[name]);
      process.on(name, handler);
      return { name, handler };
    });
  }

  /**
   * Waits for the end of the process. With a terminal, what its keys do to the process is mirrored: if it is stopped, we stop
   * too, so that the shell has the terminal, and when we are continued, so is it.
   */
  async untilEnd(): Promise<End> {
    try {
      for (;;) {
        const event = await waitForChange(this.#pid);
        if (event.kind === 'exited') return { status: event.status };
        if (event.kind === 'killed') return { signal: event.signal };
        if (this.#foreground !== undefined) stopAlong(this.#pid, this.#foreground);
      }
    } finally {
      for (const { name, handler } of this.#handlers) process.off(name, handler);
      this.#foreground?.takeBack();
    }
  }
}

function stopAlong(pid: Pid, foreground: Foreground): void {
  foreground.takeBack();
  process.kill(process.pid, 'SIGSTOP');
  // Here somebody has sent SIGCONT: a shell's `fg` has given us the terminal before, its `bg` has not.
  if (foreground.isOurs) foreground.giveTo(pid);
  sendSignal(pid, SIGNAL.SIGCONT);
}

/** A shell's exit status for a program that a signal has ended: 128 and the signal (bash(1)). */
const SIGNALLED = 128;

/** Lets this process end as the program has: with its status, or by the same signal, which whoever waits for us sees. */
export function endLike(end: End): void {
  if ('status' in end) {
    process.exitCode = end.status;
    return;
  }
  process.exitCode = SIGNALLED + end.signal;
  forbidOwnCoreFile();
  process.kill(process.pid, end.signal);
}
