/** Collecting a TCP socket, and what stands in the way of that. */
import { OPEN } from '../../kernel/abi/fcntl.ts';
import { TCP, TCP_STATE } from '../../kernel/abi/inet.ts';
import { SOCKET } from '../../kernel/abi/socket.ts';
import { peekBytes } from '../../kernel/calls/socket-queues.ts';
import {
  hasPendingError,
  hasUrgentByte,
  hearsNothing,
  nameOfSocket,
  tryAskSocket,
  tryPeerNameOf,
  trySocketOption,
} from '../../kernel/calls/sockets.ts';
import { mayRepair, readTcpStream, type TcpEnds } from '../../kernel/calls/tcp-repair.ts';
import type { Connection } from '../../netlink/nf-tables.ts';
import type { LocalFd } from '../../support/brand.ts';
import { type Problem, QuicksaveError } from '../../support/errors.ts';
import { endText } from '../../support/inet-address.ts';
import { heldOutside } from '../held-outside.ts';
import type { DescriptorView, OpenDescriptor } from '../resource.ts';
import { collectBuffers, collectOptions } from '../socket-options.ts';
import { elsewhere, lookThrough } from './facts.ts';
import { hiddenSettings } from './hidden-settings.ts';
import { asSockaddr, connectionOf } from './inet-names.ts';
import { inetProblem } from './inet-obstacles.ts';
import { tcpBeginningOptions, tcpOptions } from './inet-options.ts';
import { collectFilter, hiddenFilter } from './socket-filter.ts';
import { clientsHere, othersWaiting, sentByWaiting, tcpCensus, tcpEntries, waitingHere } from './tcp-pending.ts';
import type { SavedStream, TcpSocket } from './tcp-state.ts';
import { isOfTheBeginning } from './tcp-waiting.ts';

/** To the end of tcpi_bytes_sent (Linux 4.19). */
const INFO_SIZE = 208;
const BYTES_SENT_AT = 200;

interface TcpInfo {
  readonly state: number;
  /** TCPI_OPT_… */
  readonly options: number;
  readonly sendScale: number;
  readonly receiveScale: number;
  /** Of a listener: how many wait, and its backlog. */
  readonly waiting: number;
  readonly backlog: number;
  /** Also of what went with the first packet (TCP Fast Open). */
  readonly sentBytes: bigint;
}

/** The first bytes of struct tcp_info (linux/tcp.h), which never move. An older kernel gives fewer. */
function tcpInfoOf(own: LocalFd): TcpInfo {
  const info = trySocketOption(own, SOCKET.IPPROTO_TCP, TCP.TCP_INFO, INFO_SIZE);
  if (info === undefined) throw new QuicksaveError('tcp-info', 'The kernel does not tell the state of a TCP socket.');
  const scales = info.readUInt8(6);
  return {
    state: info.readUInt8(0),
    options: info.readUInt8(5),
    sendScale: scales & 15,
    receiveScale: scales >> 4,
    waiting: info.readUInt32LE(24),
    backlog: info.readUInt32LE(28),
    sentBytes: info.length < INFO_SIZE ? 0n : info.readBigUInt64LE(BYTES_SENT_AT),
  };
}

/** As much of struct tcp_ao_info_opt as has no meaning when it is asked. */
const AO_QUESTION = 8;

const STATE_NAMES = new Map<number, string>(Object.entries(TCP_STATE).map(([name, state]) => [state, name]));

/** Of the states of a connection that stands, or of which one end or both have said that nothing more comes. */
const ENDS: ReadonlyMap<number, TcpEnds> = new Map<number, TcpEnds>([
  [TCP_STATE.ESTABLISHED, { own: 'open', other: false }],
  [TCP_STATE.CLOSE_WAIT, { own: 'open', other: true }],
  [TCP_STATE.FIN_WAIT1, { own: 'unacknowledged', other: false }],
  [TCP_STATE.FIN_WAIT2, { own: 'acknowledged', other: false }],
  [TCP_STATE.CLOSING, { own: 'unacknowledged', other: true }],
  [TCP_STATE.LAST_ACK, { own: 'unacknowledged', other: true }],
]);

