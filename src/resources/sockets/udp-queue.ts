/**
 * Datagrams that wait in a UDP socket, put back through the loopback interface: packets with the headers that they had are written to a raw socket
 * (raw(7), CAP_NET_RAW), as nobody may bind to the addresses of others. Only those that can reach no socket but this one, and that are told to
 * have come as they did, are put back. Lost: TTL, TOS and time stamps of them, the interface that they came by, and what a firewall of
 * this host drops.
 */
import { BlockList } from 'node:net';
import { networkInterfaces } from 'node:os';
import * as v from 'valibot';
import { boundedArray, byteString } from '../../image/schema.ts';
import { IP, IPV6, UDP } from '../../kernel/abi/inet.ts';
import { SOCKET } from '../../kernel/abi/socket.ts';
import { trySendMessage } from '../../kernel/calls/socket-queues.ts';
import { makeSocket } from '../../kernel/calls/sockets.ts';
import type { LocalFd } from '../../support/brand.ts';
import { addressIn, portOf } from '../../support/inet-address.ts';
import { type SavedOption, widenBuffers } from '../socket-options.ts';
import { connectionOf, endSchema } from './inet-names.ts';

const MAX_DATAGRAMS = 1 << 16;
/** With its headers a packet has 65,535 bytes at most, and no more than an interface takes at once (MTU of lo: 65,536). */
const MAX_BYTES = 65_487;

export const datagramsSchema = boundedArray(
  v.strictObject({ bytes: byteString(MAX_BYTES), sender: endSchema }),
  MAX_DATAGRAMS,
);
export type Datagram = v.InferOutput<typeof datagramsSchema>[number];

/** Of the socket that they wait in. */
export interface DatagramReceiver {
  readonly protocol?: number | undefined;
  readonly local: Uint8Array;
  readonly remote: Uint8Array;
  readonly options: readonly SavedOption[];
}

/** Others may have the port too, or what comes in is not received as it is. */
const NEVER = [
  [SOCKET.SOL_SOCKET, SOCKET.SO_REUSEADDR],
  [SOCKET.SOL_SOCKET, SOCKET.SO_REUSEPORT],
  [SOCKET.SOL_SOCKET, SOCKET.SO_BINDTODEVICE],
  [SOCKET.IPPROTO_UDP, UDP.UDP_ENCAP],
  [SOCKET.IPPROTO_UDP, UDP.UDP_GRO],
] as const;
/** The receiver is told where it was sent to, and only one that is bound to an address knows that. */
const ONLY_BOUND = [
  [SOCKET.IPPROTO_IP, IP.IP_PKTINFO],
  [SOCKET.IPPROTO_IP, IP.IP_RECVORIGDSTADDR],
  [SOCKET.IPPROTO_IPV6, IPV6.IPV6_RECVPKTINFO],
  [SOCKET.IPPROTO_IPV6, IPV6.IPV6_RECVORIGDSTADDR],
] as const;

const hasAny = (options: readonly SavedOption[], of: readonly (readonly [number, number])[]): boolean =>
  options.some(
    ({ level, option, value }) =>
      value.some((byte) => byte !== 0) && of.some(([aLevel, anOption]) => aLevel === level && anOption === option),
  );

const isZero = (address: Uint8Array): boolean => address.every((byte) => byte === 0);
/** 224.0.0.0/4 and 240.0.0.0/4, which has the broadcast address; ff00::/8. */
const isOfMany = (address: Uint8Array): boolean => (address[0] ?? 0) >= (address.length === 4 ? 224 : 0xff);

export function mayBePutBack(
  { protocol, local, remote, options }: DatagramReceiver,
  { bytes, sender }: Datagram,
): boolean {
  if (protocol === SOCKET.IPPROTO_UDPLITE || local.length === 0 || sender.length !== local.length) return false;
  const { localPort, localAddress, remotePort, remoteAddress } = connectionOf(local, sender);
  // The interface of a link-local address (sin6_scope_id) is not lo.
  if (bytes.length > MAX_BYTES || localPort === 0 || remotePort === 0 || scopeOf(sender) !== 0) return false;
  if (isZero(remoteAddress) || isOfMany(remoteAddress) || isOfMany(localAddress)) return false;
  if (hasAny(options, NEVER) || (isZero(localAddress) && hasAny(options, ONLY_BOUND))) return false;
  if (!isZero(localAddress) && localAddress.length !== remoteAddress.length) return false;
  return remote.length === 0 || (portOf(remote) === remotePort && addressIn(remote).equals(addressIn(sender)));
}

const scopeOf = (end: Uint8Array): number => (end.length === 28 ? Buffer.from(end).readUInt32LE(24) : 0);

/**
 * Whether what is sent to the address of this socket stays on this host. It may be bound to one that is another host's by now (IP_FREEBIND, or
 * net.ipv4.ip_nonlocal_bind), to which nothing must go that somebody else has sent.
 */
