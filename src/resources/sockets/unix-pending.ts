/**
 * Connections that wait in a listener to be accepted: unix(7). The kernel lists them in order (unix_diag). What has been sent on them waits in sockets that no
 * process has, so it is read where the kernel keeps it; so is all of a connection whose client has been closed, or is outside of what is saved and is to be found
 * closed.
 */
import * as v from 'valibot';
import { boundedArray, integerBetween, u32 } from '../../image/schema.ts';
import { type PendingConnection, tryReadPending } from '../../kernel/calls/unix-queues.ts';
import type { OwnedFd } from '../../kernel/owned-fd.ts';
import type { UnixSocketEntry } from '../../netlink/unix-sockets.ts';
import type { Descriptor } from '../../procfs/descriptors.ts';
import { type Problem, QuicksaveError } from '../../support/errors.ts';
import { describeHolders } from '../held-outside.ts';
import type { DescriptorView, LoneDescriptor, OpenDescriptor } from '../resource.ts';
import { lookThrough } from './facts.ts';
import { duplicatesOf } from './known-files.ts';
import { isListening, type UnixCensus } from './unix-census.ts';
import { countInFlight } from './unix-messages.ts';
import { credentialsList, queueSchema } from './unix-queue.ts';

const MAX_PENDING = 1 << 16;

export const pendingSchema = boundedArray(
  v.strictObject({
    /** `here`: it is in the image. `closed`: it had been closed. `outside`: of a process outside, and comes back as closed. */
    client: v.picklist(['here', 'closed', 'outside']),
    /** Its inode, of one that is here. */
    socket: u32,
    /** Who had connected, of others. */
    credentials: credentialsList,
    /** What it has sent. */
    queue: queueSchema,
  }),
  MAX_PENDING,
);
export type SavedPending = v.InferOutput<typeof pendingSchema>;

/** In whose name a socket that waits is connected: one of the tree that has it. */
export const connectorSchema = integerBetween(1, 2 ** 31 - 1);
export const connectorOf = ({ inFlightTo, pid }: DescriptorView): number => inFlightTo?.pid ?? pid;

/** What was seen while descriptors in flight were looked for; those by what the kernel has behind them. */
interface Seen {
  readonly pending: readonly PendingConnection[];
  readonly owned: ReadonlyMap<bigint, OwnedFd>;
}
const seen = new WeakMap<Descriptor, Seen>();

/** Duplicates of ours of what is in flight to connections that nobody has accepted, as far as any of `all` is the same. */
export function pendingInFlight(one: LoneDescriptor, all: readonly LoneDescriptor[]): OwnedFd[] {
  const pending = lookThrough(one, tryReadPending);
  if (pending === undefined) return [];
  const owned = duplicatesOf(
    pending.flatMap(({ messages }) => messages.flatMap(({ files }) => files)),
    all,
  );
  seen.set(one.descriptor, { pending, owned });
  return [...owned.values()];
}

/** Nobody of the tree has them under a number that could be duplicated. False while nobody has looked. */
export function hidesPendingDescriptors(view: DescriptorView): boolean {
  if (!view.queuesSeen) return false;
  const { pending = [], owned = new Map() } = seen.get(view.descriptor) ?? {};
  const found = pending.flatMap(({ messages }) =>
    messages.flatMap(({ files }) => files.filter((one) => owned.has(one))),
  );
  return found.length !== countInFlight(view);
}

export function pendingObstacles(view: DescriptorView, entry: UnixSocketEntry, census: UnixCensus): Problem[] {
  if (!isListening(entry)) return [];
  const strangers = entry.pending.filter((inode) => inode !== 0 && census.inside(inode) === undefined);
  if (strangers.length > 0 && !view.outside.closes) return [ofOthers(view, strangers, census)];
  if (!needsContent(entry, census)) return [];
  const pending = lookThrough(view, tryReadPending);
  const why = pending === undefined ? 'that cannot be seen' : whyNot(pending, entry, census);
  return why === undefined ? [] : [unseen(view, why)];
}

