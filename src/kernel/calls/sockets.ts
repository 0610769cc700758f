/** Sockets of our own, and duplicates of a target's: socket(2), bind(2), getsockopt(2). */
import type { LocalFd } from '../../support/brand.ts';
import { ERRNO } from '../abi/errno.ts';
import { POLL } from '../abi/poll.ts';
import { SOCKET } from '../abi/socket.ts';
import { SYS, syscallName } from '../abi/syscall.ts';
import { check, checkMemory, isFailure } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { OwnedFd } from '../owned-fd.ts';
import { newCall, scratch } from '../scratch.ts';

export interface SocketPair {
  readonly first: OwnedFd;
  readonly second: OwnedFd;
}

export const makeSocket = (family: number, type: number, protocol: number): OwnedFd =>
  new OwnedFd(
    check('socket', rawSyscall(SYS.socket, family, type | SOCKET.SOCK_CLOEXEC, protocol), { doing: 'make a socket' }),
  );

/** Of AF_UNIX. */
export function makeSocketPair(type: number): SocketPair {
  newCall();
  const pair = scratch(8);
  const made = rawSyscall(SYS.socketpair, SOCKET.AF_UNIX, type | SOCKET.SOCK_CLOEXEC, 0, pair.address);
  check('socketpair', made, { doing: 'make a pair of sockets' });
  return { first: new OwnedFd(pair.view.getInt32(0, true)), second: new OwnedFd(pair.view.getInt32(4, true)) };
}

/** `address` is a whole sockaddr. The result is 0 or a negative errno. */
export function tryBind(socket: LocalFd, address: Uint8Array): number {
  newCall();
  const name = scratch(address.length);
  name.bytes.set(address);
  return rawSyscall(SYS.bind, socket, name.address, address.length);
}

export function bindSocket(socket: LocalFd, address: Uint8Array, doing: string): void {
  check('bind', tryBind(socket, address), { doing });
}

/** 0 or a negative errno. */
export function tryConnect(socket: LocalFd, address: Uint8Array): number {
  newCall();
  const name = scratch(address.length);
  name.bytes.set(address);
  return rawSyscall(SYS.connect, socket, name.address, address.length);
}

export function connectSocket(socket: LocalFd, address: Uint8Array, doing: string): void {
  check('connect', tryConnect(socket, address), { doing });
}

export function listenOn(socket: LocalFd, backlog: number): void {
  check('listen', rawSyscall(SYS.listen, socket, backlog), { doing: 'listen on a socket' });
}

export function acceptFrom(socket: LocalFd): OwnedFd {
  const accepted = rawSyscall(SYS.accept4, socket, 0, 0, SOCKET.SOCK_CLOEXEC);
  return new OwnedFd(check('accept4', accepted, { doing: 'accept a connection of our own' }));
}

export function shutDown(socket: LocalFd, how: number): void {
  check('shutdown', rawSyscall(SYS.shutdown, socket, how), { doing: 'shut a connection down' });
}

const MAX_ADDRESS = 128;

/** getsockname(2): a whole sockaddr, the family only where it has no name. */
export const nameOfSocket = (socket: LocalFd): Buffer => nameBy(SYS.getsockname, socket) ?? Buffer.alloc(0);

/** getpeername(2); undefined where it is not connected. */
export const tryPeerNameOf = (socket: LocalFd): Buffer | undefined => nameBy(SYS.getpeername, socket);

function nameBy(call: number, socket: LocalFd): Buffer | undefined {
  newCall();
  const name = scratch(MAX_ADDRESS);
  const length = scratch(4);
  length.view.setUint32(0, MAX_ADDRESS, true);
  const result = rawSyscall(call, socket, name.address, length.address);
  if (isFailure(checkMemory(syscallName(call), result, { doing: 'ask for an address of a socket' }))) return undefined;
  return Buffer.from(name.bytes.subarray(0, length.view.getUint32(0, true)));
}

/** getsockopt(2): the bytes of the answer, at most `sizeBytes`; undefined where this kind of socket does not have it. */
export function trySocketOption(socket: LocalFd, level: number, option: number, sizeBytes: number): Buffer | undefined {
  newCall();
  const value = scratch(sizeBytes);
  const length = scratch(4);
  length.view.setUint32(0, sizeBytes, true);
  const result = rawSyscall(SYS.getsockopt, socket, level, option, value.address, length.address);
  if (isFailure(checkMemory('getsockopt', result, { doing: 'read an option of a socket' }))) return undefined;
  return Buffer.from(value.bytes.subarray(0, length.view.getUint32(0, true)));
}

/** {@link trySocketOption} of one that is asked with bytes of its own, where the answer comes. */
export function tryAskSocket(socket: LocalFd, level: number, option: number, question: Uint8Array): Buffer | undefined {
  newCall();
  const value = scratch(question.length);
  value.bytes.set(question);
  const length = scratch(4);
  length.view.setUint32(0, question.length, true);
  const result = rawSyscall(SYS.getsockopt, socket, level, option, value.address, length.address);
  return isFailure(result) ? undefined : Buffer.from(value.bytes);
}