export function isOfThisHost(local: Uint8Array): boolean {
  const address = Buffer.from(addressIn(local));
  if (isZero(address)) return true;
  const isV4 = address.length === 4;
  const text = isV4 ? address.join('.') : (address.toString('hex').match(/.{4}/g) ?? []).join(':');
  const own = new BlockList();
  own.addSubnet('127.0.0.0', 8);
  for (const found of Object.values(networkInterfaces()).flatMap((all) => all ?? [])) {
    own.addAddress(found.address, found.family === 'IPv4' ? 'ipv4' : 'ipv6');
  }
  return own.check(text, isV4 ? 'ipv4' : 'ipv6');
}

const LOOPBACK = Buffer.from([127, 0, 0, 1]);
const LOOPBACK_6 = Buffer.from([...Array(15).fill(0), 1]);

/** Once the socket is bound and connected; without CAP_NET_RAW nothing is done. */
export function putDatagramsBack(made: LocalFd, { local }: DatagramReceiver, queue: readonly Datagram[]): void {
  if (queue.length === 0) return;
  widenBuffers(
    made,
    queue.reduce((sum, { bytes }) => sum + 4 * bytes.length + OVERHEAD, 0),
  );
  for (const { bytes, sender } of queue) {
    const { localAddress, localPort, remoteAddress, remotePort } = connectionOf(local, sender);
    const isV4 = remoteAddress.length === 4;
    const to = isZero(localAddress) ? (isV4 ? LOOPBACK : LOOPBACK_6) : localAddress;
    const ends = { from: remoteAddress, to, fromPort: remotePort, toPort: localPort };
    sendRaw(isV4 ? packet(ends, bytes) : packet6(ends, bytes), to);
  }
}

/** What a datagram costs beside its bytes, generously. */
const OVERHEAD = 4096;

interface PacketEnds {
  readonly from: Uint8Array;
  readonly to: Uint8Array;
  readonly fromPort: number;
  readonly toPort: number;
}

const HOP_LIMIT = 255;

/** RFC 791; length, identification and checksum are filled in by the kernel. UDP over IPv4 needs no checksum. */
function packet({ from, to, fromPort, toPort }: PacketEnds, bytes: Uint8Array): Buffer {
  const head = Buffer.alloc(20);
  head.writeUInt8(0x45, 0);
  head.writeUInt16BE(head.length + UDP_HEAD + bytes.length, 2);
  head.writeUInt8(HOP_LIMIT, 8);
  head.writeUInt8(SOCKET.IPPROTO_UDP, 9);
  head.set(from, 12);
  head.set(to, 16);
  return Buffer.concat([head, udpHead(fromPort, toPort, bytes.length), bytes]);
}

/** RFC 8200, with the checksum of RFC 768. */
function packet6({ from, to, fromPort, toPort }: PacketEnds, bytes: Uint8Array): Buffer {
  const head = Buffer.alloc(40);
  head.writeUInt8(0x60, 0);
  head.writeUInt16BE(UDP_HEAD + bytes.length, 4);
  head.writeUInt8(SOCKET.IPPROTO_UDP, 6);
  head.writeUInt8(HOP_LIMIT, 7);
  head.set(from, 8);
  head.set(to, 24);
  const udp = udpHead(fromPort, toPort, bytes.length);
  const pseudo = Buffer.alloc(8);
  pseudo.writeUInt32BE(UDP_HEAD + bytes.length, 0);
  pseudo.writeUInt8(SOCKET.IPPROTO_UDP, 7);
  udp.writeUInt16BE(checksum(Buffer.concat([from, to, pseudo, udp, bytes])) || 0xffff, 6);
  return Buffer.concat([head, udp, bytes]);
}

const UDP_HEAD = 8;

function udpHead(fromPort: number, toPort: number, sizeBytes: number): Buffer {
  const head = Buffer.alloc(UDP_HEAD);
  head.writeUInt16BE(fromPort, 0);
  head.writeUInt16BE(toPort, 2);
  head.writeUInt16BE(UDP_HEAD + sizeBytes, 4);
  return head;
}

/** RFC 1071. */
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}

function sendRaw(bytes: Buffer, to: Uint8Array): void {
  const isV4 = to.length === 4;
  const address = Buffer.alloc(isV4 ? 16 : 28);
  address.writeUInt16LE(isV4 ? SOCKET.AF_INET : SOCKET.AF_INET6, 0);
  address.set(to, isV4 ? 4 : 8);
  const raw = makeSocket(isV4 ? SOCKET.AF_INET : SOCKET.AF_INET6, SOCKET.SOCK_RAW, SOCKET.IPPROTO_RAW);
  try {
    // What the rules of this host do not let through is lost on its way, as datagrams may be.
    trySendMessage(raw.number, { bytes, to: address });
  } finally {
    raw.close();
  }
}
