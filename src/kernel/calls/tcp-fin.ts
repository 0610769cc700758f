/**
 * The end of the other end's stream, told to a connection of ours that is being made again: a segment with FIN as the other end has sent it
 * before, through a raw socket to our own address (raw(7), CAP_NET_RAW). There is no call that would do it.
 */

import type { LocalFd } from '../../support/brand.ts';
import { QuicksaveError } from '../../support/errors.ts';
import { TCP, TCP_STATE } from '../abi/inet.ts';
import { SOCKET } from '../abi/socket.ts';
import { SYS } from '../abi/syscall.ts';
import { check } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { newCall, scratch } from '../scratch.ts';
import { bytesQueued } from './descriptors.ts';
import { makeSocket, setSocketNumber, trySocketOption } from './sockets.ts';

export interface FinSegment {
  /** Addresses as packets have them: 4 bytes, or 16. */
  readonly from: { readonly address: Uint8Array; readonly port: number };
  readonly to: { readonly address: Uint8Array; readonly port: number };
  readonly sequence: number;
  readonly acknowledgement: number;
  /** As it stands in the header: scaled. */
  readonly window: number;
  /** What lets it pass (SO_MARK). */
  readonly mark: number;
}

const TCP_HEADER = 20;
/** FIN and ACK. */
const FLAGS = 0x11;

export function tellFin(socket: LocalFd, segment: FinSegment): void {
  const { from, to, mark } = segment;
  const isV4 = to.address.length === 4;
  const tcp = tcpHeader(segment);
  tcp.writeUInt16BE(checksum([pseudoHeader(from.address, to.address, tcp.length), tcp]), 16);
  const packet = Buffer.concat([isV4 ? ipHeader(from.address, to.address) : ip6Header(from.address, to.address), tcp]);
  const raw = makeSocket(isV4 ? SOCKET.AF_INET : SOCKET.AF_INET6, SOCKET.SOCK_RAW, SOCKET.IPPROTO_RAW);
  try {
    setSocketNumber(raw.number, SOCKET.SOL_SOCKET, SOCKET.SO_MARK, mark);
    newCall();
    const bytes = scratch(packet.length);
    bytes.bytes.set(packet);
    const address = scratch(isV4 ? 16 : 28);
    address.view.setUint16(0, isV4 ? SOCKET.AF_INET : SOCKET.AF_INET6, true);
    address.bytes.set(to.address, isV4 ? 4 : 8);
    const sent = rawSyscall(
      SYS.sendto,
      raw.number,
      bytes.address,
      packet.length,
      0,
      address.address,
      address.bytes.length,
    );
    check('sendto', sent, { doing: 'tell a TCP connection that its other end has finished' });
  } finally {
    raw.close();
  }
  awaitTcpState(socket, TCP_STATE.CLOSE_WAIT);
}

const PATIENCE_MS = 1000;
const nothing = new Int32Array(new SharedArrayBuffer(4));

/** What goes over loopback takes some microseconds. */
export function awaitTcpState(socket: LocalFd, wanted: number): void {
  const isThere = (): boolean => trySocketOption(socket, SOCKET.IPPROTO_TCP, TCP.TCP_INFO, 1)?.[0] === wanted;
  waitUntil(isThere);
}

export function awaitBytes(socket: LocalFd, sizeBytes: number): void {
  waitUntil(() => bytesQueued(socket, SOCKET.SIOCINQ) >= sizeBytes);
}

function waitUntil(isThere: () => boolean): void {
  for (let waited = 0; waited < PATIENCE_MS; waited++) {
    if (isThere()) return;
    Atomics.wait(nothing, 0, 0, 1);
  }
  throw new QuicksaveError('tcp-end', 'A TCP connection could not be told how it had ended.', {
    remedy: 'Look whether a firewall drops packets that this host sends to itself.',
  });
}

function tcpHeader({ from, to, sequence, acknowledgement, window }: FinSegment): Buffer {
  const header = Buffer.alloc(TCP_HEADER);
  header.writeUInt16BE(from.port, 0);
  header.writeUInt16BE(to.port, 2);
  header.writeUInt32BE(sequence >>> 0, 4);
  header.writeUInt32BE(acknowledgement >>> 0, 8);
  header.writeUInt8((TCP_HEADER / 4) << 4, 12);
  header.writeUInt8(FLAGS, 13);
  header.writeUInt16BE(Math.min(window, 0xffff), 14);
  return header;
}

/** The kernel fills length, identification and checksum in (raw(7)). */
function ipHeader(from: Uint8Array, to: Uint8Array): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt8(0x45, 0);
  header.writeUInt8(64, 8);
  header.writeUInt8(SOCKET.IPPROTO_TCP, 9);
  header.set(from, 12);
  header.set(to, 16);
  return header;
}

function ip6Header(from: Uint8Array, to: Uint8Array): Buffer {
  const header = Buffer.alloc(40);
  header.writeUInt8(0x60, 0);
  header.writeUInt16BE(TCP_HEADER, 4);
  header.writeUInt8(SOCKET.IPPROTO_TCP, 6);
  header.writeUInt8(64, 7);
  header.set(from, 8);
  header.set(to, 24);
  return header;
}

function pseudoHeader(from: Uint8Array, to: Uint8Array, length: number): Buffer {
  const rest = Buffer.alloc(from.length === 4 ? 4 : 8);
  rest.writeUInt8(SOCKET.IPPROTO_TCP, rest.length === 4 ? 1 : 7);
  rest.writeUInt16BE(length, 2);
  return Buffer.concat([from, to, rest]);
}

/** RFC 1071; all parts have even lengths. */
function checksum(parts: readonly Buffer[]): number {
  const all = Buffer.concat(parts);
  let sum = 0;
  for (let at = 0; at < all.length; at += 2) sum += all.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
