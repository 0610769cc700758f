/** Collecting a UNIX socket, and what stands in the way of that. */
import { OPEN } from '../../kernel/abi/fcntl.ts';
import { SOCKET, socketAbi } from '../../kernel/abi/socket.ts';
import { bytesQueued } from '../../kernel/calls/descriptors.ts';
import {
  hasPendingError,
  hasUrgentByte,
  nameOfSocket,
  socketNumber,
  tryPeerNameOf,
  trySocketOption,
} from '../../kernel/calls/sockets.ts';
import { structOf } from '../../kernel/struct.ts';
import type { UnixSocketEntry } from '../../netlink/unix-sockets.ts';
import type { LocalFd } from '../../support/brand.ts';
import type { ErrorCode } from '../../support/error-pages/catalogue.ts';
import { type Problem, QuicksaveError } from '../../support/errors.ts';
import { describeHolders, heldOutside } from '../held-outside.ts';
import type { DescriptorView, OpenDescriptor } from '../resource.ts';
import { collectBuffers, collectOptions, generalOptions } from '../socket-options.ts';
import { lookThrough, socketFacts } from './facts.ts';
import { isListening, type UnixCensus, unixCensus } from './unix-census.ts';
import { countInFlight, hidesDescriptors, messagesOf } from './unix-messages.ts';
import { findPlace, isPath, nameIn, textOf } from './unix-names.ts';
import { asUnixQueue, isStreamType, type UnixQueue } from './unix-queue.ts';
import type { Named, UnixSocket } from './unix-state.ts';

const inodeOf = ({ stat }: DescriptorView): number => Number(stat.inode);

export function unixObstacles(view: DescriptorView): Problem[] {
  const census = unixCensus(view);
  const entry = census.entry(inodeOf(view));
  if (entry === undefined)
    return [problem(view, 'socket-elsewhere', 'It is a UNIX socket of another network namespace')];
  return [
    ...heldOutside(view, 'a socket'),
    ...peerObstacles(view, entry, census),
    ...listenerObstacles(view, entry, census),
    ...queueObstacles(view, entry),
    ...nameObstacles(view, entry),
  ];
}

/** Others reach it by its file, which must be found again; the other end of a connection only has its name. */
function nameObstacles(view: DescriptorView, { name, file, peer, type }: UnixSocketEntry): Problem[] {
  const isConnection = peer !== undefined && type !== SOCKET.SOCK_DGRAM;
  if (name === undefined || !isPath(name) || name[0] === SLASH || isConnection) return [];
  if (findPlace(view.pid, name).inode === file?.inode) return [];
  return [
    problem(
      view,
      'relative-socket-name',
      `It is bound to the relative path ${textOf(name)}, which leads elsewhere from where the program is now`,
    ),
  ];
}

const SLASH = 0x2f;

const WAIT_REMEDY = 'Save it when the program has closed it.';

const problem = (view: DescriptorView, code: ErrorCode, what: string, remedy = WAIT_REMEDY): Problem => ({
  code,
  path: [`pid ${view.pid}`, `fd ${view.fd}`, view.descriptor.target],
  message: `${what}, which cannot be saved.`,
  remedy,
});

function peerObstacles(view: DescriptorView, entry: UnixSocketEntry, census: UnixCensus): Problem[] {
  const waitsFor = census.listenerWaitedFor(entry.inode);
  if (waitsFor !== undefined) return waitingObstacles(view, entry, waitsFor, census);
  if (!entry.peer) return [];
  const inside = census.inside(entry.peer);
  if (inside === undefined) return toOutside(view, entry.peer, census);
  const peer = census.entry(entry.peer);
  if (peer?.peer === entry.inode || peer?.name !== undefined) return [];
  return [problem(view, 'odd-connection', 'It is connected to a socket that has no name and is connected elsewhere')];
}

