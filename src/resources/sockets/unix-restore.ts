/** Making UNIX sockets again, in three steps: the socket or pair; what waits in it, when all are made; calls in the process. */
import { join } from 'node:path';
import { FCNTL } from '../../kernel/abi/fcntl.ts';
import { SOCKET } from '../../kernel/abi/socket.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import { duplicate, fcntl } from '../../kernel/calls/descriptors.ts';
import { trySendMessage } from '../../kernel/calls/socket-queues.ts';
import { acceptFrom, connectSocket, listenOn, makeSocket, type SocketPair } from '../../kernel/calls/sockets.ts';
import type { OwnedFd } from '../../kernel/owned-fd.ts';
import type { LocalFd, RemoteFd } from '../../support/brand.ts';
import type { RebuiltProcess, RestoredDescriptors } from '../resource.ts';
import { restoreBuffers, restoreOptions, type SavedOption } from '../socket-options.ts';
import { STATUS_FLAGS } from '../status-flags.ts';
import { SocketInside, socketPairBy } from './made-inside.ts';
import { restoreFilter } from './socket-filter.ts';
import { addressOf, bindName, isPath, type Place } from './unix-names.ts';
import { connectAgain } from './unix-outside.ts';
import { letWait, makeWaiting } from './unix-pending-restore.ts';
import { fillQueue, isStreamType, type UnixQueue } from './unix-queue.ts';
import type { Named, UnixSocket } from './unix-state.ts';

/** Set last, in the process: with the first three a socket that sends gets a name (unix(7), autobind), and the last one keeps descriptors away. */
const LATE = [SOCKET.SO_PASSCRED, SOCKET.SO_PASSPIDFD, SOCKET.SO_PASSSEC, SOCKET.SO_PEEK_OFF, SOCKET.SO_PASSRIGHTS].map(
  (option) => ({ level: SOCKET.SOL_SOCKET, option }),
);

const isLate = (option: SavedOption): boolean => LATE.some((late) => late.option === option.option);

export function restoreUnix(state: UnixSocket, world: RestoredDescriptors): OwnedFd {
  const made = makeEnd(state, world);
  // A listener's name is bound when all that it has accepted have been given it.
  if (state.own.name.length > 0 && state.role !== 'listening' && state.accepted !== 'own') {
    bindName(made.number, state.own.name, state.own.place[0]);
    world.shared(nameKey(state.type, state.own.name), () => ({ named: duplicate(made.number) }));
  }
  restoreOptions(made.number, state.options, LATE);
  fcntl(made.number, FCNTL.F_SETFL, state.flags & STATUS_FLAGS, 'set the flags of a socket');
  return made;
}

function makeEnd(state: UnixSocket, world: RestoredDescriptors): OwnedFd {
  switch (state.role) {
    case 'pair': {
      const pair = world.shared(pairKey(state), () => makePair(state, world));
      return duplicate((state.socket < state.peer ? pair.first : pair.second).number);
    }
    case 'orphan': {
      const pair = world.shared(pairKey(state), () => socketPairBy(world, state.credentials[0]?.pid ?? 0, state.type));
      if (state.other.name.length > 0) bindName(pair.second.number, state.other.name, state.other.place[0]);
      return duplicate(pair.first.number);
    }
    case 'listening':
      return isPath(state.own.name)
        ? duplicate(listenerInside(state, world).own.number)
        : duplicate(abstractListener(state.own.name, state.type, state.credentials[0]?.pid ?? 0, world).number);
    default:
      return state.connector === undefined
        ? makeSocket(SOCKET.AF_UNIX, state.type, 0)
        : makeWaiting(state.socket, state.connector, state.type, world);
  }
}

const pairKey = ({ socket, peer }: UnixSocket): string =>
  `unix pair ${Math.min(socket, peer)} ${Math.max(socket, peer)}`;

