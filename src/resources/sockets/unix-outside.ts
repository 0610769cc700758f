/**
 * A UNIX socket whose other end is outside of what is saved, as the user wants it (--external, --close-external): connected again to the name of
 * the other end, or as if that had been closed. Lost: what the other end has not read, and, of one that is connected again, what it has sent; the
 * names of senders, of one that is closed.
 */
import { statSync } from 'node:fs';
import * as v from 'valibot';
import { u32 } from '../../image/schema.ts';
import { FCNTL, OPEN } from '../../kernel/abi/fcntl.ts';
import { SOCKET } from '../../kernel/abi/socket.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import { check } from '../../kernel/errors.ts';
import { listUnixSockets, type UnixSocketEntry } from '../../netlink/unix-sockets.ts';
import type { RemoteFd } from '../../support/brand.ts';
import type { Problem } from '../../support/errors.ts';
import type { DescriptorView, RebuiltProcess } from '../resource.ts';
import { isListening, type UnixCensus } from './unix-census.ts';
import { addressOf, isPath, textOf } from './unix-names.ts';

export const outsideSchema = v.strictObject({
  becomes: v.picklist(['connected-again', 'closed']),
  /** Messages, or bytes of a stream, that waited in it and are not in the image. */
  lost: u32,
});
export type Outside = v.InferOutput<typeof outsideSchema>;

/** The inode of its other end, or of the listener that it waits for, if nothing of what is saved has that. */
export function otherEndOutside({ inode, peer }: UnixSocketEntry, census: UnixCensus): number | undefined {
  const other = census.listenerWaitedFor(inode)?.inode ?? peer;
  return other === undefined || other === 0 || census.inside(other) !== undefined ? undefined : other;
}

/** Its other end by a name that the user has given, or 'closed'; undefined: it is refused. */
export function wayOutside(
  { outside }: DescriptorView,
  { type }: UnixSocketEntry,
  other: number,
  census: UnixCensus,
): { readonly name: Buffer } | 'closed' | undefined {
  const entry = census.entry(other);
  const given =
    entry !== undefined && isReachable(entry, type, census)
      ? outside.external.find((one) => isNamed(entry, one))
      : undefined;
  if (given !== undefined) return { name: nameOf(given) };
  return outside.closes ? 'closed' : undefined;
}

/** An accepted socket has the name of its listener, and somebody must listen. */
const isReachable = (entry: UnixSocketEntry, type: number, census: UnixCensus): boolean =>
  entry.name !== undefined && (type === SOCKET.SOCK_DGRAM || isListening(entry) || census.isListenedTo(entry));

const nameOf = (given: string): Buffer => Buffer.from(given.startsWith('@') ? `\0${given.slice(1)}` : given);

/** A path may have been bound from another directory: then its file tells, of whose inode the list of sockets has 32 bits. */
function isNamed({ name, file }: UnixSocketEntry, given: string): boolean {
  if (name?.equals(nameOf(given))) return true;
  return !given.startsWith('@') && file !== undefined && file.inode === inodeAt(given);
}

function inodeAt(path: string): number | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  return found?.isSocket() ? found.ino % 2 ** 32 : undefined;
}

/** What stands in the way of connecting again: nobody is connected to for that, because the other end would notice. */
export function planOutside(name: Uint8Array, type: number, path: readonly string[]): Problem[] {
  const text = textOf(name);
  const isThere = listUnixSockets().some(
    (entry) =>
      entry.type === type &&
      (type === SOCKET.SOCK_DGRAM || isListening(entry)) &&
      isNamed(entry, isPath(name) ? Buffer.from(name).toString() : text),
  );
  if (isThere) return [];
  return [
    {
      code: 'missing-external',
      path,
      message: `It was connected to ${text} outside of what was saved (--external), where no such socket is now.`,
      remedy: 'Start the program that has it first.',
    },
  ];
}

/** In the process, as whose the other end knows it. Never waits for room in the backlog. */
export function connectAgain({ pid, batch }: RebuiltProcess, fd: RemoteFd, name: Uint8Array, flags: number): void {
  const address = addressOf(name);
  const setFlags = (value: number): void => {
    batch.call('set the flags of a socket', SYS.fcntl, fd, FCNTL.F_SETFL, value);
  };
  setFlags(flags | OPEN.O_NONBLOCK);
  const connected = batch.tryCall(
    `connect to ${textOf(name)}`,
    SYS.connect,
    fd,
    batch.bytes(address).address,
    address.length,
  );
  setFlags(flags);
  batch.run();
  check('connect', connected.result, { doing: `connect a socket to ${textOf(name)} again`, pid });
}

export const remarkOnOutside = ({ becomes, lost }: Outside, name: Uint8Array, fd: RemoteFd): string =>
  becomes === 'closed'
    ? `descriptor ${fd} is a socket whose other end is outside: a restart finds that closed`
    : `descriptor ${fd} is connected to ${textOf(name)} outside: a restart connects it again${lost === 0 ? '' : ', without what waits in it'}`;
