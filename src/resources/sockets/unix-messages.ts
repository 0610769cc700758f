/**
 * What waits in a UNIX socket to be received. Where descriptors are in flight to it (SCM_RIGHTS) it is looked at once in a save, because each look
 * makes duplicates of them, and before anything is collected, because they are open file descriptions of the tree like any other.
 */
import { SOCKET } from '../../kernel/abi/socket.ts';
import { closeDescriptorsOf, peekMessages, peekStream, type QueuedMessage } from '../../kernel/calls/socket-queues.ts';
import { hasPendingError } from '../../kernel/calls/sockets.ts';
import type { OwnedFd } from '../../kernel/owned-fd.ts';
import type { UnixSocketEntry } from '../../netlink/unix-sockets.ts';
import type { Descriptor } from '../../procfs/descriptors.ts';
import type { LocalFd } from '../../support/brand.ts';
import type { DescriptorView, LoneDescriptor, OpenDescriptor } from '../resource.ts';
import { lookThrough } from './facts.ts';
import { isStreamType } from './unix-queue.ts';

/** Linux 5.10 counts what is in flight to a socket, also to those that wait to be accepted by it. */
export const countInFlight = ({ info }: LoneDescriptor): number => Number(info.fields.get('scm_fds')?.[0] ?? 0);

const looked = new WeakMap<Descriptor, readonly QueuedMessage[]>();

/** Duplicates of ours. */
export function descriptorsInFlight(one: LoneDescriptor, entry: UnixSocketEntry): OwnedFd[] {
  const messages = lookThrough(one, (own) => messagesIn(own, entry)) ?? [];
  looked.set(one.descriptor, messages);
  return messages.flatMap(({ descriptors }) => descriptors);
}

/** Not as many as the kernel has counted: some cannot be seen. False while nobody has looked. */
export const hidesDescriptors = (view: DescriptorView): boolean =>
  view.queuesSeen &&
  countInFlight(view) !==
    (looked.get(view.descriptor) ?? []).reduce((sum, { descriptors }) => sum + descriptors.length, 0);

export function messagesOf(open: OpenDescriptor, entry: UnixSocketEntry): readonly QueuedMessage[] {
  const known = looked.get(open.descriptor);
  if (known !== undefined) return known;
  const messages = messagesIn(open.own, entry);
  // There are none, as the kernel has counted.
  closeDescriptorsOf(messages);
  return messages;
}

/** Where an error waits, packets cannot be looked at: the first look would take it away. */
function messagesIn(own: LocalFd, { type, shutdown }: UnixSocketEntry): QueuedMessage[] {
  if (isStreamType(type)) return peekStream(own);
  if (hasPendingError(own)) return [];
  return peekMessages(own, type === SOCKET.SOCK_SEQPACKET && (shutdown & RCV_SHUTDOWN) !== 0);
}

/** net/sock.h */
const RCV_SHUTDOWN = 1;
