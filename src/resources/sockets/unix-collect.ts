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
import { lookThrough } from './facts.ts';
import { collectFilter, hiddenFilter } from './socket-filter.ts';
import { isListening, type UnixCensus, unixCensus } from './unix-census.ts';
import { countInFlight, hidesDescriptors, messagesOf } from './unix-messages.ts';
import { addressOf, findPlace, isPath, nameIn, textOf } from './unix-names.ts';
import { otherEndOutside, wayOutside } from './unix-outside.ts';
import { collectPending, connectorOf, hidesPendingDescriptors, pendingObstacles } from './unix-pending.ts';
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
    ...pendingObstacles(view, entry, census),
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
  const outside = otherEndOutside(entry, census);
  if (outside !== undefined) return toOutside(view, entry, outside, census);
  if (!entry.peer || census.listenerWaitedFor(entry.inode) !== undefined) return [];
  const peer = census.entry(entry.peer);
  if (peer?.peer === entry.inode || peer?.name !== undefined) return [];
  return [problem(view, 'odd-connection', 'It is connected to a socket that has no name and is connected elsewhere')];
}

function toOutside(view: DescriptorView, entry: UnixSocketEntry, peer: number, census: UnixCensus): Problem[] {
  if (wayOutside(view, entry, peer, census) !== undefined) return [];
  const holders = census.holders(peer);
  // It may be in flight itself.
  if (holders.length === 0 && !view.queuesSeen && view.siblings.some((one) => countInFlight(one) > 0)) return [];
  const whose = holders.length === 0 ? 'nobody whose descriptors can be seen' : describeHolders(holders);
  return [
    problem(
      view,
      'socket-to-outside',
      `It has a UNIX socket open whose other end ${whose} holds, outside of what is saved`,
      remedyOutside(census.entry(peer)),
    ),
  ];
}

/** A name is only of use where somebody listens or takes datagrams: the restart says so. */
function remedyOutside(other: UnixSocketEntry | undefined): string {
  const again = other?.name === undefined ? '' : `--external ${textOf(other.name)} (a restart connects it again) or `;
  return `Save the other process together with it, close the connection first, or give ${again}--close-external (it comes back as closed).`;
}

function queueObstacles(view: DescriptorView, entry: UnixSocketEntry): Problem[] {
  const found: Problem[] = [];
  if (isListening(entry) ? hidesPendingDescriptors(view) : hidesDescriptors(view)) {
    found.push(
      problem(
        view,
        'descriptors-in-flight',
        'Descriptors have been sent to it (SCM_RIGHTS) that it has not received yet and nobody else can see',
        'Save it when the program has received them.',
      ),
    );
  }
  found.push(...hiddenFilter(view));
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
  const other = otherEndOutside(entry, census);
  if (other !== undefined) return collectOutside(open, entry, mustHave(wayOutside(open, entry, other, census)), census);
  const role = roleOf(entry, census);
  const ends = endsOf(open, entry, census, role);
  return {
    ...ownState(open, entry),
    role,
    ...ends,
    accepted: acceptedEnd(entry, census, role, ends),
    keepsCredentials: areInside(open, [...ends.credentials, ...ends.otherCredentials]),
    backlog: isListening(entry) ? entry.sendQueue : 0,
    reset: role === 'orphan' && hasPendingError(open.own),
    queue: isListening(entry) ? [] : refuseOddSenders(open, role, ends, queueOf(open, entry)),
    ...(role === 'waiting' ? { connector: connectorOf(open) } : {}),
    ...(isListening(entry) ? { pending: collectPending(open, entry, census) } : {}),
  };
}

/** What does not depend on other ends. */
function ownState(
  { own, info }: OpenDescriptor,
  { inode, peer, type, shutdown }: UnixSocketEntry,
): Pick<UnixSocket, 'socket' | 'peer' | 'type' | 'flags' | 'shutdown' | 'buffers' | 'options' | 'filter'> {
  return {
    socket: inode,
    peer: peer ?? 0,
    type,
    flags: (info.flags & ~OPEN.O_CLOEXEC) >>> 0,
    shutdown: shutdown & 3,
    buffers: collectBuffers(own),
    options: collectOptions(own, generalOptions),
    ...collectFilter(own),
  };
}

const NO_NAME: Named = { name: Buffer.alloc(0), place: [] };

function collectOutside(
  open: OpenDescriptor,
  entry: UnixSocketEntry,
  way: NonNullable<ReturnType<typeof wayOutside>>,
  census: UnixCensus,
): UnixSocket {
  const isDatagram = entry.type === SOCKET.SOCK_DGRAM;
  const found = queueOf(open, entry);
  const state = {
    ...ownState(open, entry),
    own: named(open, entry.type, entry.inode, nameOfSocket(open.own), census),
    accepted: 'neither' as const,
    credentials: [],
    otherCredentials: [],
    keepsCredentials: true,
    backlog: 0,
    reset: false,
  };
  if (way === 'closed') {
    const queue = found.map((message) => ({ ...message, sender: NO_NAME.name }));
    return { ...state, role: 'orphan', other: NO_NAME, queue, outside: { becomes: 'closed', lost: 0 } };
  }
  const theirs = tryPeerNameOf(open.own) ?? Buffer.alloc(0);
  const queue = isDatagram ? found.filter(({ sender }) => !nameIn(theirs).equals(sender)) : [];
  const lost = isStreamType(entry.type) ? bytesQueued(open.own, SOCKET.SIOCINQ) : found.length - queue.length;
  return {
    ...state,
    role: isDatagram ? 'one-way' : 'outside',
    other: named(open, entry.type, 0, addressOf(way.name), census),
    queue: isDatagram ? refuseOddSenders(open, 'one-way', { ...state, other: NO_NAME }, queue) : queue,
    outside: { becomes: 'connected-again', lost },
  };
}

const queueOf = (open: OpenDescriptor, entry: UnixSocketEntry): UnixQueue =>
  asUnixQueue(messagesOf(open, entry), (own) => open.objectInFlight(own));

/** Who is connected takes messages of the other end only; older ones may be of somebody else. */
function refuseOddSenders(
  open: DescriptorView,
  role: UnixSocket['role'],
  ends: Pick<UnixSocket, 'own' | 'other'>,
  queue: UnixQueue,
): UnixQueue {
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