function toOutside(view: DescriptorView, peer: number, census: UnixCensus): Problem[] {
  const holders = census.holders(peer);
  // It may be in flight itself.
  if (holders.length === 0 && !view.queuesSeen && view.siblings.some((one) => countInFlight(one) > 0)) return [];
  const whose = holders.length === 0 ? 'nobody whose descriptors can be seen' : describeHolders(holders);
  return [
    problem(
      view,
      'socket-to-outside',
      `It has a UNIX socket open whose other end ${whose} holds, outside of what is saved`,
      'Save the other process together with it, or close the connection first.',
    ),
  ];
}

function waitingObstacles(
  view: DescriptorView,
  entry: UnixSocketEntry,
  listener: UnixSocketEntry,
  census: UnixCensus,
): Problem[] {
  if (census.inside(listener.inode) === undefined) return toOutside(view, listener.inode, census);
  if (entry.sendQueue === 0) return [];
  return [
    problem(
      view,
      'pending-connection',
      'It has sent bytes to a listener that has not accepted it yet, and they cannot be seen',
      'Save it when the connection has been accepted.',
    ),
  ];
}

function listenerObstacles(view: DescriptorView, entry: UnixSocketEntry, census: UnixCensus): Problem[] {
  if (!isListening(entry)) return [];
  const strangers = entry.pending.filter((inode) => census.inside(inode) === undefined);
  if (strangers.length === 0) return [];
  const holders = strangers.flatMap((inode) => (inode === 0 ? [] : census.holders(inode)));
  const whose = holders.length === 0 ? 'a process that has ended' : describeHolders(holders);
  return [
    problem(
      view,
      'pending-connection',
      `A connection of ${whose} waits in it to be accepted`,
      'Save it when the program has accepted the connection.',
    ),
  ];
}

function queueObstacles(view: DescriptorView, entry: UnixSocketEntry): Problem[] {
  const found: Problem[] = [];
  if (isListening(entry) ? countInFlight(view) > 0 : hidesDescriptors(view)) {
    found.push(
      problem(
        view,
        'descriptors-in-flight',
        'Descriptors have been sent to it (SCM_RIGHTS) that it has not received yet and nobody else can see',
        'Save it when the program has received them.',
      ),
    );
  }
  if (socketFacts(view)?.filtered) found.push(problem(view, 'socket-filter', 'It has a filter'));
  if (lookThrough(view, hidesMessages)) {
    found.push(problem(view, 'pending-error', 'Its other end was closed with an error, behind which messages wait'));
  }
  if (lookThrough(view, hasUrgentByte))
    found.push(problem(view, 'urgent-byte', 'It has an out-of-band byte to be read'));
  return found;
}

/** Of packets, whose queue only shows when the error has been taken. */
const hidesMessages = (own: LocalFd): boolean =>
  !isStreamType(socketNumber(own, SOCKET.SOL_SOCKET, SOCKET.SO_TYPE, 'the type')) &&
  hasPendingError(own) &&
  bytesQueued(own, SOCKET.SIOCINQ) > 0;

export function collectUnix(open: OpenDescriptor): UnixSocket {
  const census = unixCensus(open);
  const entry = mustHave(census.entry(inodeOf(open)));
  const { own } = open;
  const type = entry.type;
  const role = roleOf(entry, census);
  const ends = endsOf(open, entry, census, role);
  return {
    socket: entry.inode,
    peer: entry.peer ?? 0,
    type,
    flags: (open.info.flags & ~OPEN.O_CLOEXEC) >>> 0,
    role,
    ...ends,
    accepted: acceptedEnd(entry, census, role, ends),
    keepsCredentials: areInside(open, [...ends.credentials, ...ends.otherCredentials]),
    backlog: isListening(entry) ? entry.sendQueue : 0,
    shutdown: entry.shutdown & 3,
    reset: role === 'orphan' && hasPendingError(own),
    queue: isListening(entry) ? [] : refuseOddSenders(open, role, ends, queueOf(open, entry)),
    buffers: collectBuffers(own),
    options: collectOptions(own, generalOptions),
  };
}

const queueOf = (open: OpenDescriptor, entry: UnixSocketEntry): UnixQueue =>
  asUnixQueue(messagesOf(open, entry), (own) => open.objectInFlight(own));

