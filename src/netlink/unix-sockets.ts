/** The UNIX sockets of our network namespace as the kernel lists them: sock_diag(7), unix_diag (Linux 3.3). */
import { NETLINK, netlinkAbi, SOCK_DIAG } from '../kernel/abi/netlink.ts';
import { SOCKET } from '../kernel/abi/socket.ts';
import { structOf } from '../kernel/struct.ts';
import { dump } from './dump.ts';
import { decodeAttributes, ofAtLeast, viewOf } from './messages.ts';

const request = structOf(netlinkAbi.structs.unix_diag_req);
const entry = structOf(netlinkAbi.structs.unix_diag_msg);

export interface UnixSocketEntry {
  readonly inode: number;
  /** SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET. */
  readonly type: number;
  /** States of TCP (net/tcp_states.h): 1 connected, 7 not, 10 listening. */
  readonly state: number;
  /** What sockaddr_un has behind its family; a path without its NUL; an abstract name begins with NUL. Undefined: none. */
  readonly name: Buffer | undefined;
  /** The file that it is bound to, also when it has been removed. The device is the kernel's: 12 bits and 20 bits. */
  readonly file: { readonly inode: number; readonly device: number } | undefined;
  /** The inode of the socket that it is connected to: 0 for one that has been closed or not yet accepted. Undefined: none. */
  readonly peer: number | undefined;
  /** Inodes of the sockets whose connections wait for accept(2). */
  readonly pending: readonly number[];
  /** Of a listener: how many connections wait, and its backlog. Of another: bytes to be read, bytes sent and not yet read. */
  readonly receiveQueue: number;
  readonly sendQueue: number;
  /** RCV_SHUTDOWN 1, SEND_SHUTDOWN 2. */
  readonly shutdown: number;
}

const SHOWN =
  SOCK_DIAG.UDIAG_SHOW_NAME |
  SOCK_DIAG.UDIAG_SHOW_VFS |
  SOCK_DIAG.UDIAG_SHOW_PEER |
  SOCK_DIAG.UDIAG_SHOW_ICONS |
  SOCK_DIAG.UDIAG_SHOW_RQLEN;
const ALL_STATES = 0xffff_ffff;

export function listUnixSockets(): UnixSocketEntry[] {
  const payload = request.encode({
    sdiag_family: SOCKET.AF_UNIX,
    udiag_states: ALL_STATES,
    udiag_show: SHOWN,
  });
  const messages = dump(
    NETLINK.NETLINK_SOCK_DIAG,
    { type: SOCK_DIAG.SOCK_DIAG_BY_FAMILY, payload },
    'list the UNIX sockets',
  );
  return messages.map((message) => decodeUnixSocket(message.payload));
}

export function decodeUnixSocket(payload: Buffer): UnixSocketEntry {
  const { udiag_type, udiag_state, udiag_ino } = entry.read(viewOf(ofAtLeast(entry.size, payload)));
  const attributes = decodeAttributes(payload.subarray(entry.size));
  const sized = (type: number, sizeBytes: number): Buffer | undefined => {
    const found = attributes.get(type);
    return found === undefined ? undefined : ofAtLeast(sizeBytes, found);
  };
  const lengths = sized(SOCK_DIAG.UNIX_DIAG_RQLEN, 8);
  const file = sized(SOCK_DIAG.UNIX_DIAG_VFS, 8);
  const pending = attributes.get(SOCK_DIAG.UNIX_DIAG_ICONS);
  return {
    inode: udiag_ino,
    type: udiag_type,
    state: udiag_state,
    name: nameOf(attributes.get(SOCK_DIAG.UNIX_DIAG_NAME)),
    file: file === undefined ? undefined : { inode: file.readUInt32LE(0), device: file.readUInt32LE(4) },
    peer: sized(SOCK_DIAG.UNIX_DIAG_PEER, 4)?.readUInt32LE(0),
    pending:
      pending === undefined
        ? []
        : Array.from({ length: Math.floor(pending.length / 4) }, (_, n) => pending.readUInt32LE(n * 4)),
    receiveQueue: lengths?.readUInt32LE(0) ?? 0,
    sendQueue: lengths?.readUInt32LE(4) ?? 0,
    shutdown: attributes.get(SOCK_DIAG.UNIX_DIAG_SHUTDOWN)?.[0] ?? 0,
  };
}

/** The kernel counts the NUL behind a path, but for one that has all 108 bytes. */
function nameOf(bytes: Buffer | undefined): Buffer | undefined {
  if (bytes === undefined || bytes.length === 0) return undefined;
  const end = bytes[0] === 0 ? -1 : bytes.indexOf(0);
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end));
}