const isSavable = (state: number): boolean =>
  ENDS.has(state) || state === TCP_STATE.LISTEN || state === TCP_STATE.CLOSE || state === TCP_STATE.SYN_SENT;

export function tcpObstacles(view: DescriptorView): Problem[] {
  const seen = lookThrough(view, (own) => ({
    info: tcpInfoOf(own),
    urgent: hasUrgentByte(own),
    isAuthenticated: tryAskSocket(own, SOCKET.IPPROTO_TCP, TCP.TCP_AO_INFO, Buffer.alloc(AO_QUESTION)) !== undefined,
    sharesPort: trySocketOption(own, SOCKET.SOL_SOCKET, SOCKET.SO_REUSEPORT, 4)?.[0] === 1,
    layer: trySocketOption(own, SOCKET.IPPROTO_TCP, TCP.TCP_ULP, 16)?.toString('latin1').replaceAll('\0', '') ?? '',
  }));
  if (seen === undefined) return [];
  const found = [...heldOutside(view, 'a socket'), ...elsewhere(view), ...hiddenFilter(view)];
  const { info, urgent, layer, isAuthenticated, sharesPort } = seen;
  const saysAlready = info.state === TCP_STATE.SYN_SENT && info.sentBytes > 0n;
  if (!isSavable(info.state) || saysAlready) found.push(inBetween(view, info.state));
  if (urgent) found.push(inetProblem(view, 'urgent-byte', 'It has an out-of-band byte to be read'));
  if (isSigned(view))
    found.push(inetProblem(view, 'tcp-layer', 'It has keys that its segments are signed with (TCP_MD5SIG)'));
  if (isAuthenticated)
    found.push(inetProblem(view, 'tcp-layer', 'It has keys that its segments are signed with (TCP-AO)'));
  if (layer !== '')
    found.push(inetProblem(view, 'tcp-layer', `Its connection has the kernel's ${layer} on it (TCP_ULP)`));
  found.push(...hiddenSettings(view, sharesPort && !ENDS.has(info.state)));
  found.push(...connectionObstacles(view, info), ...waitingObstacles(view, info));
  return found;
}

/** Asked once for all descriptors that are looked at together. */
const rights = new WeakMap<readonly DescriptorView[], boolean>();

function mayRepairAll(siblings: readonly DescriptorView[]): boolean {
  const known = rights.get(siblings) ?? mayRepair();
  rights.set(siblings, known);
  return known;
}

/** What becomes of a connection is the choice of the save, and needs the rights for it. */
function connectionObstacles(view: DescriptorView, { state }: TcpInfo): Problem[] {
  const { tcp = 'established' } = view.outside;
  if (!ENDS.has(state) || tcp === 'close') return [];
  if (tcp === 'established' && mayRepairAll(view.siblings)) return [];
  const ends = lookThrough(view, (own) => ({ local: nameOfSocket(own), remote: tryPeerNameOf(own) }));
  if (ends?.remote === undefined) return [];
  const path = [`pid ${view.pid}`, `fd ${view.fd}`, view.descriptor.target];
  const where = `It is connected from ${endText(ends.local)} to ${endText(ends.remote)}`;
  return [tcp === 'refuse' ? unwanted(path, where) : notAllowed(path, where)];
}

/** Clients that are not saved themselves would be reset with the end of the listener. */
function waitingObstacles(view: DescriptorView, { state, waiting }: TcpInfo): Problem[] {
  const { ends = false, tcp = 'established' } = view.outside;
  if (!ends || tcp === 'close' || state !== TCP_STATE.LISTEN) return [];
  const lost = waiting - (tcp === 'established' && waiting > 0 ? clientsHere(view).length : 0);
  if (lost <= 0) return [];
  const seen = lookThrough(view, (own) => ({ local: nameOfSocket(own), others: othersWaiting(view, own) }));
  if (seen === undefined) return [];
  const what = lost === 1 ? 'a connection waits' : `${lost} connections wait`;
  return [
    {
      code: 'pending-connection',
      path: [`pid ${view.pid}`, `fd ${view.fd}`, view.descriptor.target],
      message: `It listens on ${endText(seen.local)}, and ${what} in it to be accepted${whoseText(seen.others)}, which would be lost with its end.`,
      remedy: 'Try again when the program has accepted them, or leave out --kill, or give --tcp close.',
    },
  ];
}

