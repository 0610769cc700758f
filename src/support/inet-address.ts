/** What a sockaddr_in or sockaddr_in6 says (ip(7), ipv6(7)), for people too. The two are told apart by their lengths. */
import { isIPv6 } from 'node:net';

/** Of a sockaddr_in; a sockaddr_in6 has 28 bytes. */
export const INET_SIZE = 16;
export const INET6_SIZE = 28;

export const portOf = (end: Uint8Array): number => Buffer.from(end).readUInt16BE(2);

export const addressIn = (end: Uint8Array): Buffer =>
  end.length === INET_SIZE ? Buffer.from(end.subarray(4, 8)) : Buffer.from(end.subarray(8, 24));

/** `127.0.0.1:80`, `[::1]:80` */
export function endText(end: Uint8Array): string {
  if (end.length === 0) return 'nowhere';
  const address = addressIn(end);
  if (address.length === 4) return `${address.join('.')}:${portOf(end)}`;
  const groups = Array.from({ length: 8 }, (_, index) => address.readUInt16BE(index * 2).toString(16));
  const short = groups.join(':').replace(/(^|:)0(:0)+(:|$)/, '::');
  return `[${isIPv6(short) ? short : groups.join(':')}]:${portOf(end)}`;
}
