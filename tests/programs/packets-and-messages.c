/* Raw sockets, packet sockets, those of ICMP and of netlink: raw(7), packet(7), icmp(7), netlink(7). All on the loopback interface. */
#include "self-check.h"
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/packet_diag.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define ICMP_FILTER_OPTION 1

union address {
  struct sockaddr any;
  struct sockaddr_in in;
  struct sockaddr_in6 in6;
  struct sockaddr_ll link;
  struct sockaddr_nl netlink;
};

static union address at(const char *text, int port) {
  union address made;
  memset(&made, 0, sizeof made);
  int is_v4 = strchr(text, ':') == NULL;
  made.any.sa_family = is_v4 ? AF_INET : AF_INET6;
  CHECK(inet_pton(made.any.sa_family, text, is_v4 ? (void *)&made.in.sin_addr : (void *)&made.in6.sin6_addr) == 1, "%s", text);
  made.in.sin_port = htons((unsigned short)port);
  return made;
}

static socklen_t size_of(const union address *one) { return one->any.sa_family == AF_INET ? sizeof one->in : sizeof one->in6; }

static int made(int family, int type, int protocol) {
  int fd = socket(family, type, protocol);
  CHECK(fd >= 0, "socket %d, %d, %d: errno %d", family, type, protocol, errno);
  return fd;
}

static void set(int fd, int level, int option, const void *value, size_t size) {
  CHECK(setsockopt(fd, level, option, value, (socklen_t)size) == 0, "setsockopt %d of level %d: errno %d", option, level, errno);
}

static void set_number(int fd, int level, int option, int value) { set(fd, level, option, &value, sizeof value); }

static int number(int fd, int level, int option) {
  int value = -2;
  socklen_t length = sizeof value;
  CHECK(getsockopt(fd, level, option, &value, &length) == 0, "getsockopt %d of level %d: errno %d", option, level, errno);
  return value;
}

static void bind_to(int fd, const char *text) {
  union address own = at(text, 0);
  CHECK(bind(fd, &own.any, size_of(&own)) == 0, "bind to %s: errno %d", text, errno);
}

static void connect_to(int fd, const char *text) {
  union address peer = at(text, 0);
  CHECK(connect(fd, &peer.any, size_of(&peer)) == 0, "connect to %s: errno %d", text, errno);
}

/* What comes next ends with these bytes. */
static void expect(int fd, const void *bytes, size_t length) {
  char got[2048];
  struct pollfd look = {fd, POLLIN, 0};
  CHECK(poll(&look, 1, 10000) == 1, "nothing comes to %d", fd);
  ssize_t received = recv(fd, got, sizeof got, MSG_DONTWAIT);
  CHECK(received >= (ssize_t)length && memcmp(got + received - length, bytes, length) == 0, "%d has got %zd other bytes, errno %d", fd, received, errno);
}

