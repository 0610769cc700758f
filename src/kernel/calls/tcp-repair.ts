/**
 * The state of a TCP connection, read and set in repair mode (TCP_REPAIR, Linux 3.5; CAP_NET_ADMIN). A socket in repair mode sends nothing and
 * vanishes without a word when it is closed, so it must not be left there: reading is one list of calls that ends with the way back,
 * whatever happens to us. Leaving the mode also switches SO_REUSEADDR off (net/ipv4/tcp.c), which is set again.
 */
import type { LocalFd } from '../../support/brand.ts';
import { QuicksaveError } from '../../support/errors.ts';
import { IP, IPV6, inetAbi, TCP, TCPOPT } from '../abi/inet.ts';
import { SOCKET } from '../abi/socket.ts';
import { SYS } from '../abi/syscall.ts';
import { check, isFailure } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { NativeMemory } from '../native-memory.ts';
import type { OwnedFd } from '../owned-fd.ts';
import { structOf } from '../struct.ts';
import { bytesQueued } from './descriptors.ts';
import {
  bindSocket,
  connectSocket,
  makeSocket,
  setSocketNumber,
  setSocketOption,
  socketNumber,
  trySetSocketOption,
} from './sockets.ts';
import { runToTheEnd, type SurvivingCall } from './surviving-calls.ts';

const window = structOf(inetAbi.structs.tcp_repair_window);
const option = structOf(inetAbi.structs.tcp_repair_opt);

export interface TcpWindow {
  readonly snd_wl1: number;
  readonly snd_wnd: number;
  readonly max_window: number;
  readonly rcv_wnd: number;
  readonly rcv_wup: number;
}

export interface TcpStream {
  /** The number of the next byte to be written, and of the next to be received. */
  readonly sendSequence: number;
  readonly receiveSequence: number;
  /** What has not been acknowledged; its last `unsentBytes` have not been sent either. */
  readonly sendQueue: Uint8Array;
  readonly unsentBytes: number;
  readonly receiveQueue: Uint8Array;
  /** What the other end said it takes in one segment. */
  readonly maxSegment: number;
  readonly timestamp: number;
  readonly window: TcpWindow;
}

/** Who has said that nothing more comes. */
export interface TcpEnds {
  /** shutdown(2) for sending, by us: acknowledged by the other end or not. */
  readonly own: 'open' | 'unacknowledged' | 'acknowledged';
  readonly other: boolean;
}

const INTS = 64;
const AT = {
  on: 0,
  off: 4,
  send: 8,
  receive: 12,
  reuse: 16,
  sendSequence: 20,
  receiveSequence: 24,
  maxSegment: 28,
  timestamp: 32,
  length: 36,
  windowLength: 40,
};

/** The sizes are asked before: nothing moves, because the connection is held silent and its process stands still. */
export function readTcpStream(socket: LocalFd, ends: TcpEnds): TcpStream {
  // The end of a stream has a number as a byte has, and stands in the queue until it is acknowledged.
  const waitingEnd = ends.own === 'unacknowledged' ? 1 : 0;
  const sendBytes = bytesQueued(socket, SOCKET.SIOCOUTQ) - waitingEnd;
  const unsentBytes = Math.max(0, bytesQueued(socket, TCP.SIOCOUTQNSD) - waitingEnd);
  const receiveBytes = bytesQueued(socket, SOCKET.SIOCINQ);
  const sendAt = INTS + 32;
  const receiveAt = sendAt + sendBytes;
  const memory = NativeMemory.allocate(receiveAt + receiveBytes + 8);
  try {
    const { view } = memory;
    view.setInt32(AT.on, TCP.TCP_REPAIR_ON, true);
    view.setInt32(AT.off, TCP.TCP_REPAIR_OFF_NO_WP, true);
    view.setInt32(AT.send, TCP.TCP_SEND_QUEUE, true);
    view.setInt32(AT.receive, TCP.TCP_RECV_QUEUE, true);
    view.setInt32(AT.reuse, socketNumber(socket, SOCKET.SOL_SOCKET, SOCKET.SO_REUSEADDR, 'SO_REUSEADDR'), true);
    view.setInt32(AT.length, 4, true);
    view.setInt32(AT.windowLength, window.size, true);
    const results = runToTheEnd(readingCalls(socket, memory, { sendAt, sendBytes, receiveAt, receiveBytes }));
    check('setsockopt', results[0] ?? 0, { doing: 'look into a TCP connection' });
    for (const result of results) check('getsockopt', result ?? 0, { doing: 'look into a TCP connection' });
    const isWhole = (result: number | undefined, sizeBytes: number): boolean => sizeBytes === 0 || result === sizeBytes;
    if (!isWhole(results[3], sendBytes) || !isWhole(results[6], receiveBytes)) {
      throw new QuicksaveError('tcp-queue', 'The queues of a TCP connection changed while they were being read.');
    }
    const seen = window.read(view, INTS);
    const receiveSequence = (view.getUint32(AT.receiveSequence, true) - (ends.other ? 1 : 0)) >>> 0;
    return {
      sendSequence: (view.getUint32(AT.sendSequence, true) - (ends.own === 'open' ? 0 : 1)) >>> 0,
      receiveSequence,
      sendQueue: Buffer.from(memory.bytes.subarray(sendAt, sendAt + sendBytes)),
      unsentBytes,
      receiveQueue: Buffer.from(memory.bytes.subarray(receiveAt, receiveAt + receiveBytes)),
      maxSegment: view.getUint32(AT.maxSegment, true),
      timestamp: view.getUint32(AT.timestamp, true),
      window: { ...seen, rcv_wup: isAfter(seen.rcv_wup, receiveSequence) ? receiveSequence : seen.rcv_wup },
    };
  } finally {
    memory.free();
  }
}