const where = (view: DescriptorView): string[] => [`pid ${view.pid}`, `fd ${view.fd}`, view.descriptor.target];

function ofOthers(view: DescriptorView, strangers: readonly number[], census: UnixCensus): Problem {
  const holders = strangers.flatMap((inode) => census.holders(inode));
  const whose = holders.length === 0 ? 'a process that cannot be seen' : describeHolders(holders);
  return {
    code: 'pending-connection',
    path: where(view),
    message: `A connection of ${whose}, outside of what is saved, waits in it to be accepted, which cannot be saved.`,
    remedy:
      'Save the other process together with it, save it when the program has accepted the connection, or give --close-external (it comes back as closed by the other end).',
  };
}

const unseen = (view: DescriptorView, why: string): Problem => ({
  code: 'pending-connection',
  path: where(view),
  message: `Connections wait in it to be accepted, with something that has been sent or by a client that has gone, ${why}.`,
  remedy: 'Save it when the program has accepted them.',
});

/** Where nothing has been sent, and all clients are here, the list of the kernel is enough. */
const needsContent = ({ pending }: UnixSocketEntry, census: UnixCensus): boolean =>
  pending.some((inode) => census.inside(inode) === undefined || census.entry(inode)?.sendQueue !== 0);

/** Others may come and go while the tree stands still. */
function whyNot(pending: readonly PendingConnection[], entry: UnixSocketEntry, census: UnixCensus): string | undefined {
  const isSame = pending.length === entry.pending.length && pending.every((one, n) => one.client === entry.pending[n]);
  if (!isSame) return 'and others are coming and going';
  // The name would be another socket's, or lead to a file.
  const hadName = pending.some(
    ({ client, clientName }) => clientName.length > 0 && census.inside(client) === undefined,
  );
  return hadName ? 'and had a name' : undefined;
}

export function collectPending(open: OpenDescriptor, entry: UnixSocketEntry, census: UnixCensus): SavedPending {
  const here = (socket: number): SavedPending[number] => ({ client: 'here', socket, credentials: [], queue: [] });
  if (!needsContent(entry, census)) return entry.pending.map(here);
  const { pending, owned } = seen.get(open.descriptor) ?? { pending: tryReadPending(open.own), owned: new Map() };
  if (pending === undefined || whyNot(pending, entry, census) !== undefined) throw changed(open);
  return pending.map(({ client, credentials, messages }) => {
    const isHere = census.inside(client) !== undefined;
    const queue = messages.map((message) => ({
      bytes: message.bytes,
      sender: Buffer.alloc(0),
      credentials: message.credentials === undefined ? [] : [message.credentials],
      ...(message.files.length === 0
        ? {}
        : { descriptors: message.files.map((file) => numberOf(open, owned.get(file))) }),
    }));
    if (isHere) return { ...here(client), queue };
    const theirs = credentials === undefined ? [] : [credentials];
    return { client: client === 0 ? 'closed' : 'outside', socket: 0, credentials: theirs, queue };
  });
}

function numberOf(open: OpenDescriptor, own: OwnedFd | undefined): number {
  if (own === undefined) throw changed(open);
  return open.objectInFlight(own.number);
}

const changed = ({ pid, fd }: OpenDescriptor): QuicksaveError =>
  new QuicksaveError(
    'pending-connection',
    `What waits in descriptor ${fd} of process ${pid}, which listens, to be accepted has changed, or cannot be seen.`,
    { remedy: 'Try again, or save it when the program has accepted the connections.' },
  );

/** A sentence's end for the summary. */
export function remarkOnPending(pending: SavedPending): string | undefined {
  const others = pending.filter(({ client }) => client === 'outside').length;
  if (others === 0) return undefined;
  const what = others === 1 ? 'a connection' : `${others} connections`;
  return `${what} of others that wait${others === 1 ? 's' : ''} to be accepted: a restart finds ${others === 1 ? 'it' : 'them'} closed by the other end`;
}