static void expect_nothing(int fd) {
  char byte;
  CHECK(recv(fd, &byte, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN, "%d has something to read, errno %d", fd, errno);
}

static unsigned short checksum(const unsigned char *bytes, size_t length) {
  unsigned sum = 0;
  for (size_t i = 0; i < length; i++) sum += i % 2 ? bytes[i] : (unsigned)bytes[i] << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return htons((unsigned short)~sum);
}

/* ICMP of both versions: type, code, checksum, four bytes. IPv6 fills in the checksum itself. */
struct icmp_message {
  unsigned char type, code;
  unsigned short sum, id, sequence;
  char text[8];
};

static struct icmp_message message(int type, const char *text) {
  struct icmp_message one = {.type = (unsigned char)type};
  memcpy(one.text, text, 8);
  one.sum = checksum((unsigned char *)&one, sizeof one);
  return one;
}

static void send_icmp(int from, const char *to, int type, const char *text) {
  struct icmp_message one = message(type, text);
  if (to == NULL) {
    CHECK(send(from, &one, sizeof one, 0) == sizeof one, "send: errno %d", errno);
    return;
  }
  union address goal = at(to, 0);
  CHECK(sendto(from, &one, sizeof one, 0, &goal.any, size_of(&goal)) == sizeof one, "sendto %s: errno %d", to, errno);
}

/* Raw sockets of ICMP: bound, connected without a port, with filters of types. */
static int icmp, icmp_peer, icmp6, icmp6_peer, plain, headers, counted;
enum { PASSING = 14, BLOCKED = 18, PASSING6 = 200, BLOCKED6 = 201 };

static void set_up_raw(void) {
  unsigned blocked = ~(1u << PASSING);
  icmp = made(AF_INET, SOCK_RAW, IPPROTO_ICMP), icmp_peer = made(AF_INET, SOCK_RAW, IPPROTO_ICMP);
  set(icmp, 255, ICMP_FILTER_OPTION, &blocked, sizeof blocked);
  blocked = ~0u, set(icmp_peer, 255, ICMP_FILTER_OPTION, &blocked, sizeof blocked);
  bind_to(icmp, "127.77.0.1"), connect_to(icmp, "127.77.0.2");
  set_number(icmp, IPPROTO_IP, IP_TTL, 7), set_number(icmp, IPPROTO_IP, IP_RECVERR, 1);

  struct icmp6_filter pass;
  ICMP6_FILTER_SETBLOCKALL(&pass);
  icmp6 = made(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6), icmp6_peer = made(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
  set(icmp6_peer, IPPROTO_ICMPV6, ICMP6_FILTER, &pass, sizeof pass);
  ICMP6_FILTER_SETPASS(PASSING6, &pass), set(icmp6, IPPROTO_ICMPV6, ICMP6_FILTER, &pass, sizeof pass);
  bind_to(icmp6, "::1"), connect_to(icmp6_peer, "::1"), set_number(icmp6, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);

  plain = made(AF_INET, SOCK_RAW, 253), headers = made(AF_INET, SOCK_RAW, IPPROTO_RAW), counted = made(AF_INET6, SOCK_RAW, 253);
  bind_to(plain, "127.77.0.4"), set_number(counted, IPPROTO_IPV6, IPV6_CHECKSUM, 2);
  struct ip_mreq join = {.imr_multiaddr = at("239.77.2.1", 0).in.sin_addr, .imr_interface = at("127.0.0.1", 0).in.sin_addr};
  set(plain, IPPROTO_IP, IP_ADD_MEMBERSHIP, &join, sizeof join);
}

static void check_raw(void) {
  bind_to(icmp_peer, "127.77.0.3");
  send_icmp(icmp_peer, "127.77.0.1", PASSING, "not this");
  close(icmp_peer), icmp_peer = made(AF_INET, SOCK_RAW, IPPROTO_ICMP), bind_to(icmp_peer, "127.77.0.2");
  send_icmp(icmp_peer, "127.77.0.1", BLOCKED, "nor this"), send_icmp(icmp_peer, "127.77.0.1", PASSING, "but this");
  struct icmp_message wanted = message(PASSING, "but this");
  expect(icmp, &wanted, sizeof wanted), expect_nothing(icmp);
  send_icmp(icmp, NULL, PASSING, "to peer "), wanted = message(PASSING, "to peer "), expect(icmp_peer, &wanted, sizeof wanted);
  CHECK(number(icmp, IPPROTO_IP, IP_TTL) == 7 && number(icmp, IPPROTO_IP, IP_RECVERR) == 1, "options of a raw socket");
  union address name;
  socklen_t length = sizeof name;
  CHECK(getpeername(icmp, &name.any, &length) == -1 && errno == ENOTCONN, "it has a port");

  send_icmp(icmp6_peer, NULL, BLOCKED6, "not this"), send_icmp(icmp6_peer, NULL, PASSING6, "but this");
  expect(icmp6, "but this", 8), expect_nothing(icmp6);
  CHECK(number(icmp6, IPPROTO_IPV6, IPV6_RECVPKTINFO) == 1, "IPV6_RECVPKTINFO");

  CHECK(number(headers, IPPROTO_IP, IP_HDRINCL) == 1 && number(plain, IPPROTO_IP, IP_HDRINCL) == 0, "IP_HDRINCL");
  CHECK(number(counted, IPPROTO_IPV6, IPV6_CHECKSUM) == 2, "IPV6_CHECKSUM");
  struct {
    struct iphdr ip;
    char text[8];
  } packet = {.ip = {.version = 4, .ihl = 5, .ttl = 9, .protocol = 253}};
  memcpy(packet.text, "by hand ", 8);
  packet.ip.saddr = at("127.77.0.5", 0).in.sin_addr.s_addr, packet.ip.daddr = at("127.77.0.4", 0).in.sin_addr.s_addr;
  union address to = at("127.77.0.4", 0);
  CHECK(sendto(headers, &packet, sizeof packet, 0, &to.any, sizeof to.in) == sizeof packet, "sendto: errno %d", errno);
  expect(plain, "by hand ", 8), expect_nothing(plain);
  struct ip_mreq left = {.imr_multiaddr = at("239.77.2.1", 0).in.sin_addr, .imr_interface = at("127.0.0.1", 0).in.sin_addr};
  set(plain, IPPROTO_IP, IP_DROP_MEMBERSHIP, &left, sizeof left);
}

/* Packet sockets: of one interface with a filter, and of none. The filter takes UDP to this port. */
static int cooked, unbound, loopback, port, receiver;

static void set_up_packets(void) {
  loopback = (int)if_nametoindex("lo");
  union address own = at("127.77.0.6", 0);
  socklen_t length = sizeof own;
  receiver = made(AF_INET, SOCK_DGRAM, 0);
  CHECK(bind(receiver, &own.any, sizeof own.in) == 0 && getsockname(receiver, &own.any, &length) == 0, "bind: errno %d", errno);
  port = ntohs(own.in.sin_port);
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 9),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 0, 3),
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 22),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)port, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  cooked = made(AF_PACKET, SOCK_DGRAM, 0), unbound = made(AF_PACKET, SOCK_RAW, 0);
  set(cooked, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), set_number(cooked, SOL_SOCKET, SO_LOCK_FILTER, 1);
  set_number(cooked, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1), set_number(cooked, SOL_PACKET, PACKET_AUXDATA, 1);
  set_number(unbound, SOL_PACKET, PACKET_VERSION, TPACKET_V3), set_number(unbound, SOL_PACKET, PACKET_QDISC_BYPASS, 1);
  struct packet_mreq all = {.mr_ifindex = loopback, .mr_type = PACKET_MR_PROMISC};
  struct packet_mreq group = {.mr_ifindex = loopback, .mr_type = PACKET_MR_MULTICAST, .mr_alen = 6, .mr_address = {1, 0, 94, 1, 2, 3}};
  set(cooked, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all), set(cooked, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &group, sizeof group);
  set(cooked, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &group, sizeof group);
  union address bound = {.link = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = loopback}};
  CHECK(bind(cooked, &bound.any, sizeof bound.link) == 0, "bind to lo: errno %d", errno);
}