/** Numbers go round. */
const isAfter = (a: number, b: number): boolean => ((a - b) | 0) > 0;

interface QueuePlaces {
  readonly sendAt: number;
  readonly sendBytes: number;
  readonly receiveAt: number;
  readonly receiveBytes: number;
}

function readingCalls(socket: LocalFd, memory: NativeMemory, places: QueuePlaces): SurvivingCall[] {
  const set = (name: number, at: number, required = false): SurvivingCall => ({
    number: SYS.setsockopt,
    arguments: [socket, SOCKET.IPPROTO_TCP, name, memory.address + at, 4],
    required,
  });
  const get = (name: number, at: number, lengthAt: number): SurvivingCall => ({
    number: SYS.getsockopt,
    arguments: [socket, SOCKET.IPPROTO_TCP, name, memory.address + at, memory.address + lengthAt],
  });
  const peek = (at: number, sizeBytes: number): SurvivingCall => ({
    number: sizeBytes === 0 ? SYS.getpid : SYS.recvfrom,
    arguments: [socket, memory.address + at, sizeBytes, SOCKET.MSG_PEEK | SOCKET.MSG_DONTWAIT, 0, 0],
  });
  const calls = [
    set(TCP.TCP_REPAIR, AT.on, true),
    set(TCP.TCP_REPAIR_QUEUE, AT.send),
    get(TCP.TCP_QUEUE_SEQ, AT.sendSequence, AT.length),
    peek(places.sendAt, places.sendBytes),
    set(TCP.TCP_REPAIR_QUEUE, AT.receive),
    get(TCP.TCP_QUEUE_SEQ, AT.receiveSequence, AT.length),
    peek(places.receiveAt, places.receiveBytes),
    get(TCP.TCP_MAXSEG, AT.maxSegment, AT.length),
    get(TCP.TCP_TIMESTAMP, AT.timestamp, AT.length),
    get(TCP.TCP_REPAIR_WINDOW, INTS, AT.windowLength),
    set(TCP.TCP_REPAIR, AT.off),
    {
      number: SYS.setsockopt,
      arguments: [socket, SOCKET.SOL_SOCKET, SOCKET.SO_REUSEADDR, memory.address + AT.reuse, 4],
    },
  ];
  return calls;
}

/** What the two ends have agreed on when the connection began. */
export interface TcpAgreement {
  readonly usesTimestamps: boolean;
  readonly usesSack: boolean;
  readonly usesWindowScale: boolean;
  readonly sendScale: number;
  readonly receiveScale: number;
}

const setTcp = (socket: LocalFd, name: number, value: number): void =>
  setSocketNumber(socket, SOCKET.IPPROTO_TCP, name, value);

/** An unconnected socket in repair mode. */
export function makeForRepair(family: number): OwnedFd {
  const made = makeSocket(family, SOCKET.SOCK_STREAM, SOCKET.IPPROTO_TCP);
  setTcp(made.number, TCP.TCP_REPAIR, TCP.TCP_REPAIR_ON);
  return made;
}

/**
 * The connection as it was, in repair mode still, without what has not been sent. Its buffers have their sizes, which the window is limited by, until
 * `makeRoom` widens them for what goes into the queues.
 */
