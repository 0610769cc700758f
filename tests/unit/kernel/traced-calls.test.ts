/** The call trail of --debug. In one file of its own: it stays on in the process that has switched it on. */
import { expect, test } from 'vitest';
import { SYS } from '../../../src/kernel/abi/syscall.ts';
import { check, KernelError } from '../../../src/kernel/errors.ts';
import { rawSyscall } from '../../../src/kernel/ffi.ts';
import { callText, traceCalls } from '../../../src/kernel/traced-calls.ts';
import { trailOf } from '../../../src/support/call-trail.ts';
import { QuicksaveError } from '../../../src/support/errors.ts';

test('a call is text with the arguments that it takes and its result', () => {
  expect(callText('close', [3, 0, 0], 0)).toBe('close(3) = 0');
  expect(callText('ptrace', [0x4206n, 7, 0, 0x7f00_0000_0000], -3)).toBe(
    'ptrace(PTRACE_SEIZE, 7, 0, 0x7f0000000000) = -ESRCH',
  );
});

test('nothing is kept before it is asked for; then an error has the calls before it, not those after it', () => {
  rawSyscall(SYS.getpid);
  expect(trailOf(new QuicksaveError('internal', 'early'))).toEqual([]);
  traceCalls();
  const failed = (() => {
    try {
      return check('close', rawSyscall(SYS.close, 1_000_000), { doing: 'close it' });
    } catch (error) {
      return error;
    }
  })();
  expect(failed).toBeInstanceOf(KernelError);
  for (let round = 0; round < 100; round++) rawSyscall(SYS.getppid);
  const wrapped = new QuicksaveError('cannot-write', 'later', { cause: failed });
  expect(trailOf(failed)).toEqual(['close(1000000) = -EBADF']);
  expect(trailOf(wrapped)).toEqual(trailOf(failed));
  expect(trailOf(new Error('of somebody else')).at(-1)).toBe(`getppid() = ${process.ppid}, the last of 100 such`);
});

test('only the newest calls are kept', () => {
  for (let round = 0; round < 100; round++) rawSyscall(SYS.close, 1_000_000 + round);
  const trail = trailOf(new QuicksaveError('internal', 'now'));
  expect(trail.length).toBe(64);
  expect(trail.at(-1)).toBe('close(1000099) = -EBADF');
});
