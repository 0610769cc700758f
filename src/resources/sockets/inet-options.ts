/** Options of the internet protocols by table: ip(7), ipv6(7), tcp(7), udp(7). */
import { IP, IPV6, TCP, UDP, UDPLITE } from '../../kernel/abi/inet.ts';
import { SOCKET } from '../../kernel/abi/socket.ts';
import { generalOptions, INTERFACE_NAME_SIZE, MAX_OPTION_BYTES, numbers, type OptionEntry } from '../socket-options.ts';

/** Room for the name of an interface, as the image has it. */
const named = (level: number, option: number): OptionEntry => ({ level, option, sizeBytes: INTERFACE_NAME_SIZE });

/** Of an IPv4 header. */
const MAX_IP_OPTIONS = 40;

const ipOptions: readonly OptionEntry[] = [
  { level: SOCKET.IPPROTO_IP, option: IP.IP_OPTIONS, sizeBytes: MAX_IP_OPTIONS },
  named(SOCKET.IPPROTO_IP, IP.IP_UNICAST_IF),
  ...numbers(SOCKET.IPPROTO_IP, [
    IP.IP_TOS,
    IP.IP_TTL,
    IP.IP_RECVOPTS,
    IP.IP_RETOPTS,
    IP.IP_PKTINFO,
    IP.IP_MTU_DISCOVER,
    IP.IP_RECVERR,
    IP.IP_RECVTTL,
    IP.IP_RECVTOS,
    IP.IP_FREEBIND,
    IP.IP_TRANSPARENT,
    IP.IP_RECVORIGDSTADDR,
    IP.IP_MINTTL,
    IP.IP_CHECKSUM,
    IP.IP_BIND_ADDRESS_NO_PORT,
    IP.IP_RECVFRAGSIZE,
    IP.IP_RECVERR_RFC4884,
    IP.IP_PASSSEC,
    IP.IP_LOCAL_PORT_RANGE,
  ]),
];

/** Headers that go with every packet (RFC 3542). */
const headers = [IPV6.IPV6_HOPOPTS, IPV6.IPV6_RTHDRDSTOPTS, IPV6.IPV6_RTHDR, IPV6.IPV6_DSTOPTS];

const ipv6Options: readonly OptionEntry[] = [
  ...headers.map((option) => ({ level: SOCKET.IPPROTO_IPV6, option, sizeBytes: MAX_OPTION_BYTES })),
  named(SOCKET.IPPROTO_IPV6, IPV6.IPV6_UNICAST_IF),
  ...numbers(SOCKET.IPPROTO_IPV6, [
    IPV6.IPV6_V6ONLY,
    IPV6.IPV6_UNICAST_HOPS,
    IPV6.IPV6_MTU_DISCOVER,
    IPV6.IPV6_RECVERR,
    IPV6.IPV6_RECVERR_RFC4884,
    IPV6.IPV6_FLOWINFO_SEND,
    IPV6.IPV6_RECVPKTINFO,
    IPV6.IPV6_RECVHOPLIMIT,
    IPV6.IPV6_RECVHOPOPTS,
    IPV6.IPV6_RECVRTHDR,
    IPV6.IPV6_RECVDSTOPTS,
    IPV6.IPV6_RECVPATHMTU,
    IPV6.IPV6_DONTFRAG,
    IPV6.IPV6_RECVTCLASS,
    IPV6.IPV6_TCLASS,
    IPV6.IPV6_AUTOFLOWLABEL,
    IPV6.IPV6_ADDR_PREFERENCES,
    IPV6.IPV6_MINHOPCOUNT,
    IPV6.IPV6_RECVORIGDSTADDR,
    IPV6.IPV6_TRANSPARENT,
    IPV6.IPV6_RECVFRAGSIZE,
    IPV6.IPV6_FREEBIND,
    IPV6.IPV6_ROUTER_ALERT_ISOLATE,
    IPV6.IPV6_FLOWINFO,
    IPV6.IPV6_2292PKTINFO,
    IPV6.IPV6_2292HOPOPTS,
    IPV6.IPV6_2292DSTOPTS,
    IPV6.IPV6_2292RTHDR,
    IPV6.IPV6_2292HOPLIMIT,
  ]),
];

