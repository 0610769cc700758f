/* Sockets of the internet protocols with both ends here: tcp(7), udp(7), over IPv4 and IPv6. */
#include "loopback.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

struct pair {
  int client, server;
};

static int option(int fd, int level, int name) {
  int value = -2;
  socklen_t length = sizeof value;
  CHECK(getsockopt(fd, level, name, &value, &length) == 0, "getsockopt %d, %d: errno %d", level, name, errno);
  return value;
}

static void set(int fd, int level, int name, int value) {
  CHECK(setsockopt(fd, level, name, &value, sizeof value) == 0, "setsockopt %d, %d: errno %d", level, name, errno);
}

static int listener(int family) {
  union end end;
  socklen_t length = loopback(family, &end, 0);
  int fd = socket(family, SOCK_STREAM, 0);
  CHECK(bind(fd, &end.any, length) == 0 && listen(fd, 9) == 0, "listen: errno %d", errno);
  return fd;
}

static struct pair new_pair(int family, int from) {
  union end end;
  socklen_t length = loopback(family, &end, port_of(from));
  struct pair made = {socket(family, SOCK_STREAM, 0), -1};
  CHECK(connect(made.client, &end.any, length) == 0, "connect: errno %d", errno);
  made.server = accept(from, NULL, NULL);
  CHECK(made.server >= 0, "accept: errno %d", errno);
  return made;
}

static void put(int fd, const char *text, size_t length) {
  ssize_t sent = send(fd, text, length, MSG_NOSIGNAL);
  CHECK(sent == (ssize_t)length, "send of %zu to %d: %zd, errno %d", length, fd, sent, errno);
}

/* What was sent is on its way for some moments. */
static void wait_readable(int fd) {
  struct pollfd look = {fd, POLLIN, 0};
  CHECK(poll(&look, 1, 20000) == 1, "nothing comes to %d", fd);
}

static void expect(int fd, const char *text, size_t length) {
  char got[4096];
  for (size_t done = 0; done < length;) {
    wait_readable(fd);
    ssize_t received = recv(fd, got, length - done < sizeof got ? length - done : sizeof got, 0);
    CHECK(received > 0, "recv from %d: %zd at %zu of %zu, errno %d", fd, received, done, length, errno);
    CHECK(memcmp(got, text + done, (size_t)received) == 0, "other bytes from %d at %zu", fd, done);
    done += (size_t)received;
  }
}

static void expect_end(int fd) {
  char byte;
  wait_readable(fd);
  CHECK(recv(fd, &byte, 1, 0) == 0, "%d is not at its end", fd);
}

static int state_of(int fd) {
  struct tcp_info info;
  socklen_t length = sizeof info;
  CHECK(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0, "TCP_INFO");
  return info.tcpi_state;
}

static void wait_state(int fd, int state) {
  for (int i = 0; i < 5000 && state_of(fd) != state; i++) usleep(2000);
  CHECK(state_of(fd) == state, "%d is in state %d, not %d", fd, state_of(fd), state);
}

static char byte_at(size_t at) { return (char)(at * 31 + at / 251); }

/* Until neither this end nor the other takes any more. */
static size_t fill(int fd) {
  size_t total = 0;
  for (int idle = 0; idle < 50;) {
    char block[1009];
    for (size_t i = 0; i < sizeof block; i++) block[i] = byte_at(total + i);
    ssize_t sent = send(fd, block, sizeof block, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) {
      total += (size_t)sent;
      idle = 0;
      continue;
    }
    idle++;
    usleep(2000);
  }
  return total;
}

static void expect_filled(int fd, size_t total) {
  for (size_t at = 0; at < total;) {
    char block[7777];
    wait_readable(fd);
    size_t room = total - at < sizeof block ? total - at : sizeof block;
    ssize_t received = recv(fd, block, room, 0);
    CHECK(received > 0, "the full stream ends at %zu of %zu: errno %d", at, total, errno);
    for (ssize_t i = 0; i < received; i++) CHECK(block[i] == byte_at(at + (size_t)i), "byte %zu", at + (size_t)i);
    at += (size_t)received;
  }
}

struct family {
  int number, listening, reusing, udp, udp_client, waiting;
  struct pair idle, talk, full, tuned, half, left, both, deaf;
  int ports[4];
  size_t filled;
};

