/**
 * A TCP socket: tcp(7). A connection is read and made again in repair mode (Linux 3.5, TCP_REPAIR_WINDOW 4.8; CAP_NET_ADMIN), while all of its
 * packets are dropped (nf_tables): its sequence numbers, both queues, the window, and what the ends have agreed on. It comes back
 * whether the other end is saved too or goes on elsewhere. One that has not been answered yet is begun anew. Refused: data in its first packet, an
 * out-of-band byte, a layer on top (TLS in the kernel). Lost: round trip times, congestion window, packets out of order (they are sent again).
 */
import { ERRNO } from '../../kernel/abi/errno.ts';
import { FCNTL, OPEN } from '../../kernel/abi/fcntl.ts';
import { TCP, TCP_STATE } from '../../kernel/abi/inet.ts';
import { SOCKET } from '../../kernel/abi/socket.ts';
import { fcntl } from '../../kernel/calls/descriptors.ts';
import {
  acceptFrom,
  bindSocket,
  connectSocket,
  listenOn,
  makeSocket,
  nameOfSocket,
  setSocketOption,
  shutDown,
  tryConnect,
} from '../../kernel/calls/sockets.ts';
import { awaitBytes, awaitTcpState, tellFin } from '../../kernel/calls/tcp-fin.ts';
import { connectRepaired, fillQueue, makeForRepair, mayRepair } from '../../kernel/calls/tcp-repair.ts';
import { check } from '../../kernel/errors.ts';
import type { OwnedFd } from '../../kernel/owned-fd.ts';
import { PASSING_MARK } from '../../netlink/nf-tables.ts';
import type { LocalFd } from '../../support/brand.ts';
import type { Problem } from '../../support/errors.ts';
import { endText } from '../../support/inet-address.ts';
import type { DescriptorKind, RestoredDescriptors } from '../resource.ts';
import {
  int32,
  planInterfaces,
  restoreBuffers,
  restoreOptions,
  type SavedOption,
  stampOptions,
  widenBuffers,
} from '../socket-options.ts';
import { STATUS_FLAGS } from '../status-flags.ts';
import { socketFacts } from './facts.ts';
import { allowReuse, connectionOf, isUnbound, planEnd } from './inet-names.ts';
import { restoreFilter } from './socket-filter.ts';
import { collectTcp, tcpObstacles } from './tcp-collect.ts';
import { type SavedStream, type TcpSocket, tcpSchema } from './tcp-state.ts';
import { letWait, letWaitLater } from './tcp-waiting.ts';

export const tcpSocket: DescriptorKind<TcpSocket> = {
  kind: 'tcp-socket',
  schema: tcpSchema,
  recognise: (view) => {
    const facts = socketFacts(view);
    const isInet = facts?.domain === SOCKET.AF_INET || facts?.domain === SOCKET.AF_INET6;
    return isInet && facts?.protocol === SOCKET.IPPROTO_TCP;
  },
  needsRest: true,
  obstacles: tcpObstacles,
  collect: collectTcp,
  plan: (state, _host, path) => {
    const needsRights = state.role === 'connected' && !mayRepair();
    const rights: Problem = {
      code: 'not-enough-rights',
      path,
      message: 'It is a TCP connection, which only who administers the network may bring back.',
      remedy: 'Restart it as root, or give quicksave CAP_NET_ADMIN.',
    };
    const missing = planInterfaces(state.options, path);
    if (missing.length > 0) return missing;
    const isEnded = state.role === 'finished' || state.role === 'cut';
    return [
      ...(isEnded ? [] : planEnd({ ...state, type: SOCKET.SOCK_STREAM, protocol: SOCKET.IPPROTO_TCP }, path)),
      ...(needsRights ? [rights] : []),
    ];
  },
  restore: (state, world) => {
    const made = make(state, world);
    fcntl(made.number, FCNTL.F_SETFL, state.flags & STATUS_FLAGS, 'set the flags of a socket');
    return made;
  },
  settle: letWait,
  remark: ({ role, waiting, local, remote }, fd) => {
    if (role === 'cut')
      return `descriptor ${fd} was connected to ${endText(remote)}: it comes back as a connection that was reset`;
    if (waiting === 0) return undefined;
    const what = waiting === 1 ? 'a connection' : `${waiting} connections`;
    return `descriptor ${fd} (listening on ${endText(local)}) had ${what} to be accepted: they are not in the image`;
  },
};

