/** Sockets of an image in words. What is not known here of a form is shown as the data that it is. */
import { endText, INET_SIZE, INET6_SIZE } from '../support/inet-address.ts';
import { at, isList, type Json, numberAt, textAt } from './json.ts';
import { counted } from './table.ts';

/** Names of the two ends, where they have one. */
export interface SocketEnds {
  readonly own?: string;
  readonly other?: string;
}

/** Undefined for what is no socket. */
export function socketEnds(kind: string, state: Json): SocketEnds | undefined {
  const isInet = kind === 'tcp-socket' || kind === 'udp-socket';
  if (!isInet && kind !== 'unix-socket') return undefined;
  const own = isInet ? inetEnd(at(state, 'local')) : unixName(at(state, 'own', 'name'));
  const other = isInet ? inetEnd(at(state, 'remote')) : unixName(at(state, 'other', 'name'));
  return { ...(own === undefined ? {} : { own }), ...(other === undefined ? {} : { other }) };
}

/** `connected 127.0.0.1:4100 to 127.0.0.1:80, 12 bytes to receive`, `listening at 127.0.0.1:80`; undefined for what is no socket, or of a form that is not known here. */
export function socketWords(kind: string, state: Json): string | undefined {
  const ends = socketEnds(kind, state);
  const role = textAt(state, 'role');
  if (ends === undefined || (role === undefined && kind !== 'udp-socket')) return undefined;
  const { own, other } = ends;
  const type = kind === 'unix-socket' ? unixTypes[numberAt(state, 'type') ?? 0] : undefined;
  const place = [
    own === undefined ? '' : other === undefined ? `at ${own}` : own,
    other === undefined ? '' : `to ${other}`,
  ];
  const first = [type, role, ...place].filter((word) => word !== undefined && word !== '').join(' ');
  return [first, ...waitingIn(kind, state)].filter((part) => part !== '').join(', ');
}

/** socket(2) */
const unixTypes: Readonly<Record<number, string>> = { 1: 'stream', 2: 'datagrams', 5: 'packets' };

function waitingIn(kind: string, state: Json): string[] {
  const stream = at(state, 'stream');
  const first = isList(stream) ? stream[0] : undefined;
  const toSend = numberAt(first, 'sendQueue', 'bytes') ?? 0;
  const toReceive = numberAt(first, 'receiveQueue', 'bytes') ?? numberAt(state, 'unread', 'bytes') ?? 0;
  const queue = at(state, 'queue');
  const messages = (isList(queue) ? queue.length : 0) + (kind === 'udp-socket' ? (numberAt(state, 'waiting') ?? 0) : 0);
  const connections = kind === 'tcp-socket' ? (numberAt(state, 'waiting') ?? 0) : 0;
  return [
    toSend === 0 ? '' : `${counted(toSend, 'byte')} to send`,
    toReceive === 0 ? '' : `${counted(toReceive, 'byte')} to receive`,
    messages === 0 ? '' : `${counted(messages, 'message')} to receive`,
    connections === 0 ? '' : `${counted(connections, 'connection')} to accept`,
  ];
}

/** Of what `toJson` has made of a byte string. */
const bytesOf = (state: Json | undefined): Buffer => Buffer.from(textAt(state, 'hex') ?? '', 'hex');

function inetEnd(state: Json | undefined): string | undefined {
  const end = bytesOf(state);
  return end.length === INET_SIZE || end.length === INET6_SIZE ? endText(end) : undefined;
}

/** An abstract name with @ in the place of its NUL, as ss(8) shows it. */
function unixName(state: Json | undefined): string | undefined {
  const name = bytesOf(state);
  if (name.length === 0) return undefined;
  return name[0] === 0 ? `@${name.subarray(1).toString()}` : name.toString();
}
