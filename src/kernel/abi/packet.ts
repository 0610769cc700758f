/** Packet sockets and what the kernel tells of them: packet(7), linux/packet_diag.h. */
import { bytes } from '../struct.ts';
import { defineAbi } from './define-abi.ts';

/** Linux 6.4, linux/if_packet.h */
const NEWER_PACKET = { PACKET_VNET_HDR_SZ: 24 } as const;

export const PACKET = {
  SOL_PACKET: 263,
  PACKET_ADD_MEMBERSHIP: 1,
  PACKET_COPY_THRESH: 7,
  PACKET_AUXDATA: 8,
  PACKET_ORIGDEV: 9,
  PACKET_VERSION: 10,
  PACKET_RESERVE: 12,
  PACKET_LOSS: 14,
  PACKET_VNET_HDR: 15,
  PACKET_TIMESTAMP: 17,
  PACKET_TX_HAS_OFF: 19,
  PACKET_QDISC_BYPASS: 20,
  PACKET_IGNORE_OUTGOING: 23,
  PACKET_MR_MULTICAST: 0,
  PACKET_MR_PROMISC: 1,
  PACKET_MR_ALLMULTI: 2,
  PACKET_MR_UNICAST: 3,
  PACKET_SHOW_INFO: 1,
  PACKET_SHOW_MCLIST: 2,
  PACKET_SHOW_RING_CFG: 4,
  PACKET_SHOW_FANOUT: 8,
  PACKET_DIAG_MCLIST: 1,
  PACKET_DIAG_RX_RING: 2,
  PACKET_DIAG_TX_RING: 3,
  PACKET_DIAG_FANOUT: 4,
  ...NEWER_PACKET,
} as const;

export const packetAbi = defineAbi({
  headers: ['sys/socket.h', 'linux/if_packet.h', 'linux/packet_diag.h'],
  constants: { ...PACKET },
  unlisted: { ...NEWER_PACKET },
  structs: {
    sockaddr_ll: {
      size: 20,
      fields: { sll_family: [0, 'u16'], sll_protocol: [2, bytes(2)], sll_ifindex: [4, 'i32'] },
    },
    packet_mreq: {
      size: 16,
      fields: { mr_ifindex: [0, 'i32'], mr_type: [4, 'u16'], mr_alen: [6, 'u16'], mr_address: [8, bytes(8)] },
    },
    packet_diag_req: {
      size: 20,
      fields: { sdiag_family: [0, 'u8'], sdiag_protocol: [1, 'u8'], pdiag_ino: [4, 'u32'], pdiag_show: [8, 'u32'] },
    },
    packet_diag_msg: { size: 16, fields: { pdiag_family: [0, 'u8'], pdiag_type: [1, 'u8'], pdiag_ino: [4, 'u32'] } },
    packet_diag_mclist: {
      size: 44,
      fields: {
        pdmc_index: [0, 'u32'],
        pdmc_count: [4, 'u32'],
        pdmc_type: [8, 'u16'],
        pdmc_alen: [10, 'u16'],
        pdmc_addr: [12, bytes(32)],
      },
    },
  },
});