/** Accepted TCP sockets note the TTL of the first packet there (net/ipv4/tcp_ipv4.c). */
const multicastOptions = [
  ...numbers(SOCKET.IPPROTO_IP, [IP.IP_MULTICAST_IF, IP.IP_MULTICAST_TTL, IP.IP_MULTICAST_LOOP, IP.IP_MULTICAST_ALL]),
  named(SOCKET.IPPROTO_IPV6, IPV6.IPV6_MULTICAST_IF),
  ...numbers(SOCKET.IPPROTO_IPV6, [IPV6.IPV6_MULTICAST_HOPS, IPV6.IPV6_MULTICAST_LOOP, IPV6.IPV6_MULTICAST_ALL]),
];

const CONGESTION_NAME_SIZE = 16;

/** TCP_QUICKACK is the kernel's own guess from moment to moment. */
export const tcpOptions: readonly OptionEntry[] = [
  ...generalOptions,
  ...ipOptions,
  ...ipv6Options,
  { level: SOCKET.IPPROTO_TCP, option: TCP.TCP_CONGESTION, sizeBytes: CONGESTION_NAME_SIZE },
  ...numbers(SOCKET.IPPROTO_TCP, [
    TCP.TCP_NODELAY,
    TCP.TCP_CORK,
    TCP.TCP_KEEPIDLE,
    TCP.TCP_KEEPINTVL,
    TCP.TCP_KEEPCNT,
    TCP.TCP_SYNCNT,
    TCP.TCP_LINGER2,
    TCP.TCP_DEFER_ACCEPT,
    TCP.TCP_THIN_LINEAR_TIMEOUTS,
    TCP.TCP_USER_TIMEOUT,
    TCP.TCP_FASTOPEN,
    TCP.TCP_NOTSENT_LOWAT,
    TCP.TCP_SAVE_SYN,
    TCP.TCP_FASTOPEN_CONNECT,
    TCP.TCP_FASTOPEN_NO_COOKIE,
    TCP.TCP_INQ,
    TCP.TCP_TX_DELAY,
    TCP.TCP_RTO_MAX_MS,
    TCP.TCP_RTO_MIN_US,
    TCP.TCP_DELACK_MAX_US,
  ]),
];

/** Of a socket that has not been connected: how large segments and window are, where the program has limited that. */
export const tcpBeginningOptions: readonly OptionEntry[] = [
  ...tcpOptions,
  ...numbers(SOCKET.IPPROTO_TCP, [TCP.TCP_MAXSEG, TCP.TCP_WINDOW_CLAMP]),
];

const datagramOptions: readonly OptionEntry[] = [...generalOptions, ...ipOptions, ...ipv6Options, ...multicastOptions];

export const udpOptions: readonly OptionEntry[] = [
  ...datagramOptions,
  ...numbers(SOCKET.IPPROTO_UDP, [
    UDP.UDP_CORK,
    UDP.UDP_ENCAP,
    UDP.UDP_NO_CHECK6_TX,
    UDP.UDP_NO_CHECK6_RX,
    UDP.UDP_SEGMENT,
    UDP.UDP_GRO,
  ]),
  ...numbers(SOCKET.IPPROTO_UDPLITE, [UDPLITE.SEND_CSCOV, UDPLITE.RECV_CSCOV]),
];

/** Of raw sockets and those of ICMP: raw(7), icmp(7). */
export const rawOptions: readonly OptionEntry[] = [
  ...datagramOptions,
  ...numbers(SOCKET.IPPROTO_IP, [IP.IP_HDRINCL, IP.IP_NODEFRAG]),
  ...numbers(IP.SOL_RAW, [IP.ICMP_FILTER]),
  ...numbers(SOCKET.IPPROTO_IPV6, [IPV6.IPV6_CHECKSUM, IPV6.IPV6_HDRINCL]),
  { level: SOCKET.IPPROTO_ICMPV6, option: IPV6.ICMPV6_FILTER, sizeBytes: 32 },
];