/* As the kernel lists them: how many, and how often. */
static void expect_memberships(int fd, int kinds, int times) {
  struct stat about;
  CHECK(fstat(fd, &about) == 0, "fstat");
  struct {
    struct nlmsghdr head;
    struct packet_diag_req body;
  } ask = {{sizeof ask, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 1, 0}, {.sdiag_family = AF_PACKET, .pdiag_show = PACKET_SHOW_MCLIST}};
  int diag = made(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG), found = 0, sum = 0;
  CHECK(send(diag, &ask, sizeof ask, 0) == sizeof ask, "send: errno %d", errno);
  for (int more = 1; more;) {
    static char answer[65536];
    int length = (int)recv(diag, answer, sizeof answer, 0);
    CHECK(length > 0, "recv: errno %d", errno);
    for (struct nlmsghdr *one = (struct nlmsghdr *)answer; NLMSG_OK(one, (unsigned)length); one = NLMSG_NEXT(one, length)) {
      struct packet_diag_msg *entry = NLMSG_DATA(one);
      CHECK(one->nlmsg_type != NLMSG_ERROR, "no list of packet sockets");
      if (one->nlmsg_type == NLMSG_DONE) more = 0;
      if (one->nlmsg_type == NLMSG_DONE || entry->pdiag_ino != about.st_ino) continue;
      int rest = (int)(one->nlmsg_len - NLMSG_SPACE(sizeof *entry));
      for (struct rtattr *each = (struct rtattr *)(entry + 1); RTA_OK(each, rest); each = RTA_NEXT(each, rest)) {
        if (each->rta_type != PACKET_DIAG_MCLIST) continue;
        struct packet_diag_mclist *list = RTA_DATA(each);
        for (size_t i = 0; i < RTA_PAYLOAD(each) / sizeof *list; i++) found++, sum += (int)list[i].pdmc_count;
      }
    }
  }
  close(diag);
  CHECK(found == kinds && sum == times, "%d memberships, %d times", found, sum);
}

