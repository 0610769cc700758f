/** What waits in a UNIX socket to be received, as the image has it, and putting it back. */
import * as v from 'valibot';
import { boundedArray, byteString, integerBetween, u32 } from '../../image/schema.ts';
import { ERRNO } from '../../kernel/abi/errno.ts';
import { SOCKET } from '../../kernel/abi/socket.ts';
import { type QueuedMessage, trySendMessage } from '../../kernel/calls/socket-queues.ts';
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
    /** Only where the receiver asks for them. */
    credentials: credentialsList,
  }),
  MAX_MESSAGES,
);
export type UnixQueue = v.InferOutput<typeof queueSchema>;

export const asUnixQueue = (messages: readonly QueuedMessage[]): UnixQueue =>
  messages.map(({ bytes, sender, credentials }) => ({
    bytes,
    sender: nameIn(sender),
    credentials: credentials === undefined ? [] : [credentials],
  }));

/** Sends all of it through `from`; of a stream the pieces have no borders. `to`: a whole sockaddr where it is not connected. */
export function fillFrom(from: LocalFd, queue: UnixQueue, isStream: boolean, to?: Uint8Array): void {
  if (queue.length === 0) return;
  const before = collectBuffers(from);
  const total = queue.reduce((sum, { bytes }) => sum + bytes.length + OVERHEAD, 0);
  widenBuffers(from, Math.max(before.sendBytes, 4 * total));
  try {
    for (const { bytes, credentials } of queue) {
      for (let done = 0; done < bytes.length || done === 0; ) {
        const sent = send(from, bytes.subarray(done), credentials[0], to);
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

function send(
  from: LocalFd,
  bytes: Uint8Array,
  credentials: UnixQueue[number]['credentials'][number] | undefined,
  to: Uint8Array | undefined,
): number {
  const address = to === undefined ? {} : { to };
  const sent = trySendMessage(from, { bytes, credentials, ...address });
  // A sender that has ended has no number any more, or we may not speak in its name: then it is ours.
  const isUnknown = sent === -ERRNO.ESRCH || sent === -ERRNO.EPERM;
  const result = isUnknown && credentials !== undefined ? trySendMessage(from, { bytes, ...address }) : sent;
  if (isFailure(result)) check('sendmsg', result, { doing: 'put back what was waiting in a socket' });
  return result;
}

export const isStreamType = (type: number): boolean => type === SOCKET.SOCK_STREAM;
