/**
 * Names of UNIX sockets: unix(7). A path makes a file, which stays when the socket is gone; an abstract name begins with NUL. A relative
 * path holds in one directory.
 */
import { chmodSync, lchownSync, lstatSync, readlinkSync, type Stats, statSync, unlinkSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import * as v from 'valibot';
import { boundedString, u32 } from '../../image/schema.ts';
import { ERRNO } from '../../kernel/abi/errno.ts';
import { SOCKET } from '../../kernel/abi/socket.ts';
import { bindSocket, makeSocket, tryBind, tryConnect } from '../../kernel/calls/sockets.ts';
import type { LocalFd, Pid } from '../../support/brand.ts';
import type { Problem } from '../../support/errors.ts';
import { refuseLack } from '../../support/lacking.ts';

export const MAX_NAME = 108;

export const placeSchema = v.strictObject({
  /** Where a relative path holds; '' for an absolute one. */
  directory: boundedString(4200),
  /** The file is there when the program runs on, with this mode and owner: this socket's, or another's of what is saved. */
  file: v.picklist(['own', 'of-another', 'gone']),
  mode: u32,
  uid: u32,
  gid: u32,
});
export type Place = v.InferOutput<typeof placeSchema>;

export const isPath = (name: Uint8Array): boolean => name.length > 0 && name[0] !== 0;

/** A whole sockaddr_un. */
export function addressOf(name: Uint8Array): Buffer {
  const end = isPath(name) && name.length < MAX_NAME ? 1 : 0;
  const address = Buffer.alloc(2 + name.length + end);
  address.writeUInt16LE(SOCKET.AF_UNIX, 0);
  address.set(name, 2);
  return address;
}

/** The name in a sockaddr_un. */
export function nameIn(address: Uint8Array): Buffer {
  const name = Buffer.from(address.subarray(2));
  const end = name[0] === 0 ? -1 : name.indexOf(0);
  return end < 0 ? name : name.subarray(0, end);
}

export const textOf = (name: Uint8Array): string =>
  isPath(name) ? Buffer.from(name).toString() : `@${Buffer.from(name.subarray(1)).toString()}`;

/**
 * What is where a socket's path leads, and its inode, of which the kernel's list of sockets has 32 bits. A relative path held in a directory
 * that nobody remembers: in the one of the process if there is a socket there, or, where there is none, it does not matter.
 */
export function findPlace(pid: Pid, name: Uint8Array): Omit<Place, 'file'> & { readonly inode: number } {
  const path = Buffer.from(name).toString();
  const directory = isAbsolute(path) ? '' : readlinkSync(`/proc/${pid}/cwd`);
  const found = statSync(join(`/proc/${pid}/root`, directory, path), { throwIfNoEntry: false });
  if (!found?.isSocket()) return { directory, mode: 0, uid: 0, gid: 0, inode: -1 };
  return { directory, mode: found.mode & 0o7777, uid: found.uid, gid: found.gid, inode: found.ino % 2 ** 32 };
}

/**
 * Binds it; a file that is only in the way because a socket has left it is removed. Leaves the file if it is this one's own; otherwise
 * it is there for as long as `whileThere` takes.
 */
export function bindName(socket: LocalFd, name: Uint8Array, place: Place | undefined, whileThere?: () => void): void {
  const doing = `bind a socket to ${textOf(name)}`;
  if (place === undefined) {
    bindSocket(socket, addressOf(name), doing);
    return;
  }
  const path = Buffer.from(name).toString();
  inDirectory(place.directory, () => {
    if (place.file !== 'gone' && isLeftOver(path)) unlinkSync(path);
    bindSocket(socket, addressOf(name), doing);
    if (place.file !== 'own') {
      try {
        whileThere?.();
      } finally {
        unlinkSync(path);
      }
      return;
    }
    lchownSync(path, place.uid, place.gid);
    chmodSync(path, place.mode);
  });
}

/** A socket's name is the text that bind(2) was given, so a relative one is given where it holds. */
function inDirectory(directory: string, act: () => void): void {
  if (directory === '') {
    act();
    return;
  }
  const before = process.cwd();
  process.chdir(directory);
  try {
    act();
  } finally {
    process.chdir(before);
  }
}

/** A file of a socket that nobody is bound to any more. A datagram socket's connect(2) disturbs nobody, and tells. */
function isLeftOver(path: string): boolean {
  const found = tryLstat(path);
  if (!found?.isSocket()) return false;
  const probe = makeSocket(SOCKET.AF_UNIX, SOCKET.SOCK_DGRAM, 0);
  try {
    return tryConnect(probe.number, addressOf(Buffer.from(path))) === -ERRNO.ECONNREFUSED;
  } finally {
    probe.close();
  }
}

const tryLstat = (path: string): Stats | undefined => lstatSync(path, { throwIfNoEntry: false });

export interface NamedSocket {
  readonly name: Uint8Array;
  readonly type: number;
  readonly place: Place | undefined;
}

/** What stands in the way of a name on this host. */
export function planName({ name, type, place }: NamedSocket, path: readonly string[]): Problem[] {
  const found: Problem[] = [];
  if (place === undefined) {
    if (isAbstractTaken(name, type)) found.push(nameTaken(path, name, 'Another socket has it.'));
    return found;
  }
  try {
    inDirectory(place.directory, () => {
      const text = Buffer.from(name).toString();
      if (tryLstat(text) === undefined) statSync(join(text, '..'));
      else if (place.file === 'gone' || !isLeftOver(text)) {
        found.push(
          nameTaken(path, name, 'There is a file of that name that is in use, or is no left-over of a socket.'),
        );
      }
    });
  } catch (error) {
    refuseLack(error, `the directory of ${textOf(name)}`);
    found.push({
      code: 'missing-directory',
      path,
      message: `It is a socket with the name ${textOf(name)}, and the directory of that is not there.`,
      remedy: 'Make the directory first.',
    });
  }
  return found;
}

/** Bound for an instant, as nobody connects to what does not listen. */
function isAbstractTaken(name: Uint8Array, type: number): boolean {
  const probe = makeSocket(SOCKET.AF_UNIX, type, 0);
  try {
    return tryBind(probe.number, addressOf(name)) === -ERRNO.EADDRINUSE;
  } finally {
    probe.close();
  }
}

const nameTaken = (path: readonly string[], name: Uint8Array, why: string): Problem => ({
  code: 'socket-name-taken',
  path,
  message: `It is a socket with the name ${textOf(name)}. ${why}`,
  remedy: 'End the program that has it, or remove the file.',
});
