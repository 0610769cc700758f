/**
 * What waits in UNIX sockets that no call looks into, read where the kernel keeps it: connections that nobody has accepted yet, and what has been sent on
 * them (sk_buff of net/unix/af_unix.c; {@link KernelObjects}).
 */
import type { LocalFd } from '../../support/brand.ts';
import { SOCKET } from '../abi/socket.ts';
import { KernelObjects, type KernelStruct, UnknownKernelObject } from '../kernel-objects.ts';
import { bytesOf, receiveQueueOf, socketBehind } from './socket-buffers.ts';

export interface KernelCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

export interface KernelMessage {
  readonly bytes: Buffer;
  /** Undefined: the kernel has none. */
  readonly credentials: KernelCredentials | undefined;
  /** Open file descriptions that come with it (SCM_RIGHTS): where they are, as {@link KernelObjects.fileOf} tells. */
  readonly files: readonly bigint[];
}

export interface PendingConnection {
  /** The inode of the socket that has connected; 0: it has been closed. */
  readonly client: number;
  /** Of that one, a whole sockaddr without its family; empty: none. */
  readonly clientName: Buffer;
  /** Who has connected, as SO_PEERCRED will tell. */
  readonly credentials: KernelCredentials | undefined;
  readonly messages: readonly KernelMessage[];
}

/** SCM_MAX_FD of net/scm.h. */
const MAX_FILES = 253;

/**
 * Connections that wait in a listener of ours to be accepted, in order. Undefined where the kernel does not show them.
 */
export function tryReadPending(listener: LocalFd): PendingConnection[] | undefined {
  const kernel = KernelObjects.tryOpen();
  if (kernel === undefined) return undefined;
  try {
    return receiveQueueOf(kernel, socketBehind(kernel, kernel.fileOf(listener))).map((request) =>
      connectionOf(kernel, request.u64('sk')),
    );
  } catch (error) {
    if (error instanceof UnknownKernelObject) return undefined;
    throw error;
  }
}

/** One of a socket of ours that has borders between messages. */
export interface QueuedInKernel extends KernelMessage {
  /** The name of who has sent it, a whole sockaddr; empty: none. */
  readonly sender: Buffer;
  /** Somebody has looked at it: if it is empty, looks from an offset pass over it. */
  readonly isMarked: boolean;
}

/** Undefined where the kernel does not show them. */
export function tryReadMessages(own: LocalFd): QueuedInKernel[] | undefined {
  const kernel = KernelObjects.tryOpen();
  if (kernel === undefined) return undefined;
  try {
    return receiveQueueOf(kernel, socketBehind(kernel, kernel.fileOf(own))).map((buffer) => {
      const name = nameOf(kernel, buffer.u64('sk'));
      return {
        ...messageOf(kernel, buffer),
        sender: name.length === 0 ? name : Buffer.concat([Buffer.from([SOCKET.AF_UNIX, 0]), name]),
        isMarked: buffer.isSet('peeked'),
      };
    });
  } catch (error) {
    if (error instanceof UnknownKernelObject) return undefined;
    throw error;
  }
}

function connectionOf(kernel: KernelObjects, socket: bigint): PendingConnection {
  const client = kernel.u64('unix_sock', socket, 'peer');
  if (client === 0n) throw new UnknownKernelObject('a connection has no other end');
  const buffers = receiveQueueOf(kernel, socket);
  return {
    client: inodeOf(kernel, client),
    clientName: nameOf(kernel, client),
    credentials: peerOf(kernel, socket),
    messages: buffers.map((buffer) => messageOf(kernel, buffer)),
  };
}

/** 0: nobody has it open any more. */
function inodeOf(kernel: KernelObjects, socket: bigint): number {
  const open = kernel.u64('sock', socket, 'sk_socket');
  if (open === 0n) return 0;
  const around = open - BigInt(kernel.offsetOf('socket_alloc', 'socket'));
  const inode = kernel.pointer(around + BigInt(kernel.offsetOf('socket_alloc', 'vfs_inode.i_ino')));
  return Number(inode & 0xffff_ffffn);
}

function nameOf(kernel: KernelObjects, socket: bigint): Buffer {
  const address = kernel.u64('unix_sock', socket, 'addr');
  if (address === 0n) return Buffer.alloc(0);
  const length = kernel.bytes(address + BigInt(kernel.offsetOf('unix_address', 'len')), 4).readInt32LE(0);
  if (length < 2 || length > 110) throw new UnknownKernelObject('a socket has a name that is none');
  return kernel.bytes(address + BigInt(kernel.offsetOf('unix_address', 'name')), length).subarray(2);
}

/** Those who may read the kernel's memory are not in a user namespace of their own, so ids are as they are here. */
function peerOf(kernel: KernelObjects, socket: bigint): KernelCredentials | undefined {
  const pid = kernel.u64('sock', socket, 'sk_peer_pid');
  const cred = kernel.u64('sock', socket, 'sk_peer_cred');
  if (pid === 0n || cred === 0n) return undefined;
  const rights = kernel.struct('cred', cred);
  return { pid: kernel.numberOfPid(pid), uid: rights.u32('euid'), gid: rights.u32('egid') };
}

function messageOf(kernel: KernelObjects, buffer: KernelStruct): KernelMessage {
  const parameters = kernel.struct('unix_skb_parms', buffer.address + BigInt(buffer.offsetOf('cb')));
  if (parameters.u32('consumed') !== 0) throw new UnknownKernelObject('a part of a message has been received');
  const pid = parameters.u64('pid');
  return {
    bytes: bytesOf(kernel, buffer),
    credentials:
      pid === 0n ? undefined : { pid: kernel.numberOfPid(pid), uid: parameters.u32('uid'), gid: parameters.u32('gid') },
    files: filesOf(kernel, parameters.u64('fp')),
  };
}

function filesOf(kernel: KernelObjects, list: bigint): bigint[] {
  if (list === 0n) return [];
  const count = kernel.bytes(list + BigInt(kernel.offsetOf('scm_fp_list', 'count')), 2).readInt16LE(0);
  if (count < 0 || count > MAX_FILES) throw new UnknownKernelObject('a message has too many descriptors');
  return count === 0 ? [] : kernel.pointers(list + BigInt(kernel.offsetOf('scm_fp_list', 'fp')), count);
}
