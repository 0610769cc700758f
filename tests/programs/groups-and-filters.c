/* Multicast groups, filters, bound devices and groups of sockets with one port: ip(7), ipv6(7), socket(7), udplite(7). All on the loopback interface. */
#include "self-check.h"
#include <linux/filter.h>
#include <linux/net_tstamp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#define COUNT(array) ((unsigned short)(sizeof(array) / sizeof *(array)))

union address {
  struct sockaddr any;
  struct sockaddr_in in;
  struct sockaddr_in6 in6;
  struct sockaddr_storage storage;
};

static union address at(const char *text, int port) {
  union address made;
  memset(&made, 0, sizeof made);
  int is_v4 = strchr(text, ':') == NULL;
  made.any.sa_family = is_v4 ? AF_INET : AF_INET6;
  CHECK(inet_pton(made.any.sa_family, text, is_v4 ? (void *)&made.in.sin_addr : (void *)&made.in6.sin6_addr) == 1, "%s", text);
  if (is_v4) made.in.sin_port = htons((unsigned short)port);
  else made.in6.sin6_port = htons((unsigned short)port);
  return made;
}

static int loopback;

static void set(int fd, int level, int option, const void *value, size_t size) {
  CHECK(setsockopt(fd, level, option, value, (socklen_t)size) == 0, "setsockopt %d of level %d: errno %d", option, level, errno);
}

static void set_number(int fd, int level, int option, int value) { set(fd, level, option, &value, sizeof value); }