static void set_up(struct family *f, int number) {
  f->number = number;
  f->listening = listener(number);
  f->idle = new_pair(number, f->listening);
  f->talk = new_pair(number, f->listening);
  put(f->talk.client, "a request", 9), put(f->talk.server, "an answer", 9);
  wait_readable(f->talk.client), wait_readable(f->talk.server);
  /* Small ones: a sender that fills the other's buffer beyond what was promised waits for its timers. */
  set(f->listening, SOL_SOCKET, SO_RCVBUF, 30000);
  f->full = new_pair(number, f->listening);
  set(f->full.client, SOL_SOCKET, SO_SNDBUF, 100000);
  f->filled = fill(f->full.client), put(f->full.server, "back", 4);
  f->tuned = new_pair(number, f->listening);
  set(f->tuned.client, IPPROTO_TCP, TCP_NODELAY, 1), set(f->tuned.client, SOL_SOCKET, SO_KEEPALIVE, 1);
  set(f->tuned.client, IPPROTO_TCP, TCP_KEEPIDLE, 77), set(f->tuned.server, SOL_SOCKET, SO_REUSEADDR, 1);
  set(f->tuned.server, SOL_SOCKET, SO_RCVBUF, 50000), set(f->tuned.server, IPPROTO_TCP, TCP_USER_TIMEOUT, 654321);
  CHECK(setsockopt(f->tuned.server, IPPROTO_TCP, TCP_CONGESTION, "reno", 4) == 0, "TCP_CONGESTION");
  CHECK(fcntl(f->tuned.client, F_SETFL, O_NONBLOCK) == 0, "O_NONBLOCK");
  if (number == AF_INET6) set(f->tuned.client, IPPROTO_IPV6, IPV6_TCLASS, 40);
  else set(f->tuned.client, IPPROTO_IP, IP_TOS, 40);

  f->half = new_pair(number, f->listening);
  put(f->half.client, "last words", 10), shutdown(f->half.client, SHUT_WR);
  f->left = new_pair(number, f->listening);
  put(f->left.client, "bye", 3), close(f->left.client);
  f->both = new_pair(number, f->listening);
  put(f->both.client, "x", 1), put(f->both.server, "y", 1), wait_readable(f->both.client), wait_readable(f->both.server);
  shutdown(f->both.client, SHUT_WR), wait_state(f->both.server, TCP_CLOSE_WAIT), shutdown(f->both.server, SHUT_WR);
  f->deaf = new_pair(number, f->listening);
  shutdown(f->deaf.client, SHUT_RD);
  wait_state(f->half.server, TCP_CLOSE_WAIT), wait_state(f->half.client, TCP_FIN_WAIT2), wait_state(f->left.server, TCP_CLOSE_WAIT);

  union end end;
  socklen_t length = loopback(number, &end, 0);
  f->reusing = socket(number, SOCK_STREAM, 0);
  set(f->reusing, SOL_SOCKET, SO_REUSEPORT, 1), set(f->reusing, SOL_SOCKET, SO_REUSEADDR, 1);
  if (number == AF_INET6) set(f->reusing, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  CHECK(bind(f->reusing, &end.any, length) == 0, "bind: errno %d", errno);
  f->udp = socket(number, SOCK_DGRAM, 0), f->udp_client = socket(number, SOCK_DGRAM, 0);
  CHECK(bind(f->udp, &end.any, length) == 0, "bind: errno %d", errno);
  length = loopback(number, &end, port_of(f->udp));
  CHECK(connect(f->udp_client, &end.any, length) == 0, "connect: errno %d", errno);
  f->ports[0] = port_of(f->listening), f->ports[1] = port_of(f->reusing), f->ports[2] = port_of(f->udp);
  f->ports[3] = port_of(f->udp_client);
}

static void check(struct family *f) {
  CHECK(port_of(f->listening) == f->ports[0] && option(f->listening, SOL_SOCKET, SO_ACCEPTCONN), "the listener");
  struct tcp_info info;
  socklen_t length = sizeof info;
  CHECK(getsockopt(f->listening, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 && info.tcpi_sacked == 9, "the backlog: %d", (int)info.tcpi_sacked);
  put(f->idle.client, "x", 1), expect(f->idle.server, "x", 1), put(f->idle.server, "y", 1), expect(f->idle.client, "y", 1);
  CHECK(peer_port_of(f->idle.client) == f->ports[0] && peer_port_of(f->idle.server) == port_of(f->idle.client), "the ports");
  expect(f->talk.server, "a request", 9), expect(f->talk.client, "an answer", 9);
  put(f->talk.client, "more", 4), expect(f->talk.server, "more", 4);
  expect_filled(f->full.server, f->filled), expect(f->full.client, "back", 4);
  put(f->full.client, "after", 5), expect(f->full.server, "after", 5);
  CHECK(option(f->tuned.client, IPPROTO_TCP, TCP_NODELAY) == 1 && option(f->tuned.server, IPPROTO_TCP, TCP_NODELAY) == 0, "TCP_NODELAY");
  CHECK(option(f->tuned.client, SOL_SOCKET, SO_KEEPALIVE) == 1 && option(f->tuned.client, IPPROTO_TCP, TCP_KEEPIDLE) == 77, "keepalive");
  CHECK(option(f->tuned.server, SOL_SOCKET, SO_REUSEADDR) == 1 && option(f->tuned.client, SOL_SOCKET, SO_REUSEADDR) == 0, "SO_REUSEADDR");
  CHECK(option(f->tuned.server, SOL_SOCKET, SO_RCVBUF) == 100000 && option(f->tuned.server, IPPROTO_TCP, TCP_USER_TIMEOUT) == 654321, "SO_RCVBUF, TCP_USER_TIMEOUT");
  char congestion[16] = "";
  length = sizeof congestion;
  CHECK(getsockopt(f->tuned.server, IPPROTO_TCP, TCP_CONGESTION, congestion, &length) == 0 && strcmp(congestion, "reno") == 0, "TCP_CONGESTION %s", congestion);
  CHECK(fcntl(f->tuned.client, F_GETFL) & O_NONBLOCK, "O_NONBLOCK");
  CHECK((f->number == AF_INET6 ? option(f->tuned.client, IPPROTO_IPV6, IPV6_TCLASS) : option(f->tuned.client, IPPROTO_IP, IP_TOS)) == 40, "the traffic class");
  put(f->tuned.client, "z", 1), expect(f->tuned.server, "z", 1);
  shutdown(f->tuned.client, SHUT_WR);
  char byte;
  wait_readable(f->tuned.server);
  CHECK(recv(f->tuned.server, &byte, 1, 0) == 0, "no end");
  put(f->tuned.server, "w", 1), expect(f->tuned.client, "w", 1);

  CHECK(state_of(f->half.server) == TCP_CLOSE_WAIT, "CLOSE_WAIT has become %d", state_of(f->half.server));
  wait_state(f->half.client, TCP_FIN_WAIT2);
  expect(f->half.server, "last words", 10), expect_end(f->half.server);
  put(f->half.server, "still", 5), expect(f->half.client, "still", 5), close(f->half.server), expect_end(f->half.client);
  CHECK(send(f->half.client, "!", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "a stream that was shut down takes a byte");
  expect(f->left.server, "bye", 3), expect_end(f->left.server);
  expect(f->both.server, "x", 1), expect_end(f->both.server), expect(f->both.client, "y", 1), expect_end(f->both.client);
  expect_end(f->deaf.client), put(f->deaf.client, "talks", 5), expect(f->deaf.server, "talks", 5);

  CHECK(port_of(f->reusing) == f->ports[1] && option(f->reusing, SOL_SOCKET, SO_REUSEPORT) == 1, "the socket that was only bound");
  CHECK(f->number == AF_INET || option(f->reusing, IPPROTO_IPV6, IPV6_V6ONLY) == 1, "IPV6_V6ONLY");
  CHECK(port_of(f->udp) == f->ports[2] && port_of(f->udp_client) == f->ports[3], "the UDP ports");
  put(f->udp_client, "datagram", 8), expect(f->udp, "datagram", 8);
  struct pair fresh = new_pair(f->number, f->listening);
  put(fresh.client, "new", 3), expect(fresh.server, "new", 3);
}

int main(void) {
  struct family v4, v6;
  set_up(&v4, AF_INET), set_up(&v6, AF_INET6);
  int bare = socket(AF_INET, SOCK_STREAM, 0), everywhere = socket(AF_INET6, SOCK_DGRAM, 0);
  set(everywhere, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
  say("ready\n");
  wait_for_go();
  check(&v4), check(&v6);
  CHECK(option(everywhere, IPPROTO_IPV6, IPV6_RECVPKTINFO) == 1, "IPV6_RECVPKTINFO");
  union end end;
  socklen_t length = loopback(AF_INET, &end, v4.ports[0]);
  CHECK(connect(bare, &end.any, length) == 0, "connect: errno %d", errno);
  say("ok\n");
  return 0;
}
