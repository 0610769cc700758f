/* Addresses of the loopback interface, of both families, for programs that check their sockets. */
#ifndef LOOPBACK_H
#define LOOPBACK_H
#include "self-check.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

union end {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
};

static socklen_t loopback(int family, union end *end, int port) {
  memset(end, 0, sizeof *end);
  end->any.sa_family = (sa_family_t)family;
  if (family == AF_INET) {
    end->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    end->v4.sin_port = htons((uint16_t)port);
    return sizeof end->v4;
  }
  end->v6.sin6_addr = in6addr_loopback;
  end->v6.sin6_port = htons((uint16_t)port);
  return sizeof end->v6;
}

static int port_of(int fd) {
  union end end;
  socklen_t length = sizeof end;
  CHECK(getsockname(fd, &end.any, &length) == 0, "getsockname: errno %d", errno);
  return ntohs(end.any.sa_family == AF_INET ? end.v4.sin_port : end.v6.sin6_port);
}

static int peer_port_of(int fd) {
  union end end;
  socklen_t length = sizeof end;
  CHECK(getpeername(fd, &end.any, &length) == 0, "getpeername of %d: errno %d", fd, errno);
  return ntohs(end.any.sa_family == AF_INET ? end.v4.sin_port : end.v6.sin6_port);
}

#endif
