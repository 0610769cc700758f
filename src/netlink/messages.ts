/** Netlink messages as bytes: a header, a fixed part, attributes, each padded to four bytes. */
import { NETLINK, netlinkAbi } from '../kernel/abi/netlink.ts';
import { structOf } from '../kernel/struct.ts';
import { QuicksaveError } from '../support/errors.ts';

const header = structOf(netlinkAbi.structs.nlmsghdr);
const attributeHeader = structOf(netlinkAbi.structs.nlattr);

const aligned = (length: number): number => (length + 3) & ~3;

export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly payload: Buffer;
}

export function encodeMessage({ type, flags, sequence, payload }: Message): Buffer {
  const length = header.size + payload.length;
  const head = header.encode({ nlmsg_len: length, nlmsg_type: type, nlmsg_flags: flags, nlmsg_seq: sequence });
  return Buffer.concat([head, payload, Buffer.alloc(aligned(length) - length)]);
}

/** The messages of one datagram. */
export function decodeMessages(datagram: Buffer): Message[] {
  const found: Message[] = [];
  for (let at = 0; at + header.size <= datagram.length; ) {
    const { nlmsg_len, nlmsg_type, nlmsg_flags, nlmsg_seq } = header.read(viewOf(datagram), at);
    if (nlmsg_len < header.size || at + nlmsg_len > datagram.length) break;
    const payload = datagram.subarray(at + header.size, at + nlmsg_len);
    found.push({ type: nlmsg_type, flags: nlmsg_flags, sequence: nlmsg_seq, payload });
    at += aligned(nlmsg_len);
  }
  return found;
}

export function encodeAttribute(type: number, value: Uint8Array): Buffer {
  const length = attributeHeader.size + value.length;
  const head = attributeHeader.encode({ nla_len: length, nla_type: type });
  return Buffer.concat([head, value, Buffer.alloc(aligned(length) - length)]);
}

export const encodeNested = (type: number, ...inner: readonly Buffer[]): Buffer =>
  encodeAttribute(type | NETLINK.NLA_F_NESTED, Buffer.concat(inner));

/** The attributes behind the fixed part, by type. */
export function decodeAttributes(bytes: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = 0; at + attributeHeader.size <= bytes.length; ) {
    const { nla_len, nla_type } = attributeHeader.read(viewOf(bytes), at);
    if (nla_len < attributeHeader.size || at + nla_len > bytes.length) break;
    found.set(nla_type & NETLINK.NLA_TYPE_MASK, bytes.subarray(at + attributeHeader.size, at + nla_len));
    at += aligned(nla_len);
  }
  return found;
}

/** What the kernel says to be there, if it is long enough for what is read from it. Throws QuicksaveError. */
export function ofAtLeast(sizeBytes: number, bytes: Buffer): Buffer {
  if (bytes.length >= sizeBytes) return bytes;
  throw new QuicksaveError(
    'malformed-netlink',
    `An answer of the kernel by netlink is not as expected: ${bytes.length} bytes instead of ${sizeBytes}.`,
  );
}

export const viewOf = (bytes: Buffer): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