const whoseText = (others: readonly string[]): string => (others.length === 0 ? '' : ` (of ${others.join(', ')})`);

const unwanted = (path: readonly string[], where: string): Problem => ({
  code: 'tcp-connection',
  path,
  message: `${where}.`,
  remedy: 'Close the connection first, or give --tcp established or --tcp close.',
});

const notAllowed = (path: readonly string[], where: string): Problem => ({
  code: 'not-enough-rights',
  path,
  message: `${where}, which only who administers the network may save.`,
  remedy: 'Run quicksave as root, or give it CAP_NET_ADMIN; or give --tcp close.',
});

const signed = new WeakMap<readonly DescriptorView[], ReadonlySet<number>>();

function isSigned(view: DescriptorView): boolean {
  let inodes = signed.get(view.siblings);
  if (inodes === undefined) {
    inodes = new Set(tcpCensus(view).flatMap((entry) => (entry.isSigned ? [entry.inode] : [])));
    signed.set(view.siblings, inodes);
  }
  return inodes.has(Number(view.stat.inode));
}

const inBetween = (view: DescriptorView, state: number): Problem =>
  inetProblem(
    view,
    'tcp-state',
    `It is a TCP connection that is just beginning (${STATE_NAMES.get(state) ?? state})`,
    'Try again when the connection stands, or the program has closed it.',
  );

export function collectTcp(open: OpenDescriptor): TcpSocket {
  const { own } = open;
  const info = tcpInfoOf(own);
  const isListening = info.state === TCP_STATE.LISTEN;
  const isConnected = ENDS.has(info.state);
  const local = nameOfSocket(own);
  const isConnecting = info.state === TCP_STATE.SYN_SENT;
  const remote = (isConnecting ? goalOf(open) : tryPeerNameOf(own)) ?? Buffer.alloc(0);
  const keeps = open.connections.policy === 'established';
  const pending = isListening && keeps && info.waiting > 0 ? clientsHere(open) : [];
  const lost = isListening ? Math.max(0, info.waiting - pending.length) : 0;
  if (lost > 0) refuseWaiting(open, lost, local);
  if (isConnected && keeps && waitingHere(open).has(Number(open.stat.inode)))
    return waitingOf(open, info, { local, remote });
  const isCut = isConnected && open.connections.policy === 'close';
  const role = isListening ? 'listening' : isCut ? 'cut' : isConnected ? 'connected' : roleOf(own, isConnecting);
  const isBefore = role === 'closed' || role === 'connecting' || isListening;
  const options = collectOptions(own, isBefore ? tcpBeginningOptions : tcpOptions);
  return {
    domain: local.readUInt16LE(0) === SOCKET.AF_INET ? SOCKET.AF_INET : SOCKET.AF_INET6,
    flags: (open.info.flags & ~OPEN.O_CLOEXEC) >>> 0,
    role,
    unread: role === 'finished' || role === 'cut' ? peekBytes(own) : Buffer.alloc(0),
    local,
    remote,
    backlog: isListening ? info.backlog : 0,
    waiting: lost,
    buffers: collectBuffers(own),
    options,
    ...collectFilter(own),
    stream: isConnected && !isCut ? [streamOf(open, info, { local, remote })] : [],
    ...(pending.length === 0 ? {} : { pending }),
  };
}

/** With its other end, which nobody has yet. */
function waitingOf(open: OpenDescriptor, info: TcpInfo, ends: { local: Buffer; remote: Buffer }): TcpSocket {
  const { own } = open;
  if (!mayRepair()) throw asError(notAllowed([], whereOf(open, ends)));
  const fins = finsOf(info);
  return {
    domain: ends.local.readUInt16LE(0) === SOCKET.AF_INET ? SOCKET.AF_INET : SOCKET.AF_INET6,
    flags: (open.info.flags & ~OPEN.O_CLOEXEC) >>> 0,
    role: 'waiting',
    unread: Buffer.alloc(0),
    ...ends,
    backlog: 0,
    waiting: 0,
    buffers: collectBuffers(own),
    options: collectOptions(own, tcpOptions).filter((one) => !isOfTheBeginning(one)),
    ...collectFilter(own),
    stream: [],
    waits: {
      socket: Number(open.stat.inode),
      sent: sentByWaiting(open, own, fins),
      ended: fins.own !== 'open',
      deaf: hearsNothing(own),
    },
  };
}

