/** A time namespace for processes that are yet to be made: time_namespaces(7), Linux 5.6. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { QuicksaveError } from '../../support/errors.ts';
import { CLONE } from '../abi/sched.ts';
import { SYS } from '../abi/syscall.ts';
import { check } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';

/**
 * From now on processes that this thread, the leader of this process, makes are born in a new time namespace. `offsets`: in the form of
 * /proc/PID/timens_offsets. We stay in ours. Needs CAP_SYS_ADMIN and CAP_SYS_TIME. Throws
 * QuicksaveError `no-time-namespace` (ERANGE: a clock would be negative).
 */
export function makeTimeNamespace(offsets: string): void {
  check('unshare', rawSyscall(SYS.unshare, CLONE.CLONE_NEWTIME), { doing: 'make a time namespace' });
  try {
    const file = openSync('/proc/self/timens_offsets', 'w');
    try {
      writeSync(file, offsets);
    } finally {
      closeSync(file);
    }
  } catch (cause) {
    const { code = 'unknown error' } = cause as NodeJS.ErrnoException;
    throw new QuicksaveError('no-time-namespace', `The clocks of a time namespace could not be set (${code}).`, {
      cause,
    });
  }
}