function make(state: TcpSocket, world: RestoredDescriptors): OwnedFd {
  switch (state.role) {
    case 'connected':
      return makeConnection(state, world);
    case 'finished':
    case 'cut':
      return makeEnded(state);
    case 'connecting':
      return makeConnecting(state);
    case 'waiting':
      return makeWaiting(state, world);
    default:
      return makeUnconnected(state);
  }
}

const REUSE = { level: SOCKET.SOL_SOCKET, option: SOCKET.SO_REUSEADDR };
const reuseOf = ({ options }: TcpSocket): number => {
  const value = options.find(({ level, option }) => level === REUSE.level && option === REUSE.option)?.value;
  return value === undefined ? 0 : Buffer.from(value).readInt32LE(0);
};

function makeUnconnected(state: TcpSocket, later: typeof LATE = []): OwnedFd {
  const made = makeSocket(state.domain, SOCKET.SOCK_STREAM, SOCKET.IPPROTO_TCP);
  restoreOptions(made.number, state.options, [REUSE, ...later]);
  restoreBuffers(made.number, state.buffers);
  // Connections of the same port may be there already, or still be on their way out.
  allowReuse(made.number);
  if (!isUnbound(state.local)) bindSocket(made.number, state.local, `bind a socket to ${endText(state.local)}`);
  setSocketOption(made.number, REUSE.level, REUSE.option, int32(reuseOf(state)));
  restoreFilter(made.number, state.filter);
  if (state.role === 'listening') listenOn(made.number, state.backlog);
  return made;
}

/**
 * Asks the other end again. A connect(2) that waited is called again and waits on, or learns the answer (net/ipv4/af_inet.c,
 * SS_CONNECTING); so does who waits with poll(2).
 */
function makeConnecting(state: TcpSocket): OwnedFd {
  const made = makeUnconnected(state);
  fcntl(made.number, FCNTL.F_SETFL, OPEN.O_NONBLOCK, 'set the flags of a socket');
  const result = tryConnect(made.number, state.remote);
  const doing = `connect to ${endText(state.remote)} again`;
  if (result !== -ERRNO.EINPROGRESS) check('connect', result, { doing });
  return made;
}

/** Bound only: its listener connects it when it listens. A filter may keep packets of the beginning away. */
function makeWaiting(state: TcpSocket, world: RestoredDescriptors): OwnedFd {
  const { filter, ...rest } = state;
  const made = makeUnconnected(rest, LATE);
  const connected = (client: LocalFd): void => {
    restoreOptions(client, state.options.filter(isLate));
    restoreBuffers(client, state.buffers);
    restoreFilter(client, filter);
  };
  letWaitLater(made, state, connected, world);
  return made;
}

function makeConnection(state: TcpSocket, world: RestoredDescriptors): OwnedFd {
  const [stream] = state.stream;
  if (stream === undefined) throw new Error('the schema has let a connection without a stream through');
  world.connections.hold(connectionOf(state.local, state.remote), stream.table);
  const made = makeForRepair(state.domain);
  restoreOptions(made.number, state.options, [REUSE, ...LATE]);
  restoreBuffers(made.number, state.buffers);
  const room = 4 * (stream.sendQueue.length + stream.receiveQueue.length) + ROOM;
  connectRepaired(made.number, state, stream, stream, () => widenBuffers(made.number, room));
  if (stream.otherEnd) tellEnd(made, state, stream);
  restoreOptions(made.number, state.options.filter(isLate));
  restoreBuffers(made.number, state.buffers);
  // Behind the end that was told: a filter sees that segment too, and has let it pass before.
  restoreFilter(made.number, state.filter);
  const unsent = stream.sendQueue.subarray(stream.sendQueue.length - stream.unsentBytes);
  const { sendBytes, locked } = state.buffers;
  const shutdowns = [...(stream.deaf ? [SOCKET.SHUT_RD] : []), ...(stream.ownEnd === 'open' ? [] : [SOCKET.SHUT_WR])];
  world.connections.add(made.number, { unsent, reuseAddress: reuseOf(state), sendBytes, locked, shutdowns });
  return made;
}

