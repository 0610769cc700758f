/** A TCP socket as the image has it. */
import * as v from 'valibot';
import { boundedArray, boundedString, byteString, integerBetween, u32 } from '../../image/schema.ts';
import { SOCKET } from '../../kernel/abi/socket.ts';
import { isTableName } from '../connection-keeper.ts';
import { buffersSchema, optionsSchema } from '../socket-options.ts';
import { endSchema } from './inet-names.ts';
import { tcpBeginningOptions } from './inet-options.ts';
import { filterSchema } from './socket-filter.ts';

const MAX_QUEUE_BYTES = 1 << 30;
/** RFC 7323. */
const MAX_SCALE = 14;

const streamSchema = v.pipe(
  v.strictObject({
    sendSequence: u32,
    receiveSequence: u32,
    sendQueue: byteString(MAX_QUEUE_BYTES),
    unsentBytes: u32,
    receiveQueue: byteString(MAX_QUEUE_BYTES),
    maxSegment: u32,
    timestamp: u32,
    window: v.strictObject({ snd_wl1: u32, snd_wnd: u32, max_window: u32, rcv_wnd: u32, rcv_wup: u32 }),
    usesTimestamps: v.boolean(),
    usesSack: v.boolean(),
    usesWindowScale: v.boolean(),
    sendScale: integerBetween(0, MAX_SCALE),
    receiveScale: integerBetween(0, MAX_SCALE),
    /** Who has said that nothing more comes: we, and whether the other end has acknowledged that; the other end. */
    ownEnd: v.picklist(['open', 'unacknowledged', 'acknowledged']),
    otherEnd: v.boolean(),
    /** shutdown(2) for receiving, while the other end may still send. */
    deaf: v.boolean(),
    /** The table of nf_tables that holds the connection silent, if the program was ended by the save. */
    table: v.pipe(boundedString(64), v.check(isTableName, 'must be the name of a table of ours')),
  }),
  v.check(({ sendQueue, unsentBytes }) => unsentBytes <= sendQueue.length, 'must not have more unsent than queued'),
);
export type SavedStream = v.InferOutput<typeof streamSchema>;

const MAX_PENDING = 1 << 16;

/** A client that its listener has not accepted yet. */
const waitSchema = v.strictObject({
  /** Its inode when it was saved. */
  socket: u32,
  /** All that it has sent. */
  sent: byteString(MAX_QUEUE_BYTES),
  /** shutdown(2) for sending, and for receiving. */
  ended: v.boolean(),
  deaf: v.boolean(),
});

export const tcpSchema = v.pipe(
  v.strictObject({
    domain: v.picklist([SOCKET.AF_INET, SOCKET.AF_INET6]),
    flags: u32,
    /**
     * `closed`: never connected, nor listening. `connecting`: the other end has not answered yet. `finished`: its connection has ended.
     * `waiting`: to be accepted by a listener that is in the image. `cut`: so, by a reset, or it comes back as if.
     */
    role: v.picklist(['closed', 'listening', 'connecting', 'connected', 'waiting', 'finished', 'cut']),
    /** What has come in and can still be received, of `finished` and `cut`. */
    unread: byteString(MAX_QUEUE_BYTES),
    /** Whole sockaddrs; empty where there is none. */
    local: endSchema,
    remote: endSchema,
    backlog: u32,
    /** How many connections waited in it to be accepted that are not in the image. */
    waiting: u32,
    buffers: buffersSchema,
    options: optionsSchema(tcpBeginningOptions),
    filter: v.optional(filterSchema),
    stream: boundedArray(streamSchema, 1),
    waits: v.optional(waitSchema),
    /** Of a listener: which of the image wait to be accepted, in order. */
    pending: v.optional(boundedArray(u32, MAX_PENDING)),
  }),
  v.check(
    ({ role, stream }) => (role === 'connected') === (stream.length === 1),
    'must have a stream if it is connected',
  ),
  v.check(
    ({ role, remote }) => role !== 'connecting' || remote.length > 0,
    'must have another end if it is connecting',
  ),
  v.check(
    ({ role, waits, remote }) => (role === 'waiting') === (waits !== undefined && remote.length > 0),
    'must say what it has sent if it waits to be accepted',
  ),
);
export type TcpSocket = v.InferOutput<typeof tcpSchema>;
