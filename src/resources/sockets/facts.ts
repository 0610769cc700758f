/** What kind of socket a descriptor stands for, seen from outside: asked through a short-lived duplicate (pidfd_getfd(2)). */
import { SOCKET } from '../../kernel/abi/socket.ts';
import { duplicateFrom, tryOpenPidfd } from '../../kernel/calls/descriptors.ts';
import { makeSocket, socketNumber, trySocketOption } from '../../kernel/calls/sockets.ts';
import { KernelError } from '../../kernel/errors.ts';
import type { LocalFd } from '../../support/brand.ts';
import type { Problem } from '../../support/errors.ts';
import { refuseLack } from '../../support/lacking.ts';
import type { DescriptorHolder, DescriptorView } from '../resource.ts';
import { inetProblem } from './inet-obstacles.ts';

export interface SocketFacts {
  /** AF_UNIX, AF_INET, … */
  readonly domain: number;
  readonly type: number;
  readonly protocol: number;
  readonly listens: boolean;
}

const known = new WeakMap<DescriptorView, SocketFacts | 'none'>();

/** Undefined for what is no socket, is gone, or may not be looked at. */
export function socketFacts(view: DescriptorView): SocketFacts | undefined {
  if (view.descriptor.kind !== 'socket') return undefined;
  let found = known.get(view);
  if (found === undefined) {
    found = lookThrough(view, factsOf) ?? 'none';
    known.set(view, found);
  }
  return found === 'none' ? undefined : found;
}

/** Undefined if the process or the descriptor is gone, or may not be duplicated. */
export function lookThrough<T>({ pid, fd }: DescriptorHolder, look: (own: LocalFd) => T): T | undefined {
  const pidfd = tryOpenPidfd(pid);
  if (pidfd === undefined) return undefined;
  try {
    const own = duplicateFrom(pidfd.number, fd, pid);
    try {
      return look(own.number);
    } finally {
      own.close();
    }
  } catch (error) {
    refuseLack(error, `descriptor ${fd} of process ${pid}`);
    if (error instanceof KernelError) return undefined;
    throw error;
  } finally {
    pidfd.close();
  }
}

/** Of which network namespace a socket is (SO_NETNS_COOKIE, Linux 5.14). */
const networkOf = (own: LocalFd): bigint | undefined =>
  trySocketOption(own, SOCKET.SOL_SOCKET, SOCKET.SO_NETNS_COOKIE, 8)?.readBigUInt64LE(0);

let ours: bigint | undefined;

/** We stay in the namespace that we are in. */
function ourNetwork(): bigint | undefined {
  if (ours !== undefined) return ours;
  const socket = makeSocket(SOCKET.AF_UNIX, SOCKET.SOCK_DGRAM, 0);
  try {
    ours = networkOf(socket.number);
    return ours;
  } finally {
    socket.close();
  }
}

/** What is of another network namespace than ours would be made again in ours. */
export function elsewhere(view: DescriptorView): Problem[] {
  const network = lookThrough(view, networkOf);
  if (network === undefined || network === ourNetwork()) return [];
  return [inetProblem(view, 'socket-elsewhere', 'It is a socket of another network namespace')];
}

function factsOf(own: LocalFd): SocketFacts {
  const ask = (option: number, what: string): number => socketNumber(own, SOCKET.SOL_SOCKET, option, what);
  return {
    domain: ask(SOCKET.SO_DOMAIN, 'the family'),
    type: ask(SOCKET.SO_TYPE, 'the type'),
    protocol: ask(SOCKET.SO_PROTOCOL, 'the protocol'),
    listens: ask(SOCKET.SO_ACCEPTCONN, 'the state') !== 0,
  };
}