/** `first` has the lower number. */
function makePair(state: UnixSocket, world: RestoredDescriptors): SocketPair {
  if (state.accepted === 'neither') return socketPairBy(world, state.credentials[0]?.pid ?? 0, state.type);
  const isAcceptedOurs = state.accepted === 'own';
  const [accepted, atAccepted, atClient] = isAcceptedOurs
    ? [state.own, state.credentials, state.otherCredentials]
    : [state.other, state.otherCredentials, state.credentials];
  const request = {
    named: accepted,
    type: state.type,
    clientPid: atAccepted[0]?.pid ?? 0,
    listenerPid: atClient[0]?.pid ?? 0,
  };
  const { client, server } = makeConnection(request, world);
  return isAcceptedOurs === state.socket < state.peer
    ? { first: server, second: client }
    : { first: client, second: server };
}

interface ConnectionRequest {
  /** What the accepted end is called. */
  readonly named: Named;
  readonly type: number;
  readonly clientPid: number;
  readonly listenerPid: number;
}

function makeConnection(
  { named, type, clientPid, listenerPid }: ConnectionRequest,
  world: RestoredDescriptors,
): { client: OwnedFd; server: OwnedFd } {
  const client = new SocketInside(world.process(clientPid), type);
  if (!isPath(named.name)) {
    const listener = abstractListener(named.name, type, listenerPid, world);
    client.connect(addressOf(named.name));
    client.leave();
    return { client: client.own, server: acceptFrom(listener.number) };
  }
  const listener = new SocketInside(world.process(listenerPid), type);
  // The file is there for as long as it is needed to connect by it.
  const place: Place = { directory: '', mode: 0o700, uid: 0, gid: 0, ...named.place[0], file: 'of-another' };
  bindName(listener.own.number, named.name, place, () => {
    listener.listen(1);
    client.connect(addressOf(Buffer.from(join(place.directory, Buffer.from(named.name).toString()))));
  });
  listener.leave();
  client.leave();
  const server = acceptFrom(listener.own.number);
  listener.own.close();
  return { client: client.own, server };
}

const LARGEST_BACKLOG = 4096;

/** One for all connections that were accepted by that name, and for the listener itself if it is in the image. */
function abstractListener(name: Uint8Array, type: number, pid: number, world: RestoredDescriptors): OwnedFd {
  const key = `unix listener ${type} ${Buffer.from(name).toString('hex')}`;
  return world.shared(key, () => {
    const made = new SocketInside(world.process(pid), type);
    bindName(made.own.number, name, undefined);
    made.listen(LARGEST_BACKLOG);
    made.leave();
    return { listener: made.own };
  }).listener;
}

/** When all are made: what waits in it, and what must not be there before. */
export function settleUnix(state: UnixSocket, own: LocalFd, world: RestoredDescriptors): void {
  if (state.role === 'listening') startListening(state, own, world);
  putBack(state, world);
  if (state.role === 'one-way') connectSocket(own, reachable(state.other), 'connect a datagram socket');
  // What the other end leaves unread when it is closed is told here as ECONNRESET.
  if (state.reset) trySendMessage(own, { bytes: Buffer.alloc(1) });
  restoreBuffers(own, state.buffers);
  restoreFilter(own, state.filter);
}

/** Made by who is to be told as who listens. */
const listenerInside = ({ socket, type, credentials }: UnixSocket, world: RestoredDescriptors): SocketInside =>
  world.shared(`unix listener of ${socket}`, () => ({
    listener: new SocketInside(world.process(credentials[0]?.pid ?? 0), type),
  })).listener;

function startListening(state: UnixSocket, own: LocalFd, world: RestoredDescriptors): void {
  if (isPath(state.own.name)) {
    const inside = listenerInside(state, world);
    bindName(own, state.own.name, state.own.place[0]);
    inside.listen(LARGEST_BACKLOG);
    inside.leave();
  }
  // What is connected to it has some of these from it.
  restoreOptions(own, state.options.filter(isLate));
  letWait(state.pending ?? [], { type: state.type, address: reachable(state.own) }, world);
  listenOn(own, state.backlog);
}

