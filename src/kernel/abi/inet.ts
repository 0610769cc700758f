/** Options and structures of the internet protocols: ip(7), ipv6(7), tcp(7), udp(7). */
import { bytes } from '../struct.ts';
import { defineAbi } from './define-abi.ts';

export const IP = {
  IP_OPTIONS: 4,
  IP_TOS: 1,
  IP_TTL: 2,
  IP_RECVOPTS: 6,
  IP_RETOPTS: 7,
  IP_PKTINFO: 8,
  IP_MTU_DISCOVER: 10,
  IP_RECVERR: 11,
  IP_RECVTTL: 12,
  IP_RECVTOS: 13,
  IP_FREEBIND: 15,
  IP_TRANSPARENT: 19,
  IP_RECVORIGDSTADDR: 20,
  IP_MINTTL: 21,
  IP_NODEFRAG: 22,
  IP_CHECKSUM: 23,
  IP_BIND_ADDRESS_NO_PORT: 24,
  IP_RECVFRAGSIZE: 25,
  IP_RECVERR_RFC4884: 26,
  IP_MULTICAST_IF: 32,
  IP_MULTICAST_TTL: 33,
  IP_MULTICAST_LOOP: 34,
  IP_MULTICAST_ALL: 49,
  IP_UNICAST_IF: 50,
  IP_LOCAL_PORT_RANGE: 51,
  IP_HDRINCL: 3,
  MCAST_MSFILTER: 48,
  IP_ADD_MEMBERSHIP: 35,
} as const;

export const IPV6 = {
  IPV6_RTHDR: 57,
  IPV6_UNICAST_HOPS: 16,
  IPV6_MULTICAST_IF: 17,
  IPV6_MULTICAST_HOPS: 18,
  IPV6_MULTICAST_LOOP: 19,
  IPV6_ADD_MEMBERSHIP: 20,
  IPV6_MTU_DISCOVER: 23,
  IPV6_RECVERR: 25,
  IPV6_V6ONLY: 26,
  IPV6_MULTICAST_ALL: 29,
  IPV6_RECVERR_RFC4884: 31,
  IPV6_FLOWINFO_SEND: 33,
  IPV6_RECVPKTINFO: 49,
  IPV6_RECVHOPLIMIT: 51,
  IPV6_RECVHOPOPTS: 53,
  IPV6_RECVRTHDR: 56,
  IPV6_RECVDSTOPTS: 58,
  IPV6_RECVPATHMTU: 60,
  IPV6_DONTFRAG: 62,
  IPV6_RECVTCLASS: 66,
  IPV6_TCLASS: 67,
  IPV6_AUTOFLOWLABEL: 70,
  IPV6_ADDR_PREFERENCES: 72,
  IPV6_MINHOPCOUNT: 73,
  IPV6_RECVORIGDSTADDR: 74,
  IPV6_TRANSPARENT: 75,
  IPV6_UNICAST_IF: 76,
  IPV6_RECVFRAGSIZE: 77,
  IPV6_FREEBIND: 78,
} as const;

export const TCP = {
  TCP_NODELAY: 1,
  TCP_MAXSEG: 2,
  TCP_CORK: 3,
  TCP_KEEPIDLE: 4,
  TCP_KEEPINTVL: 5,
  TCP_KEEPCNT: 6,
  TCP_SYNCNT: 7,
  TCP_LINGER2: 8,
  TCP_DEFER_ACCEPT: 9,
  TCP_WINDOW_CLAMP: 10,
  TCP_INFO: 11,
  TCP_CONGESTION: 13,
  TCP_THIN_LINEAR_TIMEOUTS: 16,
  TCP_USER_TIMEOUT: 18,
  TCP_REPAIR: 19,
  TCP_REPAIR_QUEUE: 20,
  TCP_QUEUE_SEQ: 21,
  TCP_REPAIR_OPTIONS: 22,
  TCP_FASTOPEN: 23,
  TCP_TIMESTAMP: 24,
  TCP_NOTSENT_LOWAT: 25,
  TCP_SAVE_SYN: 27,
  TCP_REPAIR_WINDOW: 29,
  TCP_FASTOPEN_CONNECT: 30,
  TCP_ULP: 31,
  TCP_FASTOPEN_NO_COOKIE: 34,
  TCP_INQ: 36,
  TCP_TX_DELAY: 37,
  TCP_REPAIR_ON: 1,
  TCP_REPAIR_OFF: 0,
  TCP_REPAIR_OFF_NO_WP: -1,
  TCP_NO_QUEUE: 0,
  TCP_RECV_QUEUE: 1,
  TCP_SEND_QUEUE: 2,
  TCPI_OPT_TIMESTAMPS: 1,
  TCPI_OPT_SACK: 2,
  TCPI_OPT_WSCALE: 4,
  SIOCOUTQNSD: 35147,
} as const;

export const UDP = {
  UDP_CORK: 1,
  UDP_ENCAP: 100,
  UDP_NO_CHECK6_TX: 101,
  UDP_NO_CHECK6_RX: 102,
  UDP_SEGMENT: 103,
  UDP_GRO: 104,
} as const;

/** net/udplite.h, not for user space: UDPLITE_SEND_CSCOV and UDPLITE_RECV_CSCOV. */
export const UDPLITE = { SEND_CSCOV: 10, RECV_CSCOV: 11 } as const;

/** What TCP options are called in packets, and in struct tcp_repair_opt (net/tcp.h, not for user space). */
export const TCPOPT = { MSS: 2, WINDOW: 3, SACK_PERM: 4, TIMESTAMP: 8 } as const;

/** net/tcp_states.h, in the order of include/net; tcp(7) names them. */
export const TCP_STATE = {
  ESTABLISHED: 1,
  SYN_SENT: 2,
  SYN_RECV: 3,
  FIN_WAIT1: 4,
  FIN_WAIT2: 5,
  TIME_WAIT: 6,
  CLOSE: 7,
  CLOSE_WAIT: 8,
  LAST_ACK: 9,
  LISTEN: 10,
  CLOSING: 11,
} as const;

export const inetAbi = defineAbi({
  headers: [
    'sys/types.h',
    'sys/socket.h',
    'linux/in.h',
    'linux/in6.h',
    'linux/tcp.h',
    'linux/udp.h',
    'linux/sockios.h',
  ],
  constants: { ...IP, ...IPV6, ...TCP, ...UDP },
  structs: {
    sockaddr_in: { size: 16, fields: { sin_family: [0, 'u16'], sin_port: [2, bytes(2)], sin_addr: [4, bytes(4)] } },
    sockaddr_in6: {
      size: 28,
      fields: {
        sin6_family: [0, 'u16'],
        sin6_port: [2, bytes(2)],
        sin6_flowinfo: [4, 'u32'],
        sin6_addr: [8, bytes(16)],
        sin6_scope_id: [24, 'u32'],
      },
    },
    tcp_repair_opt: { size: 8, fields: { opt_code: [0, 'u32'], opt_val: [4, 'u32'] } },
    tcp_repair_window: {
      size: 20,
      fields: {
        snd_wl1: [0, 'u32'],
        snd_wnd: [4, 'u32'],
        max_window: [8, 'u32'],
        rcv_wnd: [12, 'u32'],
        rcv_wup: [16, 'u32'],
      },
    },
  },
});
