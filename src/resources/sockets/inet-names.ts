/** Addresses of the internet protocols: sockaddr_in and sockaddr_in6, for people, and whether they can be had on this host. */
import * as v from 'valibot';
import { byteString } from '../../image/schema.ts';
import { ERRNO, errnoSentence } from '../../kernel/abi/errno.ts';
import { SOCKET } from '../../kernel/abi/socket.ts';
import { makeSocket, setSocketNumber, tryBind, type trySetSocketOption } from '../../kernel/calls/sockets.ts';
import type { Connection } from '../../netlink/nf-tables.ts';
import type { Problem } from '../../support/errors.ts';
import { addressIn, endText, INET_SIZE, INET6_SIZE, portOf } from '../../support/inet-address.ts';
import { restoreOptions, type SavedOption, stampOptions } from '../socket-options.ts';

/** A whole sockaddr of either family, or nothing. */
export const endSchema = v.pipe(
  byteString(INET6_SIZE),
  v.check((bytes) => bytes.length === 0 || isEnd(Buffer.from(bytes)), 'must be an address of the internet protocols'),
);

function isEnd(bytes: Buffer): boolean {
  const family = bytes.readUInt16LE(0);
  return (
    (family === SOCKET.AF_INET && bytes.length === INET_SIZE) ||
    (family === SOCKET.AF_INET6 && bytes.length === INET6_SIZE)
  );
}

/** No address and no port. */
export const isUnbound = (end: Uint8Array): boolean =>
  end.length === 0 || (portOf(end) === 0 && addressIn(end).every((byte) => byte === 0));

const MAPPED = Buffer.from([...Array(10).fill(0), 0xff, 0xff]);

/** As packets have it: IPv4 inside of an IPv6 socket is IPv4. */
export const inPackets = (address: Buffer): Buffer =>
  address.length === 16 && address.subarray(0, 12).equals(MAPPED) ? address.subarray(12) : address;

export function asSockaddr({ address, port }: { readonly address: Buffer; readonly port: number }): Buffer {
  const isV4 = address.length === 4;
  const end = Buffer.alloc(isV4 ? INET_SIZE : INET6_SIZE);
  end.writeUInt16LE(isV4 ? SOCKET.AF_INET : SOCKET.AF_INET6, 0);
  end.writeUInt16BE(port, 2);
  end.set(address, isV4 ? 4 : 8);
  return end;
}

export const connectionOf = (local: Uint8Array, remote: Uint8Array): Connection => ({
  localAddress: inPackets(addressIn(local)),
  localPort: portOf(local),
  remoteAddress: inPackets(addressIn(remote)),
  remotePort: portOf(remote),
});

export interface BoundSocket {
  readonly domain: number;
  readonly type: number;
  readonly protocol: number;
  readonly local: Uint8Array;
  readonly options: readonly SavedOption[];
}

const isBefore = ({ level, option }: SavedOption): boolean => level === SOCKET.SOL_SOCKET || option === V6_ONLY;
const V6_ONLY = 26;

/** Binds for an instant as the restart will, and says what is in the way. */
export function planEnd({ domain, type, protocol, local, options }: BoundSocket, path: readonly string[]): Problem[] {
  if (isUnbound(local)) return [];
  const probe = makeSocket(domain, type, protocol);
  try {
    restoreOptions(probe.number, options.filter(isBefore), stampOptions);
    if (type === SOCKET.SOCK_STREAM) setSocketNumber(probe.number, SOCKET.SOL_SOCKET, SOCKET.SO_REUSEADDR, 1);
    const result = tryBind(probe.number, local);
    return result === 0 ? [] : [refusal(-result, local, path)];
  } finally {
    probe.close();
  }
}

function refusal(errno: number, local: Uint8Array, path: readonly string[]): Problem {
  const text = endText(local);
  if (errno === ERRNO.EADDRINUSE) {
    return {
      code: 'port-taken',
      path,
      message: `It is a socket bound to ${text}, and another program has that port.`,
      remedy: 'End the other program first.',
    };
  }
  if (errno === ERRNO.EADDRNOTAVAIL) {
    return {
      code: 'missing-address',
      path,
      message: `It is a socket bound to ${text}, and this host does not have that address.`,
      remedy: 'Add the address to an interface first (ip address add).',
    };
  }
  return { code: 'cannot-bind', path, message: `It is a socket bound to ${text}: ${errnoSentence(errno)}.` };
}

/** Of a socket that leaves the port to whoever connects (IP_BIND_ADDRESS_NO_PORT) too. */
export const allowReuse = (socket: Parameters<typeof trySetSocketOption>[0]): void => {
  setSocketNumber(socket, SOCKET.SOL_SOCKET, SOCKET.SO_REUSEADDR, 1);
};