static int bound(const char *text, int port, int protocol) {
  union address own = at(text, port);
  int fd = socket(own.any.sa_family, SOCK_DGRAM, protocol);
  CHECK(fd >= 0, "socket: errno %d", errno);
  set_number(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  CHECK(bind(fd, &own.any, sizeof own) == 0, "bind to %s: errno %d", text, errno);
  return fd;
}

/* Nobody else may have its port. */
static int alone(const char *text) {
  union address own = at(text, 0);
  int fd = socket(own.any.sa_family, SOCK_DGRAM, 0);
  CHECK(fd >= 0 && bind(fd, &own.any, sizeof own) == 0, "bind to %s: errno %d", text, errno);
  return fd;
}

static int port_of(int fd) {
  union address own;
  socklen_t length = sizeof own;
  CHECK(getsockname(fd, &own.any, &length) == 0, "getsockname");
  return ntohs(own.in.sin_port);
}

static void send_to(int from, const char *text, int port, const char *what) {
  union address to = at(text, port);
  CHECK(sendto(from, what, strlen(what), 0, &to.any, sizeof to) == (ssize_t)strlen(what), "sendto %s: errno %d", text, errno);
}

static void expect(int fd, const char *text) {
  char got[64];
  struct pollfd look = {fd, POLLIN, 0};
  CHECK(poll(&look, 1, 10000) == 1, "%s does not come", text);
  ssize_t length = recv(fd, got, sizeof got, MSG_DONTWAIT);
  CHECK(length == (ssize_t)strlen(text) && memcmp(got, text, strlen(text)) == 0, "not %s: %zd, errno %d", text, length, errno);
}

static void expect_nothing(int fd) {
  char byte;
  CHECK(recv(fd, &byte, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN, "%d has something to read", fd);
}

static void by_source(int fd, int option, const char *group, const char *source) {
  struct group_source_req request = {.gsr_interface = (unsigned)loopback};
  union address to = at(group, 0), from = at(source, 0);
  request.gsr_group = to.storage, request.gsr_source = from.storage;
  set(fd, to.any.sa_family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6, option, &request, sizeof request);
}

static void expect_filter(int fd, const char *group, unsigned mode, const char *source) {
  char room[sizeof(struct group_filter) + 8 * sizeof(struct sockaddr_storage)] = {0};
  struct group_filter *filter = (struct group_filter *)room;
  union address to = at(group, 0), found, wanted;
  filter->gf_interface = (unsigned)loopback, filter->gf_group = to.storage, filter->gf_numsrc = 4;
  socklen_t length = sizeof room;
  int level = to.any.sa_family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
  CHECK(getsockopt(fd, level, MCAST_MSFILTER, filter, &length) == 0, "no member of %s: errno %d", group, errno);
  CHECK(filter->gf_fmode == mode && filter->gf_numsrc == (source != NULL), "%s: mode %u, %u sources", group, filter->gf_fmode, filter->gf_numsrc);
  if (source == NULL) return;
  wanted = at(source, 0), found.storage = filter->gf_slist[0];
  int same = level == IPPROTO_IP ? found.in.sin_addr.s_addr == wanted.in.sin_addr.s_addr
                                 : memcmp(&found.in6.sin6_addr, &wanted.in6.sin6_addr, 16) == 0;
  CHECK(same, "%s: not the source %s", group, source);
}

/* With whose address and port: `scope` and flow are zero. */
static void expect_from(int fd, const char *what, size_t length, const char *text, int port) {
  static char got[70000];
  union address from, wanted = at(text, port);
  socklen_t size = sizeof from;
  ssize_t received = recvfrom(fd, got, sizeof got, MSG_DONTWAIT, &from.any, &size);
  CHECK(received == (ssize_t)length && memcmp(got, what, length) == 0, "%zd of %zu bytes from %s, errno %d", received, length, text, errno);
  CHECK(memcmp(&from, &wanted, size) == 0, "not from %s, port %d", text, port);
}

/* Takes what has a 'y' at `offset`. */
static struct sock_filter *yes_filter(unsigned offset) {
  static struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 'y', 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  code[0].k = offset;
  return code;
}

static void attach(int fd, unsigned offset) {
  struct sock_fprog program = {4, yes_filter(offset)};
  set(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

static void expect_attached(int fd, unsigned offset) {
  struct sock_filter found[8];
  socklen_t count = COUNT(found);
  CHECK(getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, found, &count) == 0 && count == 4, "%d instructions: errno %d", (int)count, errno);
  CHECK(memcmp(found, yes_filter(offset), 4 * sizeof *found) == 0, "another filter");
}

static void expect_option(int fd, int level, int option, const void *wanted, size_t size) {
  char got[64];
  socklen_t length = sizeof got;
  CHECK(getsockopt(fd, level, option, got, &length) == 0, "getsockopt %d of level %d: errno %d", option, level, errno);
  CHECK(length == size && memcmp(got, wanted, size) == 0, "option %d of level %d is another: %d bytes", option, level, (int)length);
}

/* Options that are no plain number: headers, interfaces, time stamps, also of a connection. */
static const unsigned char no_operation[4] = {1, 1, 1, 0}, padding[8] = {0, 0, 1, 4, 0, 0, 0, 0};
static const int stamps[2] = {SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_TX_ACK | SOF_TIMESTAMPING_OPT_ID, 0};
/* IPV6_FLOWINFO of linux/in6.h, which netinet/in.h does not have. */
#define FLOW_INFORMATION 11
static int with_options, with_options6, stamped;

static void set_options(void) {
  int network = (int)htonl((unsigned)loopback);
  with_options = socket(AF_INET, SOCK_DGRAM, 0), with_options6 = socket(AF_INET6, SOCK_DGRAM, 0);
  set(with_options, IPPROTO_IP, IP_OPTIONS, no_operation, sizeof no_operation);
  set_number(with_options, IPPROTO_IP, IP_UNICAST_IF, network), set_number(with_options, IPPROTO_IP, IP_PASSSEC, 1);
  set(with_options, SOL_SOCKET, SO_TIMESTAMPING_NEW, stamps, sizeof stamps);
  set(with_options6, IPPROTO_IPV6, IPV6_DSTOPTS, padding, sizeof padding), set(with_options6, IPPROTO_IPV6, IPV6_HOPOPTS, padding, sizeof padding);
  set_number(with_options6, IPPROTO_IPV6, IPV6_MULTICAST_IF, loopback), set_number(with_options6, IPPROTO_IPV6, IPV6_UNICAST_IF, network);
  set_number(with_options6, IPPROTO_IPV6, IPV6_2292PKTINFO, 1), set_number(with_options6, IPPROTO_IPV6, FLOW_INFORMATION, 1);
}

static void check_options(void) {
  int network = (int)htonl((unsigned)loopback), one = 1;
  expect_option(with_options, IPPROTO_IP, IP_OPTIONS, no_operation, sizeof no_operation);
  expect_option(with_options, IPPROTO_IP, IP_UNICAST_IF, &network, 4), expect_option(with_options, IPPROTO_IP, IP_PASSSEC, &one, 4);
  expect_option(with_options, SOL_SOCKET, SO_TIMESTAMPING_NEW, stamps, sizeof stamps);
  expect_option(with_options6, IPPROTO_IPV6, IPV6_DSTOPTS, padding, sizeof padding), expect_option(with_options6, IPPROTO_IPV6, IPV6_HOPOPTS, padding, sizeof padding);
  expect_option(with_options6, IPPROTO_IPV6, IPV6_MULTICAST_IF, &loopback, 4), expect_option(with_options6, IPPROTO_IPV6, IPV6_UNICAST_IF, &network, 4);
  expect_option(with_options6, IPPROTO_IPV6, IPV6_2292PKTINFO, &one, 4), expect_option(with_options6, IPPROTO_IPV6, FLOW_INFORMATION, &one, 4);
  expect_option(stamped, SOL_SOCKET, SO_TIMESTAMPING, stamps, sizeof stamps);
}

/* Of TCP, which shows whole segments: takes all but those whose bytes begin with 'n'. */
static struct sock_filter not_n[] = {
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 12),
    BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 2),
    BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x3c),
    BPF_STMT(BPF_MISC | BPF_TAX, 0),
    BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
    BPF_JUMP(BPF_JMP | BPF_JGT | BPF_X, 0, 0, 2),
    BPF_STMT(BPF_LD | BPF_B | BPF_IND, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 'n', 1, 0),
    BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
    BPF_STMT(BPF_RET | BPF_K, 0),
};

