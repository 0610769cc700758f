/** What children of ours inherit. */
import { fstatSync, readdirSync } from 'node:fs';
import { localFd } from '../../support/brand.ts';
import { FCNTL } from '../abi/fcntl.ts';
import { fcntl } from './descriptors.ts';

const FIRST_OTHER_FD = 3;

/**
 * Children get none of the descriptors that we happen to have been started with beside the standard ones. One without close-on-exec, as a
 * shell or a batch system may leave, would be open in them too.
 */
export function keepFromChildren(): void {
  for (const name of readdirSync('/proc/self/fd')) {
    const fd = Number(name);
    if (fd < FIRST_OTHER_FD || !isOpen(fd)) continue;
    fcntl(localFd(fd), FCNTL.F_SETFD, FCNTL.FD_CLOEXEC, 'keep a descriptor from a child');
  }
}

/** The listing itself had one that is closed by now. */
function isOpen(fd: number): boolean {
  try {
    fstatSync(fd);
    return true;
  } catch {
    return false;
  }
}