static void check_packets(void) {
  int from = made(AF_INET, SOCK_DGRAM, 0);
  union address to = at("127.77.0.6", port), other = at("127.77.0.6", port ^ 1), bound;
  sendto(from, "not this", 8, 0, &other.any, sizeof other.in);
  CHECK(sendto(from, "but this", 8, 0, &to.any, sizeof to.in) == 8, "sendto: errno %d", errno);
  expect(cooked, "but this", 8), expect_nothing(cooked), expect_nothing(unbound), expect(receiver, "but this", 8);
  socklen_t length = sizeof bound;
  CHECK(getsockname(cooked, &bound.any, &length) == 0 && bound.link.sll_ifindex == loopback && bound.link.sll_protocol == htons(ETH_P_IP), "not bound to lo");
  CHECK(number(cooked, SOL_PACKET, PACKET_IGNORE_OUTGOING) == 1 && number(cooked, SOL_PACKET, PACKET_AUXDATA) == 1, "options of a packet socket");
  CHECK(number(unbound, SOL_PACKET, PACKET_VERSION) == TPACKET_V3 && number(unbound, SOL_PACKET, PACKET_QDISC_BYPASS) == 1, "those of the other one");
  int zero = 0;
  CHECK(setsockopt(cooked, SOL_SOCKET, SO_DETACH_FILTER, &zero, sizeof zero) == -1 && errno == EPERM, "the lock is gone");
  expect_memberships(cooked, 2, 3), expect_memberships(unbound, 0, 0);
}

/* Netlink: a library's idle socket, one with groups, two that talk to each other. */
static int idle, hearing, talking, listening;
static unsigned idle_port, listening_port;

static unsigned number_of(int fd) {
  union address own;
  socklen_t length = sizeof own;
  CHECK(getsockname(fd, &own.any, &length) == 0 && own.any.sa_family == AF_NETLINK, "getsockname: errno %d", errno);
  return own.netlink.nl_pid;
}

static void bind_netlink(int fd, unsigned own_number, unsigned groups) {
  union address own = {.netlink = {.nl_family = AF_NETLINK, .nl_pid = own_number, .nl_groups = groups}};
  CHECK(bind(fd, &own.any, sizeof own.netlink) == 0, "bind: errno %d", errno);
}

