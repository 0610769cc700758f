/**
 * What waits in a UNIX socket to be received. Where descriptors are in flight to it (SCM_RIGHTS) it is looked at once in a save, because each look
 * makes duplicates of them, and before anything is collected, because they are open file descriptions of the tree like any other.
 */
import { SOCKET } from '../../kernel/abi/socket.ts';
import { waitReadable } from '../../kernel/calls/descriptors.ts';
import { closeDescriptorsOf, peekMessages, peekStream, type QueuedMessage } from '../../kernel/calls/socket-queues.ts';
import { hasPendingError } from '../../kernel/calls/sockets.ts';
import { type QueuedInKernel, tryReadMessages } from '../../kernel/calls/unix-queues.ts';
import type { OwnedFd } from '../../kernel/owned-fd.ts';
import type { UnixSocketEntry } from '../../netlink/unix-sockets.ts';
import type { Descriptor } from '../../procfs/descriptors.ts';
import type { LocalFd } from '../../support/brand.ts';
import type { DescriptorView, LoneDescriptor, OpenDescriptor } from '../resource.ts';
import { lookThrough } from './facts.ts';
import { duplicatesOf } from './known-files.ts';
import { isStreamType } from './unix-queue.ts';

/** Linux 5.10 counts what is in flight to a socket, also to those that wait to be accepted by it. */
export const countInFlight = ({ info }: LoneDescriptor): number => Number(info.fields.get('scm_fds')?.[0] ?? 0);

const looked = new WeakMap<Descriptor, readonly QueuedMessage[]>();

/** Duplicates of ours. */
export function descriptorsInFlight(
  one: LoneDescriptor,
  entry: UnixSocketEntry,
  all: readonly LoneDescriptor[],
): OwnedFd[] {
  const messages = lookThrough(one, (own) => messagesIn(own, entry, all)) ?? [];
  looked.set(one.descriptor, messages);
  return [...new Set(messages.flatMap(({ descriptors }) => descriptors))];
}

/** Not as many as the kernel has counted: some cannot be seen. False while nobody has looked. */
export const hidesDescriptors = (view: DescriptorView): boolean =>
  view.queuesSeen &&
  countInFlight(view) !==
    (looked.get(view.descriptor) ?? []).reduce((sum, { descriptors }) => sum + descriptors.length, 0);

export function messagesOf(open: OpenDescriptor, entry: UnixSocketEntry): readonly QueuedMessage[] {
  const known = looked.get(open.descriptor);
  if (known !== undefined) return known;
  const messages = messagesIn(open.own, entry, []);
  // There are none, as the kernel has counted.
  closeDescriptorsOf(messages);
  return messages;
}

/** Where an error waits, packets cannot be looked at: the first look would take it away. */
function messagesIn(
  own: LocalFd,
  { type, shutdown }: UnixSocketEntry,
  all: readonly LoneDescriptor[],
): QueuedMessage[] {
  if (isStreamType(type)) return peekStream(own);
  if (hasPendingError(own)) return [];
  const isEnding = type === SOCKET.SOCK_SEQPACKET && (shutdown & RCV_SHUTDOWN) !== 0;
  const queue = waitReadable(own, 0) ? tryReadMessages(own) : undefined;
  const peeked = peekMessages(own, isEnding);
  return queue === undefined ? peeked : withHidden(peeked, queue, all);
}

/** Those that are empty and have been looked at before stand in the kernel's `queue` only. */
function withHidden(
  peeked: readonly QueuedMessage[],
  queue: readonly QueuedInKernel[],
  all: readonly LoneDescriptor[],
): QueuedMessage[] {
  const hidden = queue.filter(isHidden);
  // Others may have sent something in between, or it is the end that was seen.
  if (hidden.length === 0 || peeked.length !== queue.length - hidden.length) return [...peeked];
  const known = duplicatesOf(
    hidden.flatMap(({ files }) => files),
    all,
  );
  const visible = [...peeked];
  return queue.map((one) => {
    const seen = isHidden(one) ? undefined : visible.shift();
    if (seen !== undefined) return seen;
    const descriptors = one.files.flatMap((file) => known.get(file) ?? []);
    return { bytes: one.bytes, sender: one.sender, credentials: one.credentials, descriptors };
  });
}

const isHidden = ({ bytes, isMarked }: QueuedInKernel): boolean => isMarked && bytes.length === 0;

/** net/sock.h */
const RCV_SHUTDOWN = 1;