struct filtered_tcp {
  int listening, client, server, ended;
};

static int accepted(int listening, const char *text, int *client) {
  union address to = at(text, port_of(listening));
  *client = socket(to.any.sa_family, SOCK_STREAM, 0);
  CHECK(connect(*client, &to.any, sizeof to) == 0, "connect to %s: errno %d", text, errno);
  int made = accept(listening, NULL, NULL);
  CHECK(made >= 0, "accept: errno %d", errno);
  return made;
}

static struct filtered_tcp filter_tcp(const char *text) {
  union address own = at(text, 0);
  struct filtered_tcp made = {.listening = socket(own.any.sa_family, SOCK_STREAM, 0)};
  CHECK(bind(made.listening, &own.any, sizeof own) == 0 && listen(made.listening, 5) == 0, "listen: errno %d", errno);
  int client;
  made.ended = accepted(made.listening, text, &client);
  attach(made.ended, 8), close(client);
  struct sock_fprog program = {COUNT(not_n), not_n};
  set(made.listening, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
  set_number(made.listening, SOL_SOCKET, SO_LOCK_FILTER, 1);
  made.server = accepted(made.listening, text, &made.client);
  CHECK(send(made.client, "seen", 4, 0) == 4, "send: errno %d", errno);
  return made;
}

static int resent(int fd) {
  struct tcp_info info;
  socklen_t length = sizeof info;
  CHECK(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0, "TCP_INFO: errno %d", errno);
  return (int)info.tcpi_retransmits;
}

static void expect_tcp_filter(int fd) {
  struct sock_filter found[COUNT(not_n)];
  socklen_t count = COUNT(found);
  CHECK(getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, found, &count) == 0 && count == COUNT(found), "%d instructions: errno %d", (int)count, errno);
  CHECK(memcmp(found, not_n, sizeof found) == 0, "another filter");
  int zero = 0;
  CHECK(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &zero, sizeof zero) == -1 && errno == EPERM, "the lock is gone");
}

/* What the filter does not take is sent again and again. */
static void check_tcp(struct filtered_tcp *f, const char *text) {
  expect_tcp_filter(f->listening), expect_tcp_filter(f->server);
  expect(f->server, "seen"), expect_attached(f->ended, 8);
  CHECK(send(f->client, "no", 2, 0) == 2, "send: errno %d", errno);
  for (int i = 0; i < 5000 && resent(f->client) == 0; i++) usleep(2000);
  CHECK(resent(f->client) > 0, "it has been taken");
  expect_nothing(f->server);
  int client, server = accepted(f->listening, text, &client);
  expect_tcp_filter(server), close(server), close(client);
}