export function connectRepaired(
  socket: LocalFd,
  { local, remote }: { local: Uint8Array; remote: Uint8Array },
  stream: TcpStream,
  agreement: TcpAgreement,
  makeRoom: () => void,
): void {
  const unacknowledged = stream.sendSequence - stream.sendQueue.length;
  const unread = stream.receiveSequence - stream.receiveQueue.length;
  setTcp(socket, TCP.TCP_REPAIR_QUEUE, TCP.TCP_SEND_QUEUE);
  setTcp(socket, TCP.TCP_QUEUE_SEQ, unacknowledged);
  setTcp(socket, TCP.TCP_REPAIR_QUEUE, TCP.TCP_RECV_QUEUE);
  setTcp(socket, TCP.TCP_QUEUE_SEQ, unread);
  bindSocket(socket, local, 'give a TCP connection its address');
  connectSocket(socket, remote, 'bring a TCP connection back');
  setSocketOption(socket, SOCKET.IPPROTO_TCP, TCP.TCP_REPAIR_OPTIONS, agreementBytes(stream.maxSegment, agreement));
  setTcp(socket, TCP.TCP_TIMESTAMP, stream.timestamp);
  makeRoom();
  fillQueue(socket, stream.receiveQueue);
  setTcp(socket, TCP.TCP_REPAIR_QUEUE, TCP.TCP_SEND_QUEUE);
  fillQueue(socket, stream.sendQueue.subarray(0, stream.sendQueue.length - stream.unsentBytes));
  setTcp(socket, TCP.TCP_REPAIR_QUEUE, TCP.TCP_NO_QUEUE);
  setSocketOption(socket, SOCKET.IPPROTO_TCP, TCP.TCP_REPAIR_WINDOW, window.encode(stream.window));
  recomputeSegmentSize(socket);
}

/**
 * What one segment holds was computed by connect(2), from the smallest that everybody must take (net/ipv4/tcp_output.c, tcp_sync_mss). Taking away
 * IP options that are not there computes it again: from what the ends have agreed on, and no more than half of the widest window.
 */
function recomputeSegmentSize(socket: LocalFd): void {
  for (const [level, option] of NO_OPTIONS) trySetSocketOption(socket, level, option, Buffer.alloc(0));
}

const NO_OPTIONS = [
  [SOCKET.IPPROTO_IP, IP.IP_OPTIONS],
  [SOCKET.IPPROTO_IPV6, IPV6.IPV6_RTHDR],
] as const;

function agreementBytes(maxSegment: number, agreement: TcpAgreement): Buffer {
  const { usesTimestamps, usesSack, usesWindowScale, sendScale, receiveScale } = agreement;
  const entry = (opt_code: number, opt_val: number): Buffer => option.encode({ opt_code, opt_val });
  return Buffer.concat([
    entry(TCPOPT.MSS, maxSegment),
    ...(usesWindowScale ? [entry(TCPOPT.WINDOW, sendScale | (receiveScale << 16))] : []),
    ...(usesSack ? [entry(TCPOPT.SACK_PERM, 0)] : []),
    ...(usesTimestamps ? [entry(TCPOPT.TIMESTAMP, 0)] : []),
  ]);
}

const PIECE = 32 * 1024;

/** Into the queue that is being repaired, or towards the other end. */
export function fillQueue(socket: LocalFd, bytes: Uint8Array): void {
  if (bytes.length === 0) return;
  const memory = NativeMemory.allocate(bytes.length);
  try {
    memory.bytes.set(bytes);
    for (let done = 0; done < bytes.length; ) {
      const size = Math.min(PIECE, bytes.length - done);
      const sent = rawSyscall(SYS.sendto, socket, memory.address + done, size, SOCKET.MSG_DONTWAIT, 0, 0);
      done += check('sendto', sent, { doing: 'fill the queue of a TCP connection' });
    }
  } finally {
    memory.free();
  }
}

/** A socket in repair mode, to be set going. */
export interface Departure {
  readonly socket: LocalFd;
  /** What had not been sent. */
  readonly unsent: Uint8Array;
  readonly reuseAddress: number;
  /** What SO_SNDBUF and SO_BUF_LOCK tell: the buffer is wider while `unsent` goes into it. */
  readonly sendBytes: number;
  readonly locked: number;
  /** SHUT_RD and SHUT_WR of shutdown(2), once everything has been sent. */
  readonly shutdowns: readonly number[];
}

interface Order {
  readonly socket: LocalFd;
  readonly bytes: Uint8Array;
  /** Undefined: the bytes are sent. */
  readonly option?: readonly [level: number, option: number];
  /** shutdown(2) instead. */
  readonly shutdown?: number;
}

const int32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value | 0);
  return bytes;
};

