/** A UNIX socket as the image has it. */
import * as v from 'valibot';
import { boundedArray, byteString, integerBetween, u32 } from '../../image/schema.ts';
import { SOCKET } from '../../kernel/abi/socket.ts';
import { buffersSchema, generalOptions, optionsSchema } from '../socket-options.ts';
import { filterSchema } from './socket-filter.ts';
import { isPath, MAX_NAME, placeSchema } from './unix-names.ts';
import { outsideSchema } from './unix-outside.ts';
import { connectorSchema, pendingSchema } from './unix-pending.ts';
import { credentialsList, queueSchema } from './unix-queue.ts';

export const UNIX_TYPES: readonly number[] = [SOCKET.SOCK_STREAM, SOCKET.SOCK_DGRAM, SOCKET.SOCK_SEQPACKET];

const shutdownBits = integerBetween(0, 3);

/** A socket's name, and where the file of a path is. Empty: it has none. */
const namedSchema = v.pipe(
  v.strictObject({ name: byteString(MAX_NAME), place: boundedArray(placeSchema, 1) }),
  v.check(({ name, place }) => isPath(name) === (place.length === 1), 'must say where its path is'),
);
export type Named = v.InferOutput<typeof namedSchema>;

const entries = {
  /** Inodes when it was saved, of this one and of the other end: 0 where there is none. */
  socket: u32,
  peer: u32,
  type: v.pipe(
    u32,
    v.check((type) => UNIX_TYPES.includes(type), 'must be a type of UNIX sockets'),
  ),
  flags: u32,
  /**
   * `alone`: not connected. `pair`: both ends are in the image. `one-way`: of datagrams, to a socket that is not connected to this one.
   * `orphan`: the other end has been closed. `waiting`: to be accepted by a listener that is in the image. `outside`: to a listener that is not.
   */
  role: v.picklist(['alone', 'pair', 'one-way', 'orphan', 'waiting', 'listening', 'outside']),
  own: namedSchema,
  other: namedSchema,
  /** Which of the two ends came out of accept(2), with the name of a listener. */
  accepted: v.picklist(['neither', 'own', 'other']),
  /** What SO_PEERCRED says here, and at the other end. */
  credentials: credentialsList,
  otherCredentials: credentialsList,
  /** They name processes that are in the image. */
  keepsCredentials: v.boolean(),
  backlog: u32,
  /** RCV_SHUTDOWN 1, SEND_SHUTDOWN 2. */
  shutdown: shutdownBits,
  /** The other end was closed with bytes in it that nobody had read: ECONNRESET waits. */
  reset: v.boolean(),
  queue: queueSchema,
  /** Of older images: what it has sent to a listener that has not accepted it yet. */
  early: v.optional(boundedArray(byteString(4096), 4096)),
  /** It is connected when its listener lets it wait, by this process; in older images by who has it, after the others. */
  connector: v.optional(connectorSchema),
  /** Of a listener: in order. Older images do not have it. */
  pending: v.optional(pendingSchema),
  /** The other end was outside of what was saved. */
  outside: v.optional(outsideSchema),
  buffers: buffersSchema,
  options: optionsSchema(generalOptions),
  filter: v.optional(filterSchema),
};

export const unixSchema = v.pipe(
  v.strictObject(entries),
  v.check(
    ({ role, outside, other }) =>
      role !== 'outside' || (outside?.becomes === 'connected-again' && other.name.length > 0),
    'must say what it is connected to',
  ),
);
export type UnixSocket = v.InferOutput<typeof unixSchema>;