int main(void) {
  loopback = (int)if_nametoindex("lo");
  CHECK(loopback > 0, "no loopback interface");
  int any = bound("0.0.0.0", 0, 0), including = bound("0.0.0.0", 0, 0), excluding = bound("0.0.0.0", 0, 0);
  struct ip_mreq by_address = {.imr_multiaddr = at("239.77.1.1", 0).in.sin_addr, .imr_interface = at("127.0.0.1", 0).in.sin_addr};
  set(any, IPPROTO_IP, IP_ADD_MEMBERSHIP, &by_address, sizeof by_address);
  by_source(including, MCAST_JOIN_SOURCE_GROUP, "239.77.1.2", "127.0.0.1");
  struct ip_mreqn by_index = {.imr_multiaddr = at("239.77.1.3", 0).in.sin_addr, .imr_ifindex = loopback};
  set(excluding, IPPROTO_IP, IP_ADD_MEMBERSHIP, &by_index, sizeof by_index);
  by_source(excluding, MCAST_BLOCK_SOURCE, "239.77.1.3", "10.9.8.7");
  int any6 = bound("::", 0, 0), including6 = bound("::", 0, 0);
  struct ipv6_mreq join6 = {.ipv6mr_multiaddr = at("ff02::77:1", 0).in6.sin6_addr, .ipv6mr_interface = (unsigned)loopback};
  set(any6, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &join6, sizeof join6);
  by_source(including6, MCAST_JOIN_SOURCE_GROUP, "ff02::77:2", "fe80::1");
  int sender = socket(AF_INET, SOCK_DGRAM, 0), sender6 = socket(AF_INET6, SOCK_DGRAM, 0);
  set(sender, IPPROTO_IP, IP_MULTICAST_IF, &(struct in_addr){htonl(INADDR_LOOPBACK)}, sizeof(struct in_addr));
  set_number(sender, IPPROTO_IP, IP_MULTICAST_TTL, 3), set_number(sender6, IPPROTO_IPV6, IPV6_MULTICAST_IF, loopback);
  set_number(any, IPPROTO_IP, IP_MULTICAST_ALL, 0), set_number(sender, IPPROTO_IP, IP_MULTICAST_LOOP, 1);

  int filtered = bound("127.0.0.1", 0, 0), filtered6 = bound("::1", 0, 0), local[2], streams[2];
  attach(filtered, 8), attach(filtered6, 8), set_number(filtered6, SOL_SOCKET, SO_LOCK_FILTER, 1);
  CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, local) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, streams) == 0, "socketpair");
  CHECK(send(local[0], "no, from before", 15, 0) == 15 && send(streams[0], "no", 2, 0) == 2, "send");
  attach(local[1], 0), attach(streams[1], 0), set_number(local[1], SOL_SOCKET, SO_LOCK_FILTER, 1);

  int group = bound("127.0.0.1", 0, 0), other = bound("127.0.0.1", port_of(group), 0), on_device = bound("0.0.0.0", 0, 0);
  set(on_device, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3);
  int lite = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE), lite_port = 0;
  if (lite >= 0) {
    close(lite), lite = bound("127.0.0.1", 0, IPPROTO_UDPLITE), lite_port = port_of(lite);
    set_number(lite, IPPROTO_UDPLITE, 11, 12);
  }

  set_options();
  struct filtered_tcp tcp = filter_tcp("127.0.0.1"), tcp6 = filter_tcp("::1");
  stamped = tcp.client, set(stamped, SOL_SOCKET, SO_TIMESTAMPING, stamps, sizeof stamps);

  /* What waits: of somebody who is gone, of somebody here, large, over both families, connected. */
  static char large[65000];
  for (size_t i = 0; i < sizeof large; i++) large[i] = (char)(i * 31);
  int waiting = alone("127.0.0.1"), waiting6 = alone("::"), one_of_two = alone("127.0.0.1"), gone = alone("127.0.0.2"), here = alone("127.0.0.3"), here6 = alone("::1");
  int gone_port = port_of(gone), here_port = port_of(here);
  send_to(gone, "127.0.0.1", port_of(waiting), "of the dead"), send_to(here, "127.0.0.1", port_of(waiting), "of the living");
  union address to = at("127.0.0.1", port_of(waiting)), peer = at("127.0.0.3", here_port);
  CHECK(sendto(here, large, sizeof large, 0, &to.any, sizeof to) == sizeof large, "sendto: errno %d", errno);
  send_to(here, "127.0.0.1", port_of(waiting6), "by four"), send_to(here6, "::1", port_of(waiting6), "by six");
  to = at("::1", port_of(waiting6));
  CHECK(sendto(here6, large, 60001, 0, &to.any, sizeof to) == 60001, "sendto: errno %d", errno);
  CHECK(connect(one_of_two, &peer.any, sizeof peer) == 0, "connect: errno %d", errno);
  send_to(here, "127.0.0.1", port_of(one_of_two), "connected");
  attach(one_of_two, 8), close(gone);

  say("ready\n");
  wait_for_go();

  send_to(sender, "239.77.1.1", port_of(any), "to all"), expect(any, "to all");
  send_to(sender, "239.77.1.2", port_of(including), "by source"), expect(including, "by source");
  send_to(sender, "239.77.1.3", port_of(excluding), "not blocked"), expect(excluding, "not blocked");
  /* The loopback interface has no route for groups of IPv6. */
  expect_filter(any6, "ff02::77:1", MCAST_EXCLUDE, NULL);
  expect_filter(including, "239.77.1.2", MCAST_INCLUDE, "127.0.0.1");
  expect_filter(excluding, "239.77.1.3", MCAST_EXCLUDE, "10.9.8.7");
  expect_filter(including6, "ff02::77:2", MCAST_INCLUDE, "fe80::1");
  set(any, IPPROTO_IP, IP_DROP_MEMBERSHIP, &by_address, sizeof by_address);
  set(any6, IPPROTO_IPV6, IPV6_DROP_MEMBERSHIP, &join6, sizeof join6);

  send_to(sender, "127.0.0.1", port_of(filtered), "no"), send_to(sender, "127.0.0.1", port_of(filtered), "yes");
  expect(filtered, "yes"), expect_nothing(filtered), expect_attached(filtered, 8);
  send_to(sender6, "::1", port_of(filtered6), "no"), send_to(sender6, "::1", port_of(filtered6), "yes");
  expect(filtered6, "yes"), expect_nothing(filtered6), expect_attached(filtered6, 8);
  int zero = 0;
  CHECK(setsockopt(filtered6, SOL_SOCKET, SO_DETACH_FILTER, &zero, sizeof zero) == -1 && errno == EPERM, "the lock is gone");
  set_number(filtered, SOL_SOCKET, SO_DETACH_FILTER, 0);
  expect(local[1], "no, from before");
  CHECK(send(local[0], "no", 2, MSG_DONTWAIT) <= 2 && send(local[0], "yes", 3, MSG_DONTWAIT) == 3, "send: errno %d", errno);
  expect(local[1], "yes"), expect_nothing(local[1]), expect_attached(local[1], 0), expect_attached(streams[1], 0);
  expect(streams[1], "no");

  check_options(), check_tcp(&tcp, "127.0.0.1"), check_tcp(&tcp6, "::1");

  for (int i = 0; i < 50; i++) {
    int from = socket(AF_INET, SOCK_DGRAM, 0);
    send_to(from, "127.0.0.1", port_of(group), "x"), close(from);
  }
  char byte;
  int taken = 0, by_other = 0;
  while (recv(group, &byte, 1, MSG_DONTWAIT) == 1) taken++;
  while (recv(other, &byte, 1, MSG_DONTWAIT) == 1) by_other++;
  CHECK(taken + by_other == 50 && taken > 0 && by_other > 0, "%d and %d of 50", taken, by_other);
  char device[IFNAMSIZ];
  socklen_t length = sizeof device;
  CHECK(getsockopt(on_device, SOL_SOCKET, SO_BINDTODEVICE, device, &length) == 0 && strcmp(device, "lo") == 0, "not bound to lo");
  expect_from(waiting, "of the dead", 11, "127.0.0.2", gone_port), expect_from(waiting, "of the living", 13, "127.0.0.3", here_port);
  expect_from(waiting, large, sizeof large, "127.0.0.3", here_port), expect_nothing(waiting);
  expect_from(waiting6, "by four", 7, "::ffff:127.0.0.3", here_port), expect_from(waiting6, "by six", 6, "::1", port_of(here6));
  expect_from(waiting6, large, 60001, "::1", port_of(here6)), expect_nothing(waiting6);
  expect_from(one_of_two, "connected", 9, "127.0.0.3", here_port), expect_nothing(one_of_two);
  if (lite >= 0) {
    int coverage;
    length = sizeof coverage;
    CHECK(getsockopt(lite, IPPROTO_UDPLITE, 11, &coverage, &length) == 0 && coverage == 12, "coverage %d", coverage);
    int from = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE);
    CHECK(port_of(lite) == lite_port, "another port");
    send_to(from, "127.0.0.1", lite_port, "lightly"), expect(lite, "lightly");
  }
  say("ok\n");
}