const optionOrder = (socket: LocalFd, level: number, option: number, value: number): Order => ({
  socket,
  bytes: int32(value),
  option: [level, option],
});

function departureOrders(departure: Departure): Order[] {
  const { socket, unsent, reuseAddress, sendBytes, locked, shutdowns } = departure;
  const ends = shutdowns.map((shutdown): Order => ({ socket, bytes: Buffer.alloc(0), shutdown }));
  const general = (option: number, value: number): Order => optionOrder(socket, SOCKET.SOL_SOCKET, option, value);
  const going = [
    optionOrder(socket, SOCKET.IPPROTO_TCP, TCP.TCP_REPAIR, TCP.TCP_REPAIR_OFF),
    general(SOCKET.SO_REUSEADDR, reuseAddress),
  ];
  if (unsent.length === 0) return [...going, ...ends];
  return [
    ...going,
    general(SOCKET.SO_SNDBUFFORCE, Math.min(2 * unsent.length + sendBytes, 0x3fff_ffff)),
    { socket, bytes: unsent },
    general(SOCKET.SO_SNDBUFFORCE, Math.ceil(sendBytes / 2)),
    general(SOCKET.SO_BUF_LOCK, locked),
    ...ends,
  ];
}

/** In one list that ends whatever happens to us. `before`: datagrams to be sent through netlink sockets first. */
export function setGoing(departures: readonly Departure[], before: readonly Pick<Order, 'socket' | 'bytes'>[]): void {
  const orders: Order[] = [...before, ...departures.flatMap(departureOrders)];
  const memory = NativeMemory.allocate(orders.reduce((sum, { bytes }) => sum + bytes.length, 16));
  try {
    let used = 0;
    const calls = orders.map(({ socket, bytes, option: name, shutdown }): SurvivingCall => {
      if (shutdown !== undefined) return { number: SYS.shutdown, arguments: [socket, shutdown] };
      const address = memory.address + used;
      memory.bytes.set(bytes, used);
      used += bytes.length;
      if (name !== undefined) return { number: SYS.setsockopt, arguments: [socket, ...name, address, bytes.length] };
      const flags = SOCKET.MSG_DONTWAIT | SOCKET.MSG_NOSIGNAL;
      return { number: SYS.sendto, arguments: [socket, address, bytes.length, flags, 0, 0] };
    });
    runToTheEnd(calls).forEach((result, index) => {
      const order = orders[index];
      // The other end may have reset the connection meanwhile.
      if (order?.shutdown !== undefined) return;
      const doing = { doing: 'let a TCP connection go on' };
      check(order?.option === undefined ? 'sendto' : 'setsockopt', result ?? 0, doing);
      if (order?.option === undefined && result !== order?.bytes.length) {
        throw new QuicksaveError(
          'tcp-queue',
          'Not all of what a TCP connection had not sent could be given back to it.',
        );
      }
    });
  } finally {
    memory.free();
  }
}

/** Sockets that vanish without a word, and the end of who has them: the first steps only matter if the last is made. */
export function endSilently(
  sockets: readonly LocalFd[],
  lock: { readonly socket: LocalFd; readonly bytes: Uint8Array },
  kills: readonly { readonly pid: number; readonly signal: number }[],
): void {
  const memory = NativeMemory.allocate(16 + lock.bytes.length);
  try {
    memory.view.setInt32(0, TCP.TCP_REPAIR_ON, true);
    memory.bytes.set(lock.bytes, 16);
    const results = runToTheEnd([
      { number: SYS.sendto, arguments: [lock.socket, memory.address + 16, lock.bytes.length, 0, 0, 0], required: true },
      ...sockets.map((socket) => ({
        number: SYS.setsockopt,
        arguments: [socket, SOCKET.IPPROTO_TCP, TCP.TCP_REPAIR, memory.address, 4],
      })),
      ...kills.map(({ pid, signal }) => ({ number: SYS.kill, arguments: [pid, signal] })),
    ]);
    check('sendto', results[0] ?? 0, { doing: 'hold connections silent' });
  } finally {
    memory.free();
  }
}

/** May we enter repair mode at all? Asked of a socket of our own. */
export function mayRepair(): boolean {
  const probe = makeSocket(SOCKET.AF_INET, SOCKET.SOCK_STREAM, SOCKET.IPPROTO_TCP);
  try {
    const on = Buffer.alloc(4);
    on.writeInt32LE(TCP.TCP_REPAIR_ON);
    return !isFailure(trySetSocketOption(probe.number, SOCKET.IPPROTO_TCP, TCP.TCP_REPAIR, on));
  } finally {
    probe.close();
  }
}