/** As the other end has told it before. */
function tellEnd(made: OwnedFd, state: TcpSocket, stream: SavedStream): void {
  const { localAddress, localPort, remoteAddress, remotePort } = connectionOf(state.local, state.remote);
  tellFin(made.number, {
    from: { address: remoteAddress, port: remotePort },
    to: { address: localAddress, port: localPort },
    sequence: stream.receiveSequence,
    acknowledgement: stream.sendSequence - stream.sendQueue.length,
    window: stream.window.snd_wnd >>> (stream.usesWindowScale ? stream.sendScale : 0),
    mark: PASSING_MARK,
  });
}

/** When the connection stands. */
const LATE = [{ level: SOCKET.IPPROTO_TCP, option: TCP.TCP_CORK }, ...stampOptions];
const isLate = (one: SavedOption): boolean =>
  LATE.some(({ level, option }) => one.level === level && one.option === option);
const ROOM = 1 << 20;

/**
 * A connection of our own on loopback that has ended in the same way: by a reset, so that the next call says ECONNRESET, or because both ends had
 * finished. Its addresses are others; who asks for the other end's is told that it is not connected.
 */
function makeEnded(state: TcpSocket): OwnedFd {
  const listener = makeSocket(state.domain, SOCKET.SOCK_STREAM, SOCKET.IPPROTO_TCP);
  const made = makeSocket(state.domain, SOCKET.SOCK_STREAM, SOCKET.IPPROTO_TCP);
  try {
    const loopback = state.domain === SOCKET.AF_INET ? LOOPBACK : LOOPBACK6;
    bindSocket(listener.number, loopback, 'make a connection of our own');
    widenBuffers(made.number, 4 * state.unread.length + ROOM);
    widenBuffers(listener.number, 4 * state.unread.length + ROOM);
    listenOn(listener.number, 1);
    connectSocket(made.number, nameOfSocket(listener.number), 'make a connection of our own');
    const other = acceptFrom(listener.number);
    try {
      end(state, made, other);
    } finally {
      other.close();
    }
  } finally {
    listener.close();
  }
  awaitTcpState(made.number, TCP_STATE.CLOSE);
  restoreOptions(made.number, state.options.filter(isGeneral), [REUSE, ...stampOptions]);
  restoreBuffers(made.number, state.buffers);
  restoreFilter(made.number, state.filter);
  return made;
}

/** 127.0.0.1 and ::1, any port. */
const LOOPBACK = Buffer.from([SOCKET.AF_INET, 0, 0, 0, 127, 0, 0, 1, ...Array(8).fill(0)]);
const LOOPBACK6 = Buffer.from([SOCKET.AF_INET6, ...Array(22).fill(0), 1, ...Array(4).fill(0)]);

/** What belongs to packets of IP matters no more. */
const isGeneral = ({ level }: SavedOption): boolean => level === SOCKET.SOL_SOCKET || level === SOCKET.IPPROTO_TCP;

function end({ role, unread }: TcpSocket, made: OwnedFd, other: OwnedFd): void {
  fillQueue(other.number, unread);
  awaitBytes(made.number, unread.length);
  if (role === 'cut') {
    setSocketOption(other.number, SOCKET.SOL_SOCKET, SOCKET.SO_LINGER, Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]));
    return;
  }
  shutDown(other.number, SOCKET.SHUT_WR);
  awaitTcpState(made.number, TCP_STATE.CLOSE_WAIT);
  shutDown(made.number, SOCKET.SHUT_WR);
}
