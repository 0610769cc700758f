/* Options of datagram sockets that getsockopt(2) does not tell: ip(7), ipv6(7). What they do is looked at, where it can be on this host. */
#include "self-check.h"
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#ifndef IPV6_MTU
#define IPV6_MTU 24
#endif
enum { GROUP_PORT = 47801, FRAGMENT = 1300 };

static int loopback_index;

static int receiver(void) {
  struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(GROUP_PORT)};
  struct ip_mreqn group = {.imr_ifindex = loopback_index};
  inet_pton(AF_INET, "239.78.0.1", &group.imr_multiaddr);
  int fd = socket(AF_INET, SOCK_DGRAM, 0), one = 1;
  CHECK(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) == 0, "SO_REUSEPORT");
  CHECK(bind(fd, (struct sockaddr *)&any, sizeof any) == 0, "bind: errno %d", errno);
  CHECK(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group) == 0, "IP_ADD_MEMBERSHIP: errno %d", errno);
  return fd;
}

/* From an IPv4 socket, or one of both. */
static void check_multicast(int from, int family, int to) {
  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(GROUP_PORT)};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(GROUP_PORT)};
  inet_pton(AF_INET, "239.78.0.1", &v4.sin_addr), inet_pton(AF_INET6, "::ffff:239.78.0.1", &v6.sin6_addr);
  ssize_t sent = family == AF_INET ? sendto(from, "x", 1, 0, (struct sockaddr *)&v4, sizeof v4) : sendto(from, "x", 1, 0, (struct sockaddr *)&v6, sizeof v6);
  CHECK(sent == 1, "family %d sends to no group: errno %d", family, errno);
  char byte;
  for (int i = 0; i < 1000 && recv(to, &byte, 1, MSG_DONTWAIT) != 1; i++) {
    CHECK(errno == EAGAIN && i < 999, "nothing comes by the loopback interface from family %d: errno %d", family, errno);
    usleep(1000);
  }
}

/* With IPV6_DONTFRAG what is longer than a fragment may not be sent. */
static void check_fragment(int fd) {
  struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(9), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  char bytes[4000] = {0};
  ssize_t sent = sendto(fd, bytes, sizeof bytes, 0, (struct sockaddr *)&to, sizeof to);
  CHECK(sent == -1 && errno == EMSGSIZE, "a fragment has room for %zd bytes: errno %d", sent, errno);
  CHECK(sendto(fd, bytes, FRAGMENT - 100, 0, (struct sockaddr *)&to, sizeof to) == FRAGMENT - 100, "less fits: errno %d", errno);
}

/* A group of the link, without an interface in its address: is it sent there? */
static int reaches_link(int fd) {
  struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
  inet_pton(AF_INET6, "ff02::7878", &to.sin6_addr);
  return sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof to) == 1;
}

int main(void) {
  loopback_index = (int)if_nametoindex("lo");
  struct ip_mreqn by_index = {.imr_ifindex = loopback_index};
  int to = receiver(), v4 = socket(AF_INET, SOCK_DGRAM, 0), v6 = socket(AF_INET6, SOCK_DGRAM, 0), on = 1, fragment = FRAGMENT;
  CHECK(setsockopt(v4, IPPROTO_IP, IP_MULTICAST_IF, &by_index, sizeof by_index) == 0, "IP_MULTICAST_IF: errno %d", errno);
  CHECK(setsockopt(v6, IPPROTO_IP, IP_MULTICAST_IF, &by_index, sizeof by_index) == 0, "IP_MULTICAST_IF of IPv6: errno %d", errno);
  int raw = socket(AF_INET, SOCK_RAW, 253);
  if (raw >= 0) CHECK(setsockopt(raw, IPPROTO_IP, IP_MULTICAST_IF, &by_index, sizeof by_index) == 0, "IP_MULTICAST_IF of a raw socket");

  int fragments = socket(AF_INET6, SOCK_DGRAM, 0);
  CHECK(setsockopt(fragments, IPPROTO_IPV6, IPV6_MTU, &fragment, sizeof fragment) == 0, "IPV6_MTU: errno %d", errno);
  CHECK(setsockopt(fragments, IPPROTO_IPV6, IPV6_DONTFRAG, &on, sizeof on) == 0, "IPV6_DONTFRAG: errno %d", errno);

  int plain = socket(AF_INET6, SOCK_DGRAM, 0), sticky = socket(AF_INET6, SOCK_DGRAM, 0);
  struct in6_pktinfo info = {.ipi6_ifindex = (unsigned)loopback_index};
  CHECK(setsockopt(sticky, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info) == 0, "IPV6_PKTINFO: errno %d", errno);
  int reaches = reaches_link(plain), sticky_reaches = reaches_link(sticky);

  /* Only of a network that an interface is in. */
  struct ipv6_mreq anycast = {.ipv6mr_interface = (unsigned)loopback_index};
  inet_pton(AF_INET6, "fd00:78::5", &anycast.ipv6mr_multiaddr);
  int member = setsockopt(plain, IPPROTO_IPV6, IPV6_JOIN_ANYCAST, &anycast, sizeof anycast) == 0;

  say("ready\n");
  wait_for_go();

  check_multicast(v4, AF_INET, to), check_multicast(v6, AF_INET6, to);
  check_fragment(fragments);
  CHECK(reaches_link(plain) == reaches && reaches_link(sticky) == sticky_reaches, "IPV6_PKTINFO is another");
  int left = setsockopt(plain, IPPROTO_IPV6, IPV6_LEAVE_ANYCAST, &anycast, sizeof anycast);
  CHECK((left == 0) == member, "a member of an anycast address: %d, errno %d", left, errno);
  say("ok\n");
  return 0;
}
