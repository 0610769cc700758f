/** The packet sockets of our network namespace as the kernel lists them: sock_diag(7), linux/packet_diag.h (CONFIG_PACKET_DIAG, Linux 3.7). */
import { NETLINK, SOCK_DIAG } from '../kernel/abi/netlink.ts';
import { PACKET, packetAbi } from '../kernel/abi/packet.ts';
import { SOCKET } from '../kernel/abi/socket.ts';
import { structOf } from '../kernel/struct.ts';
import { dump } from './dump.ts';
import { decodeAttributes, ofAtLeast, viewOf } from './messages.ts';

const request = structOf(packetAbi.structs.packet_diag_req);
const entry = structOf(packetAbi.structs.packet_diag_msg);
const member = structOf(packetAbi.structs.packet_diag_mclist);

export interface PacketMembership {
  readonly interfaceIndex: number;
  /** PACKET_MR_… */
  readonly kind: number;
  readonly address: Buffer;
  /** How often it has been asked for. */
  readonly times: number;
}

export interface PacketSocketEntry {
  readonly inode: number;
  readonly memberships: readonly PacketMembership[];
  /** It has memory that it shares with the kernel (PACKET_RX_RING, PACKET_TX_RING). */
  readonly hasRing: boolean;
  /** It shares what comes in with other sockets (PACKET_FANOUT). */
  readonly hasFanout: boolean;
}

export function listPacketSockets(): PacketSocketEntry[] {
  const { PACKET_SHOW_MCLIST, PACKET_SHOW_RING_CFG, PACKET_SHOW_FANOUT } = PACKET;
  const payload = request.encode({
    sdiag_family: SOCKET.AF_PACKET,
    pdiag_show: PACKET_SHOW_MCLIST | PACKET_SHOW_RING_CFG | PACKET_SHOW_FANOUT,
  });
  const asked = { type: SOCK_DIAG.SOCK_DIAG_BY_FAMILY, payload };
  return dump(NETLINK.NETLINK_SOCK_DIAG, asked, 'list the packet sockets').map((message) =>
    decodePacketSocket(message.payload),
  );
}

export function decodePacketSocket(payload: Buffer): PacketSocketEntry {
  const read = entry.read(viewOf(ofAtLeast(entry.size, payload)));
  const attributes = decodeAttributes(payload.subarray(entry.size));
  return {
    inode: read.pdiag_ino,
    memberships: decodeMemberships(attributes.get(PACKET.PACKET_DIAG_MCLIST) ?? Buffer.alloc(0)),
    hasRing: attributes.has(PACKET.PACKET_DIAG_RX_RING) || attributes.has(PACKET.PACKET_DIAG_TX_RING),
    hasFanout: attributes.has(PACKET.PACKET_DIAG_FANOUT),
  };
}

/** An array without a count: as long as the attribute is. */
function decodeMemberships(list: Buffer): PacketMembership[] {
  return Array.from({ length: Math.floor(list.length / member.size) }, (_, index) => {
    const read = member.read(viewOf(list), index * member.size);
    return {
      interfaceIndex: read.pdmc_index,
      kind: read.pdmc_type,
      address: Buffer.from(read.pdmc_addr.subarray(0, read.pdmc_alen)),
      times: read.pdmc_count,
    };
  });
}
