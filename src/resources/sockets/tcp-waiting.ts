/** TCP connections that wait in a listener to be accepted, made again with both ends here ({@link SavedWait}). */
import { ERRNO } from '../../kernel/abi/errno.ts';
import { FCNTL, OPEN } from '../../kernel/abi/fcntl.ts';
import { TCP, TCP_STATE } from '../../kernel/abi/inet.ts';
import { SOCKET } from '../../kernel/abi/socket.ts';
import { duplicate, fcntl } from '../../kernel/calls/descriptors.ts';
import { listenOn, shutDown, tryConnect } from '../../kernel/calls/sockets.ts';
import { awaitTcpState } from '../../kernel/calls/tcp-fin.ts';
import { fillQueue } from '../../kernel/calls/tcp-repair.ts';
import { check } from '../../kernel/errors.ts';
import type { OwnedFd } from '../../kernel/owned-fd.ts';
import type { LocalFd } from '../../support/brand.ts';
import { QuicksaveError } from '../../support/errors.ts';
import { endText } from '../../support/inet-address.ts';
import type { RestoredDescriptors } from '../resource.ts';
import { widenBuffers } from '../socket-options.ts';
import type { TcpSocket } from './tcp-state.ts';

const keyOf = (socket: number): string => `tcp socket that waits ${socket}`;
const LARGEST_BACKLOG = 4096;
const ROOM = 1 << 20;

/** `connected`: called when it is, for what only a connection can have. */
export interface Waiting {
  readonly client: OwnedFd;
  readonly state: TcpSocket;
  readonly connected: (client: LocalFd) => void;
  close(): void;
}

/** A socket with its address, that its listener connects. */
export function letWaitLater(
  made: OwnedFd,
  state: TcpSocket,
  connected: Waiting['connected'],
  world: RestoredDescriptors,
): void {
  const client = duplicate(made.number);
  world.shared(keyOf(state.waits?.socket ?? 0), () => ({
    waiting: { client, state, connected, close: () => client.close() },
  }));
}

/** All objects are made. */
export function letWait({ pending = [], backlog }: TcpSocket, listener: LocalFd, world: RestoredDescriptors): void {
  if (pending.length === 0) return;
  listenOn(listener, LARGEST_BACKLOG);
  for (const socket of pending) connect(world.shared<{ waiting: Waiting }>(keyOf(socket), missing).waiting);
  listenOn(listener, backlog);
}

function missing(): never {
  throw new QuicksaveError('damaged-image', 'A connection of the image waits for one that is not in the image.');
}

function connect({ client: { number }, state, connected }: Waiting): void {
  const { sent = Buffer.alloc(0), ended = false, deaf = false } = state.waits ?? {};
  const doing = `connect to ${endText(state.remote)} again`;
  const flags = fcntl(number, FCNTL.F_GETFL, 0, 'read the flags of a socket');
  fcntl(number, FCNTL.F_SETFL, flags | OPEN.O_NONBLOCK, 'set the flags of a socket');
  const result = tryConnect(number, state.remote);
  if (result !== -ERRNO.EINPROGRESS) check('connect', result, { doing });
  awaitTcpState(number, TCP_STATE.ESTABLISHED);
  fcntl(number, FCNTL.F_SETFL, flags, 'set the flags of a socket');
  widenBuffers(number, 4 * sent.length + ROOM);
  fillQueue(number, sent);
  if (deaf) shutDown(number, SOCKET.SHUT_RD);
  if (ended) shutDown(number, SOCKET.SHUT_WR);
  connected(number);
}

/** Of a connection that stands, it has no meaning any more. */
export const isOfTheBeginning = ({ level, option }: { readonly level: number; readonly option: number }): boolean =>
  level === SOCKET.IPPROTO_TCP && option === TCP.TCP_FASTOPEN_CONNECT;