/** struct sock_filter of linux/filter.h */
const INSTRUCTION_SIZE = 8;

/** The instructions of a classic filter; 'hidden': one of eBPF. Lengths are counted in instructions (sk_get_filter of net/core/filter.c). */
export function filterOf(socket: LocalFd): Buffer | 'none' | 'hidden' {
  const ask = (address: number, room: number): number => {
    const length = scratch(4);
    length.view.setUint32(0, room, true);
    const result = rawSyscall(SYS.getsockopt, socket, SOCKET.SOL_SOCKET, SOCKET.SO_GET_FILTER, address, length.address);
    return isFailure(result) ? result : length.view.getUint32(0, true);
  };
  newCall();
  const count = ask(0, 0);
  if (count === -ERRNO.EACCES) return 'hidden';
  if (check('getsockopt', count, { doing: 'ask for the filter of a socket' }) === 0) return 'none';
  newCall();
  const instructions = scratch(count * INSTRUCTION_SIZE);
  check('getsockopt', ask(instructions.address, count), { doing: 'ask for the filter of a socket' });
  return Buffer.from(instructions.bytes);
}

/** Whole instructions of 8 bytes. */
export function attachFilter(socket: LocalFd, instructions: Uint8Array): void {
  newCall();
  const copy = scratch(instructions.length);
  copy.bytes.set(instructions);
  // struct sock_fprog: u16 length, pointer.
  const program = scratch(16);
  program.view.setUint16(0, instructions.length / INSTRUCTION_SIZE, true);
  program.view.setBigUint64(8, BigInt(copy.address), true);
  const { SOL_SOCKET, SO_ATTACH_FILTER } = SOCKET;
  const result = rawSyscall(SYS.setsockopt, socket, SOL_SOCKET, SO_ATTACH_FILTER, program.address, 16);
  check('setsockopt', result, { doing: 'attach the filter of a socket' });
}

/** Takes out whatever waits in it. */
export function discardQueue(socket: LocalFd): void {
  newCall();
  const byte = scratch(8);
  const flags = SOCKET.MSG_DONTWAIT | SOCKET.MSG_TRUNC;
  while (!isFailure(rawSyscall(SYS.recvfrom, socket, byte.address, 1, flags, 0, 0)));
}

/** An option that is one int. */
export function socketNumber(socket: LocalFd, level: number, option: number, what: string): number {
  newCall();
  const value = scratch(4);
  const length = scratch(4);
  length.view.setUint32(0, 4, true);
  const result = rawSyscall(SYS.getsockopt, socket, level, option, value.address, length.address);
  check('getsockopt', result, { doing: `ask for ${what} of a socket` });
  return value.view.getInt32(0, true);
}

/** 0 or a negative errno. */
export function trySetSocketOption(socket: LocalFd, level: number, option: number, bytes: Uint8Array): number {
  newCall();
  const value = scratch(bytes.length);
  value.bytes.set(bytes);
  return rawSyscall(SYS.setsockopt, socket, level, option, value.address, bytes.length);
}

export function setSocketOption(socket: LocalFd, level: number, option: number, bytes: Uint8Array): void {
  const doing = `set option ${option} of level ${level} of a socket`;
  check('setsockopt', trySetSocketOption(socket, level, option, bytes), { doing });
}

export function setSocketNumber(socket: LocalFd, level: number, option: number, value: number): void {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value | 0);
  setSocketOption(socket, level, option, bytes);
}

/** poll(2) says that nothing more comes: the other end has finished, or shutdown(2) was called for receiving. */
export function hearsNothing(socket: LocalFd): boolean {
  newCall();
  const entry = scratch(8);
  entry.view.setInt32(0, socket, true);
  entry.view.setInt16(4, POLL.POLLRDHUP, true);
  const result = rawSyscall(SYS.poll, entry.address, 1, 0);
  return !isFailure(result) && (entry.view.getInt16(6, true) & POLL.POLLRDHUP) !== 0;
}

/** An error waits for the next call (sk_err). SO_ERROR would take it away. */
export function hasPendingError(socket: LocalFd): boolean {
  newCall();
  const entry = scratch(8);
  entry.view.setInt32(0, socket, true);
  const result = rawSyscall(SYS.poll, entry.address, 1, 0);
  return !isFailure(result) && (entry.view.getInt16(6, true) & POLL.POLLERR) !== 0;
}

/** An out-of-band byte is there to be read, which stays there. */
export function hasUrgentByte(socket: LocalFd): boolean {
  newCall();
  const byte = scratch(8);
  const flags = SOCKET.MSG_OOB | SOCKET.MSG_PEEK | SOCKET.MSG_DONTWAIT;
  return rawSyscall(SYS.recvfrom, socket, byte.address, 1, flags, 0, 0) === 1;
}
