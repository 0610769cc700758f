/** The right to give a new process the pid that it had: `set_tid` of clone3(2), Linux 5.5; CAP_CHECKPOINT_RESTORE, Linux 5.9. */
import type { ProcessStatus } from '../procfs/status.ts';
import type { Problem } from '../support/errors.ts';

/** linux/capability.h */
const CAP_SYS_ADMIN = 21n;
const CAP_CHECKPOINT_RESTORE = 40n;

export function mayChoosePids({ capEffective }: Pick<ProcessStatus, 'capEffective'>): boolean {
  const has = (capability: bigint): boolean => ((capEffective >> capability) & 1n) === 1n;
  return has(CAP_SYS_ADMIN) || has(CAP_CHECKPOINT_RESTORE);
}

export const noPidChoice: Problem = {
  code: 'not-enough-rights',
  path: ['host'],
  message: 'You may not choose the pids of new processes.',
  remedy:
    'Run it as root, or give it CAP_CHECKPOINT_RESTORE. The command quicksave restart makes a user and a pid namespace where that is allowed; the library does not.',
};
