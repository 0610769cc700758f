/** What sockets of packets and messages have in common: what stands in the way of saving them, and of making them again. */
import { ERRNO, errnoSentence } from '../../kernel/abi/errno.ts';
import { waitReadable } from '../../kernel/calls/descriptors.ts';
import { hasPendingError } from '../../kernel/calls/sockets.ts';
import { KernelError } from '../../kernel/errors.ts';
import type { OwnedFd } from '../../kernel/owned-fd.ts';
import type { Problem } from '../../support/errors.ts';
import { heldOutside } from '../held-outside.ts';
import type { DescriptorView } from '../resource.ts';
import { elsewhere, lookThrough } from './facts.ts';
import { inetProblem } from './inet-obstacles.ts';
import { hiddenFilter } from './socket-filter.ts';

/** Of one in which nothing can be put back: `what` waits in it. */
export function packetObstacles(view: DescriptorView, what: string): Problem[] {
  const seen = lookThrough(view, (own) => ({ error: hasPendingError(own), waits: waitReadable(own, 0) }));
  const found = [...heldOutside(view, 'a socket'), ...elsewhere(view), ...hiddenFilter(view)];
  if (seen?.error) {
    found.push(
      inetProblem(view, 'pending-error', 'It has an error that waits', 'Save it when the program has read it.'),
    );
  } else if (seen?.waits) {
    found.push(
      inetProblem(
        view,
        'waiting-packets',
        `It has ${what} to be received`,
        'Try again when the program has received it.',
      ),
    );
  }
  return found;
}

/** A half-made socket is closed. */
export function madeWith(made: OwnedFd, setUp: (made: OwnedFd) => void): OwnedFd {
  try {
    setUp(made);
    return made;
  } catch (error) {
    made.close();
    throw error;
  }
}

/** Makes `what` for an instant, as far as nobody notices, and says what is in the way; `rights`: what it takes. */
export function planMaking(what: string, rights: string, make: () => OwnedFd, path: readonly string[]): Problem[] {
  try {
    make().close();
    return [];
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    return [refusal(what, rights, error.errno, path)];
  }
}

function refusal(what: string, rights: string, errno: number, path: readonly string[]): Problem {
  if (errno === ERRNO.EPERM || errno === ERRNO.EACCES) {
    const message = `It is ${what}, which only who has ${rights} may make.`;
    return { code: 'not-enough-rights', path, message, remedy: `Restart it as root, or give quicksave ${rights}.` };
  }
  if (errno === ERRNO.EADDRINUSE) {
    const message = `It is ${what}, and another program has that number.`;
    return { code: 'port-taken', path, message, remedy: 'End the other program first.' };
  }
  if (errno === ERRNO.EADDRNOTAVAIL) {
    const message = `It is ${what}, and this host does not have that address.`;
    return {
      code: 'missing-address',
      path,
      message,
      remedy: 'Add the address to an interface first (ip address add).',
    };
  }
  return { code: 'cannot-bind', path, message: `It is ${what}, which cannot be made here: ${errnoSentence(errno)}.` };
}
