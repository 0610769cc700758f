/** What a process of the restart has made itself becomes ours too. */
import { duplicateFrom, tryOpenPidfd } from '../kernel/calls/descriptors.ts';
import type { OwnedFd } from '../kernel/owned-fd.ts';
import { remoteFd } from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';
import type { RebuiltProcess } from './resource.ts';

/** Its descriptor `number`, which it keeps: pidfd_getfd(2), Linux 5.6. */
export function takeOut({ pid }: Pick<RebuiltProcess, 'pid'>, number: number): OwnedFd {
  const pidfd = tryOpenPidfd(pid);
  if (pidfd === undefined) throw new QuicksaveError('target-ended', `Process ${pid} ended while it was being made.`);
  try {
    return duplicateFrom(pidfd.number, remoteFd(number), pid);
  } finally {
    pidfd.close();
  }
}
