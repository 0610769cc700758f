/**
 * A program that gets signals all the time, from a timer and from its own threads, stands still when it is asked to: an interruption that meets a signal
 * on its way in is forgotten by the kernel (ptrace_stop() of kernel/signal.c), and has to be made again.
 */
import { expect, test } from 'vitest';
import { detachIfAlive, interruptIfAlive, trySeize } from '../../src/kernel/calls/ptrace.ts';
import { tryWaitForTask } from '../../src/kernel/calls/wait.ts';
import { asTid } from '../../src/support/brand.ts';
import { waitForInterruptStop } from '../../src/tracee/stopped-task.ts';
import { compiled, full, mustRun, newFolder, said, start } from '../support/harness.ts';

const LIMIT_MS = 2_000;

test('a thread stops at the first asking, whatever signals come', async () => {
  const target = start(newFolder(), compiled('signal-storm'));
  await said(target.output, 'ready');
  const tid = asTid(target.pid);
  for (let round = 0; round < (full ? 5_000 : 1_000); round++) {
    expect(trySeize(tid, 0)).toBe('seized');
    interruptIfAlive(tid);
    const deadline = performance.now() + LIMIT_MS;
    waitForInterruptStop(tid, (one) => {
      for (;;) {
        const event = tryWaitForTask(one);
        if (event !== undefined && performance.now() < deadline) return event;
        if (performance.now() > deadline) throw new Error(`in round ${round} it has not stopped within ${LIMIT_MS} ms`);
      }
    });
    detachIfAlive(tid);
  }
  await mustRun('checkpoint', String(target.pid), '--output', '/dev/null');
}, 120_000);
