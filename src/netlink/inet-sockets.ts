/** The TCP and UDP sockets of our network namespace as the kernel lists them: sock_diag(7), inet_diag. */
import { NETLINK, netlinkAbi, SOCK_DIAG } from '../kernel/abi/netlink.ts';
import { structOf } from '../kernel/struct.ts';
import { dump } from './dump.ts';
import { decodeAttributes, ofAtLeast, viewOf } from './messages.ts';

const request = structOf(netlinkAbi.structs.inet_diag_req_v2);
const entry = structOf(netlinkAbi.structs.inet_diag_msg);

export interface InetEnd {
  /** 4 bytes of AF_INET, 16 of AF_INET6. */
  readonly address: Buffer;
  readonly port: number;
}

export interface InetSocketEntry {
  /** 0 when no descriptor has it: in TIME_WAIT, or not yet accepted. */
  readonly inode: number;
  readonly family: number;
  /** States of TCP (net/tcp_states.h). */
  readonly state: number;
  readonly local: InetEnd;
  readonly remote: InetEnd;
  readonly interface: number;
  /** Its segments are signed with keys (TCP_MD5SIG), if the caller has asked for that and may know it (CAP_NET_ADMIN). */
  readonly isSigned: boolean;
  /** Of a listener: how many connections wait, and its backlog. */
  readonly receiveQueue: number;
  readonly sendQueue: number;
}

const ALL_STATES = 0xffff_ffff;

/** A bit for each attribute. The kernel tells keys only to who asks for struct tcp_info too (inet_sk_diag_fill of net/ipv4/inet_diag.c). */
const WITH_KEYS = 1 << (SOCK_DIAG.INET_DIAG_INFO - 1);

export function listInetSockets(family: number, protocol: number, { keys = false } = {}): InetSocketEntry[] {
  const payload = request.encode({
    sdiag_family: family,
    sdiag_protocol: protocol,
    idiag_ext: keys ? WITH_KEYS : 0,
    idiag_states: ALL_STATES,
  });
  const asked = { type: SOCK_DIAG.SOCK_DIAG_BY_FAMILY, payload };
  return dump(NETLINK.NETLINK_SOCK_DIAG, asked, 'list the sockets of the internet protocols').map((message) =>
    decodeInetSocket(message.payload),
  );
}

const AF_INET_BYTES = 4;
const AF_INET6_BYTES = 16;
const AF_INET = 2;

export function decodeInetSocket(payload: Buffer): InetSocketEntry {
  const read = entry.read(viewOf(ofAtLeast(entry.size, payload)));
  const size = read.idiag_family === AF_INET ? AF_INET_BYTES : AF_INET6_BYTES;
  const end = (address: Uint8Array, port: Uint8Array): InetEnd => ({
    address: Buffer.from(address.subarray(0, size)),
    port: Buffer.from(port).readUInt16BE(0),
  });
  return {
    inode: read.idiag_inode,
    family: read.idiag_family,
    state: read.idiag_state,
    local: end(read['id.idiag_src'], read['id.idiag_sport']),
    remote: end(read['id.idiag_dst'], read['id.idiag_dport']),
    interface: read['id.idiag_if'],
    isSigned: decodeAttributes(payload.subarray(entry.size)).has(SOCK_DIAG.INET_DIAG_MD5SIG),
    receiveQueue: read.idiag_rqueue,
    sendQueue: read.idiag_wqueue,
  };
}