static void set_up_netlink(void) {
  idle = made(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), hearing = made(AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE);
  bind_netlink(idle, 0, 0), set_number(idle, SOL_NETLINK, NETLINK_EXT_ACK, 1), set_number(idle, SOL_SOCKET, SO_RCVBUF, 500000);
  set_number(idle, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1);
  bind_netlink(hearing, 0, RTMGRP_IPV4_MROUTE), set_number(hearing, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, RTNLGRP_NSID);
  set_number(hearing, SOL_NETLINK, NETLINK_PKTINFO, 1);
  listening = made(AF_NETLINK, SOCK_RAW, NETLINK_USERSOCK), talking = made(AF_NETLINK, SOCK_RAW, NETLINK_USERSOCK);
  bind_netlink(listening, 0, 0);
  idle_port = number_of(idle), listening_port = number_of(listening);
  union address peer = {.netlink = {.nl_family = AF_NETLINK, .nl_pid = listening_port}};
  CHECK(connect(talking, &peer.any, sizeof peer.netlink) == 0, "connect: errno %d", errno);
}

static void check_netlink(void) {
  CHECK(number_of(idle) == idle_port && number_of(listening) == listening_port, "other numbers: %u, %u", number_of(idle), number_of(listening));
  CHECK(number(idle, SOL_NETLINK, NETLINK_EXT_ACK) == 1 && number(idle, SOL_NETLINK, NETLINK_GET_STRICT_CHK) == 1, "options of netlink");
  CHECK(number(idle, SOL_SOCKET, SO_RCVBUF) >= 400000 && number(hearing, SOL_NETLINK, NETLINK_PKTINFO) == 1, "SO_RCVBUF, NETLINK_PKTINFO");
  unsigned groups[8] = {0};
  socklen_t length = sizeof groups;
  CHECK(getsockopt(hearing, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, groups, &length) == 0, "groups: errno %d", errno);
  CHECK(groups[0] == (RTMGRP_IPV4_MROUTE | 1u << (RTNLGRP_NSID - 1)) && groups[1] == 0, "groups %x, %x", groups[0], groups[1]);
  struct nlmsghdr note = {sizeof note, 99, 0, 7, 0};
  CHECK(send(talking, &note, sizeof note, 0) == sizeof note, "send: errno %d", errno);
  expect(listening, &note, sizeof note);
  struct {
    struct nlmsghdr head;
    struct ifinfomsg body;
  } ask = {{sizeof ask, RTM_GETLINK, NLM_F_REQUEST, 1, 0}, {.ifi_index = loopback}};
  char answer[8192];
  CHECK(send(idle, &ask, sizeof ask, 0) == sizeof ask, "send: errno %d", errno);
  CHECK(recv(idle, answer, sizeof answer, 0) > 100 && ((struct nlmsghdr *)answer)->nlmsg_type == RTM_NEWLINK, "no answer");
  expect_nothing(hearing);
}

/* ICMP without rights: where net.ipv4.ping_group_range lets us. */
static int ping, ping6;

static void set_up_ping(void) {
  ping = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP), ping6 = socket(AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6);
  if (ping < 0) return;
  bind_to(ping, "127.77.0.8"), connect_to(ping, "127.77.0.9"), set_number(ping, IPPROTO_IP, IP_TTL, 9);
  bind_to(ping6, "::1"), set_number(ping6, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
}

static void check_ping(void) {
  if (ping < 0) return;
  send_icmp(ping, NULL, 8, "echoed 4"), expect(ping, "echoed 4", 8), expect_nothing(ping);
  send_icmp(ping6, "::1", 128, "echoed 6"), expect(ping6, "echoed 6", 8), expect_nothing(ping6);
  CHECK(number(ping, IPPROTO_IP, IP_TTL) == 9 && number(ping6, IPPROTO_IPV6, IPV6_RECVHOPLIMIT) == 1, "options of ICMP");
}

int main(void) {
  set_up_raw(), set_up_packets(), set_up_netlink(), set_up_ping();
  say(ping < 0 ? "ready\n" : "ready, with ping\n");
  wait_for_go();
  check_raw(), check_packets(), check_netlink(), check_ping();
  say("ok\n");
}
