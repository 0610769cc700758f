/**
 * TCP connections that wait in a listener to be accepted, with both ends here: tcp(7). What has come in on them, and their order, is read where the kernel keeps
 * it. A restart connects the client again, by a handshake as the first one was, and sends again what it has sent; which numbers the bytes have then, nobody can see.
 */
import { TCP_STATE } from '../../kernel/abi/inet.ts';
import { SOCKET } from '../../kernel/abi/socket.ts';
import { tryReadAcceptQueue, type WaitingConnection } from '../../kernel/calls/tcp-accept-queue.ts';
import { readTcpStream, type TcpEnds } from '../../kernel/calls/tcp-repair.ts';
import { type InetSocketEntry, listInetSockets } from '../../netlink/inet-sockets.ts';
import { findHolders } from '../../procfs/holders.ts';
import type { LocalFd } from '../../support/brand.ts';
import { QuicksaveError } from '../../support/errors.ts';
import { endText } from '../../support/inet-address.ts';
import { describeHolders } from '../held-outside.ts';
import type { DescriptorView } from '../resource.ts';
import { lookThrough } from './facts.ts';
import { asSockaddr, inPackets } from './inet-names.ts';

const listed = new WeakMap<readonly DescriptorView[], readonly InetSocketEntry[]>();

/** All TCP sockets, with whether they have keys: asked once for all descriptors that are looked at together. */
export function tcpCensus({ siblings }: Pick<DescriptorView, 'siblings'>): readonly InetSocketEntry[] {
  const known = listed.get(siblings) ?? tcpEntries({ keys: true });
  listed.set(siblings, known);
  return known;
}

export const tcpEntries = (options = {}): InetSocketEntry[] =>
  [SOCKET.AF_INET, SOCKET.AF_INET6].flatMap((family) => listInetSockets(family, SOCKET.IPPROTO_TCP, options));

type Ends = Pick<InetSocketEntry, 'local' | 'remote'>;

const placeText = ({ address, port }: Ends['local']): string => `${inPackets(address).toString('hex')} ${port}`;
const isOther = (one: Ends, other: Ends): boolean =>
  placeText(one.local) === placeText(other.remote) && placeText(one.remote) === placeText(other.local);

/** Both ends of a connection that waits are here. */
interface PendingHere {
  readonly listener: DescriptorView;
  readonly client: number;
}

const found = new WeakMap<readonly DescriptorView[], readonly PendingHere[]>();

/** In the order of each listener. Where nothing waits, this costs nothing. */
function pendingHere(view: DescriptorView): readonly PendingHere[] {
  const { siblings } = view;
  const known = found.get(siblings);
  if (known !== undefined) return known;
  const entries = tcpCensus(view);
  const inside = new Map(siblings.map((one) => [Number(one.stat.inode), one]));
  const pending = entries
    .filter((entry) => hasWaiting(entry) && isAlone(entry, entries))
    .flatMap(({ inode }) => {
      const listener = inside.get(inode);
      const queue = listener === undefined ? undefined : lookThrough(listener, tryReadAcceptQueue);
      if (listener === undefined || queue === undefined) return [];
      return queue.flatMap((waiting) => {
        const client = entries.find((entry) => entry.inode !== 0 && isOther(entry, waiting));
        return client !== undefined && inside.has(client.inode) ? [{ listener, client: client.inode }] : [];
      });
    });
  found.set(siblings, pending);
  return pending;
}

const hasWaiting = ({ state, receiveQueue }: InetSocketEntry): boolean =>
  state === TCP_STATE.LISTEN && receiveQueue > 0;

/** Of several that share an address and a port, nobody can say which will get a connection (SO_REUSEPORT). */
const isAlone = ({ local, inode }: InetSocketEntry, entries: readonly InetSocketEntry[]): boolean =>
  !entries.some(
    (other) => other.state === TCP_STATE.LISTEN && other.inode !== inode && placeText(other.local) === placeText(local),
  );

/** Inodes of the clients of a listener that are here, in the order in which they wait. */
export const clientsHere = (view: DescriptorView): number[] =>
  pendingHere(view).flatMap(({ listener, client }) => (listener.stat.inode === view.stat.inode ? [client] : []));

/** Those that wait to be accepted here, by their inodes. */
export const waitingHere = (view: DescriptorView): ReadonlySet<number> =>
  new Set(pendingHere(view).map(({ client }) => client));

/** Who else waits in a listener: those that are known, by their names. */
export function othersWaiting(view: DescriptorView, own: LocalFd): string[] {
  const entries = tcpCensus(view);
  const here = new Set(clientsHere(view));
  return (tryReadAcceptQueue(own) ?? []).flatMap((waiting) => {
    const client = entries.find((entry) => entry.inode !== 0 && isOther(entry, waiting));
    if (client !== undefined && here.has(client.inode)) return [];
    const holders = client === undefined ? [] : findHolders(`socket:[${client.inode}]`, new Set([process.pid]));
    return [holders.length === 0 ? endText(asSockaddr(waiting.remote)) : describeHolders(holders)];
  });
}

/** All that a client has sent to a listener that has not accepted it. It is read before what has arrived: what goes over meanwhile is in both. */
export function sentByWaiting(view: DescriptorView, own: LocalFd, ends: TcpEnds): Buffer {
  const inode = Number(view.stat.inode);
  const listener = pendingHere(view).find(({ client }) => client === inode)?.listener;
  const entry = tcpCensus(view).find((one) => one.inode === inode);
  if (listener === undefined || entry === undefined) throw new Error('it is one of those that wait');
  const stream = readTcpStream(own, ends);
  const arrived = lookThrough(listener, tryReadAcceptQueue)?.find((one) => isOther(entry, one));
  const whole = arrived === undefined ? undefined : joined(stream, arrived);
  if (whole !== undefined && stream.receiveQueue.length === 0 && !ends.other) return whole;
  throw new QuicksaveError(
    'pending-connection',
    `What descriptor ${view.fd} of process ${view.pid} has sent to a listener that has not accepted it yet cannot be seen as a whole.`,
    { remedy: 'Try again, or save it when the connection has been accepted.' },
  );
}

/** Undefined if they do not fit together. */
export function joined(
  { sendSequence, sendQueue }: { readonly sendSequence: number; readonly sendQueue: Uint8Array },
  { bytes, next }: Pick<WaitingConnection, 'bytes' | 'next'>,
): Buffer | undefined {
  const known = (next - (sendSequence - sendQueue.length)) | 0;
  return known < 0 || known > sendQueue.length ? undefined : Buffer.concat([bytes, sendQueue.subarray(known)]);
}