/** Who is connected takes messages of the other end only; older ones may be of somebody else. */
function refuseOddSenders(open: DescriptorView, role: UnixSocket['role'], ends: Ends, queue: UnixQueue): UnixQueue {
  const isConnected = role === 'pair' || role === 'orphan';
  const isOdd = isConnected
    ? queue.some(({ sender }) => sender.length > 0 && !Buffer.from(ends.other.name).equals(sender))
    : queue.length > 0 && ends.own.name.length === 0;
  if (!isOdd) return queue;
  throw new QuicksaveError(
    'odd-queue',
    `Descriptor ${open.fd} of process ${open.pid} is a socket with a message that it could not be sent as it is connected now.`,
    { remedy: 'Save it when the program has received the message.' },
  );
}

function roleOf(entry: UnixSocketEntry, census: UnixCensus): UnixSocket['role'] {
  if (isListening(entry)) return 'listening';
  if (census.listenerWaitedFor(entry.inode) !== undefined) return 'waiting';
  if (entry.peer === undefined) return 'alone';
  if (entry.peer === 0) return 'orphan';
  return census.entry(entry.peer)?.peer === entry.inode ? 'pair' : 'one-way';
}

type Ends = Pick<UnixSocket, 'own' | 'other' | 'credentials' | 'otherCredentials'>;

function endsOf(open: OpenDescriptor, entry: UnixSocketEntry, census: UnixCensus, role: UnixSocket['role']): Ends {
  const listener = role === 'waiting' ? census.listenerWaitedFor(entry.inode) : undefined;
  const otherInode = listener?.inode ?? entry.peer ?? 0;
  const otherView = census.inside(otherInode);
  const credentials = credentialsOf(open.own);
  return {
    own: named(open, entry.type, entry.inode, nameOfSocket(open.own), census),
    other: named(otherView ?? open, entry.type, otherInode, tryPeerNameOf(open.own) ?? Buffer.alloc(0), census),
    credentials: entry.peer === undefined && !isListening(entry) ? [] : credentials,
    otherCredentials: role === 'pair' && otherView !== undefined ? (lookThrough(otherView, credentialsOf) ?? []) : [],
  };
}

function named(open: DescriptorView, type: number, inode: number, address: Buffer, census: UnixCensus): Named {
  const name = nameIn(address);
  if (!isPath(name)) return { name, place: [] };
  const { inode: fileInode, ...found } = findPlace(open.pid, name);
  const owner = census.ownerOfFile(name, type, fileInode);
  const isOurs = owner !== undefined && census.inside(owner) !== undefined;
  const file = !isOurs ? 'gone' : owner === inode ? 'own' : 'of-another';
  return { name, place: [{ ...found, file }] };
}

const ucred = structOf(socketAbi.structs.ucred);

function credentialsOf(own: LocalFd): UnixSocket['credentials'] {
  const bytes = trySocketOption(own, SOCKET.SOL_SOCKET, SOCKET.SO_PEERCRED, ucred.size);
  if (bytes === undefined) return [];
  const { pid, uid, gid } = ucred.read(new DataView(bytes.buffer, bytes.byteOffset, bytes.length));
  return pid > 0 ? [{ pid, uid, gid }] : [];
}

const areInside = ({ tree }: DescriptorView, credentials: readonly { pid: number }[]): boolean =>
  credentials.every(({ pid }) => tree.has(pid));

function acceptedEnd(
  entry: UnixSocketEntry,
  census: UnixCensus,
  role: UnixSocket['role'],
  { own, other, credentials, otherCredentials }: Ends,
): UnixSocket['accepted'] {
  if (role !== 'pair' || entry.type === SOCKET.SOCK_DGRAM) return 'neither';
  const peer = census.entry(entry.peer ?? 0);
  const differ = credentials[0]?.pid !== otherCredentials[0]?.pid;
  const isAccepted = (end: UnixSocketEntry | undefined, { name }: Named): boolean =>
    end !== undefined && name.length > 0 && (differ || census.sharesName(end));
  if (isAccepted(entry, own)) return 'own';
  return isAccepted(peer, other) ? 'other' : 'neither';
}

function mustHave<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a socket is in the list of the kernel, or it has been refused');
  return value;
}
