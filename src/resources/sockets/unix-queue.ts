/** What waits in a UNIX socket to be received, as the image has it, and putting it back. */
import * as v from 'valibot';
import { boundedArray, byteString, integerBetween, u32 } from '../../image/schema.ts';
import { ERRNO } from '../../kernel/abi/errno.ts';
import { SOCKET } from '../../kernel/abi/socket.ts';
import { MAX_DESCRIPTORS_PER_MESSAGE } from '../../kernel/calls/descriptors.ts';
import { type MessageToSend, type QueuedMessage, trySendMessage } from '../../kernel/calls/socket-queues.ts';
import { check, isFailure } from '../../kernel/errors.ts';
import type { LocalFd } from '../../support/brand.ts';
import { collectBuffers, restoreBuffers, widenBuffers } from '../socket-options.ts';
import { MAX_NAME, nameIn } from './unix-names.ts';

const MAX_MESSAGES = 1 << 16;
const MAX_MESSAGE_BYTES = 1 << 28;

export const credentialsSchema = v.strictObject({ pid: integerBetween(0, 2 ** 31 - 1), uid: u32, gid: u32 });

/** At most one where the field is that of a single thing. */
export const credentialsList = boundedArray(credentialsSchema, 1);

export const queueSchema = boundedArray(
  v.strictObject({
    bytes: byteString(MAX_MESSAGE_BYTES),
    /** The name of who has sent it, without its family. */
    sender: byteString(MAX_NAME),
    /** Where somebody has asked for them. */
    credentials: credentialsList,
    /** Open file descriptions of the image that come with it (SCM_RIGHTS). */
    descriptors: v.optional(boundedArray(u32, MAX_DESCRIPTORS_PER_MESSAGE)),
  }),
  MAX_MESSAGES,
);
export type UnixQueue = v.InferOutput<typeof queueSchema>;

/** `objectOf`: of a duplicate that {@link QueuedMessage} has. */
export const asUnixQueue = (messages: readonly QueuedMessage[], objectOf: (descriptor: LocalFd) => number): UnixQueue =>
  messages.map(({ bytes, sender, credentials, descriptors }) => ({
    bytes,
    sender: nameIn(sender),
    credentials: credentials === undefined ? [] : [credentials],
    ...(descriptors.length === 0 ? {} : { descriptors: descriptors.map(({ number }) => objectOf(number)) }),
  }));

export interface Way {
  readonly from: LocalFd;
  /** Pieces have no borders. */
  readonly isStream: boolean;
  /** A whole sockaddr, where it is not connected. */
  readonly to?: Uint8Array;
  readonly object: (objref: number) => LocalFd;
}

/** Sends all of it. */
export function fillQueue(queue: UnixQueue, { from, isStream, to, object }: Way): void {
  if (queue.length === 0) return;
  const before = collectBuffers(from);
  const total = queue.reduce((sum, { bytes }) => sum + bytes.length + OVERHEAD, 0);
  widenBuffers(from, Math.max(before.sendBytes, 4 * total));
  try {
    for (const { bytes, credentials, descriptors = [] } of queue) {
      for (let done = 0; done < bytes.length || done === 0; ) {
        const message = { bytes: bytes.subarray(done), ...(to === undefined ? {} : { to }) };
        const sent = send(
          from,
          done > 0 ? message : { ...message, descriptors: descriptors.map(object) },
          credentials[0],
        );
        done += sent;
        if (!isStream || sent === 0) break;
      }
    }
  } finally {
    restoreBuffers(from, before);
  }
}

/** What a message costs beside its bytes, generously. */
const OVERHEAD = 4096;

function send(from: LocalFd, message: MessageToSend, credentials: MessageToSend['credentials']): number {
  const sent = trySendMessage(from, { ...message, credentials });
  // A sender that has ended has no number any more, or we may not speak in its name: then it is ours.
  const isUnknown = sent === -ERRNO.ESRCH || sent === -ERRNO.EPERM;
  const result = isUnknown && credentials !== undefined ? trySendMessage(from, message) : sent;
  if (isFailure(result)) check('sendmsg', result, { doing: 'put back what was waiting in a socket' });
  return result;
}

export const isStreamType = (type: number): boolean => type === SOCKET.SOCK_STREAM;