/** When a connection ends, both directions are shut down (net/ipv4/tcp.c, tcp_done), and the socket is in CLOSE. */
function roleOf(own: LocalFd, isConnecting: boolean): 'closed' | 'connecting' | 'finished' | 'cut' {
  if (isConnecting) return 'connecting';
  if (!hearsNothing(own)) return 'closed';
  return hasPendingError(own) ? 'cut' : 'finished';
}

/** One has come since it was looked at. */
function refuseWaiting(open: OpenDescriptor, waiting: number, local: Buffer): void {
  const { pid, fd, connections, own } = open;
  if (!connections.ends || connections.policy === 'close') return;
  const whose = whoseText(othersWaiting(open, own));
  throw new QuicksaveError(
    'pending-connection',
    `Descriptor ${fd} of process ${pid} listens on ${endText(local)}, and ${waiting === 1 ? 'a connection waits' : `${waiting} connections wait`} in it to be accepted${whose}, which would be lost.`,
    { remedy: 'Try again when the program has accepted them, or give --tcp close.' },
  );
}

const finsOf = ({ state }: TcpInfo): TcpEnds => ENDS.get(state) ?? { own: 'open', other: false };

const whereOf = ({ pid, fd }: OpenDescriptor, { local, remote }: { local: Buffer; remote: Buffer }): string =>
  `Descriptor ${fd} of process ${pid} is connected from ${endText(local)} to ${endText(remote)}`;

function streamOf(open: OpenDescriptor, info: TcpInfo, ends: { local: Buffer; remote: Buffer }): SavedStream {
  const { connections, own } = open;
  const where = whereOf(open, ends);
  // It has been answered since it was looked at.
  if (connections.policy === 'refuse') throw asError(unwanted([], where));
  if (!mayRepair()) throw asError(notAllowed([], where));
  connections.hold(() => connectionsOf(open));
  connections.silence(own);
  const fins = finsOf(info);
  return {
    ...readTcpStream(own, fins),
    ownEnd: fins.own,
    otherEnd: fins.other,
    deaf: !fins.other && hearsNothing(own),
    usesTimestamps: (info.options & TCP.TCPI_OPT_TIMESTAMPS) !== 0,
    usesSack: (info.options & TCP.TCPI_OPT_SACK) !== 0,
    usesWindowScale: (info.options & TCP.TCPI_OPT_WSCALE) !== 0,
    sendScale: info.sendScale,
    receiveScale: info.receiveScale,
    table: connections.table,
  };
}

const asError = ({ code, message, remedy }: Problem): QuicksaveError =>
  new QuicksaveError(code, message, remedy === undefined ? {} : { remedy });

/** Whom a socket is connecting to: getpeername(2) does not tell before there is an answer. */
function goalOf({ stat, pid, fd }: DescriptorView): Buffer {
  const entry = tcpEntries().find(({ inode }) => inode === Number(stat.inode));
  // It has been answered, or given up, since the program was stopped: neither needs the program.
  if (entry === undefined || entry.state !== TCP_STATE.SYN_SENT)
    throw new QuicksaveError(
      'tcp-state',
      `Descriptor ${fd} of process ${pid} has just been answered, or has given up.`,
      {
        remedy: 'Try again.',
      },
    );
  return asSockaddr(entry.remote);
}

/** All connections that are saved together. */
function connectionsOf(view: DescriptorView): Connection[] {
  const inodes = new Set(view.siblings.map(({ stat }) => Number(stat.inode)));
  const waiting = waitingHere(view);
  return tcpEntries()
    .filter(({ inode, state }) => ENDS.has(state) && inodes.has(inode) && !waiting.has(inode))
    .map(({ local, remote }) => connectionOf(asSockaddr(local), asSockaddr(remote)));
}
