/** Netlink sockets of our own: netlink(7). */
import type { LocalFd } from '../../support/brand.ts';
import { SOCKET } from '../abi/socket.ts';
import { SYS } from '../abi/syscall.ts';
import { check } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { OwnedFd } from '../owned-fd.ts';
import { newCall, scratch } from '../scratch.ts';

/** A socket that speaks to the kernel of the network namespace that we are in. */
export function openNetlink(protocol: number): OwnedFd {
  const type = SOCKET.SOCK_RAW | SOCKET.SOCK_CLOEXEC;
  const fd = rawSyscall(SYS.socket, SOCKET.AF_NETLINK, type, protocol);
  return new OwnedFd(check('socket', fd, { doing: 'open a netlink socket' }));
}

export function sendNetlink(socket: LocalFd, message: Uint8Array): void {
  newCall();
  const block = scratch(message.length);
  block.bytes.set(message);
  const sent = rawSyscall(SYS.sendto, socket, block.address, message.length, 0, 0, 0);
  check('sendto', sent, { doing: 'ask the kernel by netlink' });
}

/** A datagram of the kernel may have several messages; a dump's are at most 32 KiB (net/netlink/af_netlink.c). */
const RECEIVE_SIZE = 64 * 1024;

/** The next datagram; the kernel has answered when the request was taken, so this does not wait for long. */
export function receiveNetlink(socket: LocalFd): Buffer {
  newCall();
  const block = scratch(RECEIVE_SIZE);
  const length = rawSyscall(SYS.recvfrom, socket, block.address, RECEIVE_SIZE, 0, 0, 0);
  check('recvfrom', length, { doing: 'hear the answer of the kernel by netlink' });
  return Buffer.from(block.bytes.subarray(0, length));
}