/** The address by which a name is reached from wherever we are. */
const reachable = ({ name, place }: Named): Buffer =>
  isPath(name)
    ? addressOf(Buffer.from(join(place[0]?.directory ?? '', Buffer.from(name).toString())))
    : addressOf(name);

function putBack(state: UnixSocket, world: RestoredDescriptors): void {
  const way = { isStream: isStreamType(state.type), object: (objref: number) => world.object(objref) };
  if (state.queue.length === 0) return;
  if (state.role === 'pair' || state.role === 'orphan') {
    const pair = world.shared(pairKey(state), () => makePair(state, world));
    const isFirst = state.role === 'orphan' || state.socket < state.peer;
    fillQueue(state.queue, { ...way, from: (isFirst ? pair.second : pair.first).number });
    return;
  }
  for (const message of state.queue) {
    fillQueue([message], { ...way, from: senderOf(message, state.type, world).number, to: reachable(state.own) });
  }
}

const nameKey = (type: number, name: Uint8Array): string => `unix name ${type} ${Buffer.from(name).toString('hex')}`;

/** The socket of that name, if it is in the image; or one that has the name for as long as we need it. */
function senderOf({ sender }: UnixQueue[number], type: number, world: RestoredDescriptors): OwnedFd {
  return world.shared(nameKey(type, sender), () => {
    const named = makeSocket(SOCKET.AF_UNIX, type, 0);
    if (sender.length > 0) bindName(named.number, sender, isPath(sender) ? nowhere : undefined);
    return { named };
  }).named;
}

/** The file is removed at once. */
const nowhere: Place = { directory: '', file: 'gone', mode: 0, uid: 0, gid: 0 };

/** In the process: in whose name it listens or connects, shutdown, and options that change what sending does. */
export function finishUnix(state: UnixSocket, process: RebuiltProcess, fd: RemoteFd): void {
  const { batch } = process;
  if (state.role === 'listening') batch.call('listen on a socket', SYS.listen, fd, state.backlog);
  if (state.role === 'waiting' && state.connector !== undefined) {
    batch.call('see that a connection waits', SYS.getpeername, fd, batch.data(128).address, lengthOf(batch, 128));
  } else if (state.role === 'waiting') {
    const address = reachable(state.other);
    batch.call('connect a socket', SYS.connect, fd, batch.bytes(address).address, address.length);
    for (const bytes of state.early ?? []) {
      if (!batch.hasRoomFor(1, bytes.length)) batch.run();
      batch.call('send again', SYS.sendto, fd, batch.bytes(bytes).address, bytes.length, SOCKET.MSG_DONTWAIT, 0, 0);
    }
  }
  if (state.role === 'outside') connectAgain(process, fd, state.other.name, state.flags & STATUS_FLAGS);
  for (const { level, option, value } of state.options.filter(isLate)) {
    if (isDefault(option, value)) continue;
    batch.call(
      'set an option of a socket',
      SYS.setsockopt,
      fd,
      level,
      option,
      batch.bytes(value).address,
      value.length,
    );
  }
  // The end of what is closed has already shut it down.
  if (state.shutdown !== 0 && state.role !== 'orphan') {
    batch.call('shut a connection down', SYS.shutdown, fd, state.shutdown - 1);
  }
  batch.run();
}

function lengthOf(batch: RebuiltProcess['batch'], sizeBytes: number): number {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(sizeBytes);
  return batch.bytes(length).address;
}

function isDefault(option: number, value: Uint8Array): boolean {
  const number = Buffer.from(value).readInt32LE(0);
  if (option === SOCKET.SO_PASSRIGHTS) return number === 1;
  return option === SOCKET.SO_PEEK_OFF ? number === -1 : number === 0;
}
