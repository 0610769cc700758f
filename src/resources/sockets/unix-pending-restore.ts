/**
 * Connections that wait to be accepted, made again in their order when all objects are there: each is connected by a process of the tree, and what had been sent
 * on it is sent again. One whose client had been closed is closed again.
 */
import { CAP } from '../../kernel/abi/capability.ts';
import { FCNTL, OPEN } from '../../kernel/abi/fcntl.ts';
import { duplicate, fcntl } from '../../kernel/calls/descriptors.ts';
import type { OwnedFd } from '../../kernel/owned-fd.ts';
import type { LocalFd } from '../../support/brand.ts';
import { type Problem, QuicksaveError } from '../../support/errors.ts';
import { outsideStatus } from '../own-namespace.ts';
import type { HostView, RestoredDescriptors } from '../resource.ts';
import { SocketInside } from './made-inside.ts';
import type { SavedPending } from './unix-pending.ts';
import { fillQueue, isStreamType } from './unix-queue.ts';

const keyOf = (socket: number): string => `unix socket that waits ${socket}`;

/** Not connected yet: its listener does that. */
export function makeWaiting(socket: number, pid: number, type: number, world: RestoredDescriptors): OwnedFd {
  const made = new SocketInside(world.process(pid) ?? world.root(), type);
  world.shared(keyOf(socket), () => ({ waiting: made }));
  return duplicate(made.own.number);
}

/** To a listener that listens already, at `address`. */
export function letWait(
  pending: SavedPending,
  { type, address }: { readonly type: number; readonly address: Uint8Array },
  world: RestoredDescriptors,
): void {
  for (const { client, socket, credentials, queue } of pending) {
    const [user] = credentials;
    const made =
      client === 'here'
        ? world.shared(keyOf(socket), missing).waiting
        : new SocketInside(world.process(user?.pid ?? 0) ?? world.root(), type);
    withoutWaiting(made.own.number, () => (user === undefined ? made.connect(address) : made.connectAs(address, user)));
    made.leave();
    fillQueue(queue, {
      from: made.own.number,
      isStream: isStreamType(type),
      object: (objref) => world.object(objref),
    });
    made.close();
  }
}

/** For room in the queue of the listener, which there must be. */
function withoutWaiting(socket: LocalFd, connect: () => void): void {
  const flags = fcntl(socket, FCNTL.F_GETFL, 0, 'read the flags of a socket');
  fcntl(socket, FCNTL.F_SETFL, flags | OPEN.O_NONBLOCK, 'set the flags of a socket');
  connect();
  fcntl(socket, FCNTL.F_SETFL, flags, 'set the flags of a socket');
}

function missing(): { waiting: SocketInside } {
  throw new QuicksaveError(
    'damaged-image',
    'A socket of the image listens for a connection of one that is not in the image, or that listens itself.',
  );
}

/** SO_PEERCRED (unix(7)) of who has gone is asked by programs to know what he may. */
export function planPending(pending: SavedPending, host: HostView, path: readonly string[]): Problem[] {
  const { uid, gid, capEffective } = outsideStatus() ?? host.status;
  const has = (capability: number): boolean => ((capEffective >> BigInt(capability)) & 1n) === 1n;
  const may = has(CAP.CAP_SETUID) && has(CAP.CAP_SETGID) && has(CAP.CAP_SETPCAP);
  const other = pending
    .flatMap(({ credentials }) => credentials)
    .find((one) => one.uid !== uid.effective || one.gid !== gid.effective);
  if (may || other === undefined) return [];
  return [
    {
      code: 'other-credentials',
      path,
      message: `In it a connection of uid ${other.uid}, gid ${other.gid} waits to be accepted, which this command may not make.`,
      remedy: 'Run the restart as root.',
    },
  ];
}
