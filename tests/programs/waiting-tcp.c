/* Connections of tcp(7) that nobody has accepted, with both ends here: in which order they wait, and what has been sent on them. */
#include "loopback.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { KINDS = 3, CLIENTS = 5 };

/* IPv4, IPv6, and IPv4 to a listener of both. */
static const int families[KINDS] = {AF_INET, AF_INET6, AF_INET};

static int listener(int kind) {
  union end end;
  socklen_t length = loopback(kind == 2 ? AF_INET6 : families[kind], &end, 0);
  if (kind == 2) end.v6.sin6_addr = in6addr_any;
  int fd = socket(end.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
  CHECK(bind(fd, &end.any, length) == 0 && listen(fd, CLIENTS) == 0, "listen: errno %d", errno);
  return fd;
}

static void connect_to(int fd, int kind, int port) {
  union end end;
  socklen_t length = loopback(families[kind], &end, port);
  CHECK(connect(fd, &end.any, length) == 0, "connect: errno %d", errno);
}

static void post(int fd, const char *text) {
  ssize_t sent = send(fd, text, strlen(text), MSG_NOSIGNAL);
  CHECK(sent == (ssize_t)strlen(text), "send of %s: %zd, errno %d", text, sent, errno);
}

static char byte_at(size_t at) { return (char)(at * 31 + at / 251); }

/* Until neither end takes any more. */
static size_t fill(int fd) {
  size_t total = 0;
  for (int idle = 0; idle < 30;) {
    char bytes[1000];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = byte_at(total + i);
    ssize_t sent = send(fd, bytes, sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) total += (size_t)sent;
    if (sent > 0) continue;
    CHECK(errno == EAGAIN, "send: errno %d", errno);
    usleep(2000), idle++;
  }
  return total;
}

static void wait_readable(int fd) {
  struct pollfd look = {fd, POLLIN, 0};
  CHECK(poll(&look, 1, 20000) == 1, "nothing comes to %d", fd);
}

static void expect(int fd, const char *text) {
  for (size_t done = 0; done < strlen(text);) {
    char got[64];
    wait_readable(fd);
    ssize_t received = recv(fd, got, strlen(text) - done, 0);
    CHECK(received > 0 && memcmp(got, text + done, (size_t)received) == 0, "not %s: %zd, errno %d", text, received, errno);
    done += (size_t)received;
  }
}

static void expect_end(int fd) {
  char byte;
  wait_readable(fd);
  CHECK(recv(fd, &byte, 1, 0) == 0, "%d is not at its end", fd);
}

static void expect_filling(int fd, size_t total) {
  static char got[1 << 16];
  for (size_t done = 0; done < total;) {
    wait_readable(fd);
    size_t most = total - done < sizeof got ? total - done : sizeof got;
    ssize_t received = recv(fd, got, most, 0);
    CHECK(received > 0, "recv at %zu of %zu: %zd, errno %d", done, total, received, errno);
    for (ssize_t i = 0; i < received; i++, done++) CHECK(got[i] == byte_at(done), "another byte at %zu", done);
  }
}

static void expect_nothing(int fd) {
  char byte;
  CHECK(recv(fd, &byte, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN, "more has come to %d: errno %d", fd, errno);
}

int main(void) {
  int listeners[KINDS], clients[KINDS][CLIENTS], gate[2];
  size_t filled[KINDS];
  for (int kind = 0; kind < KINDS; kind++) {
    listeners[kind] = listener(kind);
    int port = port_of(listeners[kind]);
    /* The order of the descriptors is not that of the connections. */
    for (int i = CLIENTS - 1; i >= 0; i--) clients[kind][i] = socket(families[kind], SOCK_STREAM, 0);
    int one = 1;
    CHECK(setsockopt(clients[kind][0], IPPROTO_TCP, TCP_CORK, &one, sizeof one) == 0, "TCP_CORK");
    CHECK(setsockopt(clients[kind][0], IPPROTO_TCP, TCP_KEEPCNT, &one, sizeof one) == 0, "TCP_KEEPCNT");
    for (int i = 0; i < CLIENTS - 1; i++) connect_to(clients[kind][i], kind, port);
    post(clients[kind][1], "hello"), post(clients[kind][1], ", world");
    CHECK(shutdown(clients[kind][1], SHUT_WR) == 0, "shutdown: errno %d", errno);
    filled[kind] = fill(clients[kind][2]);
    post(clients[kind][3], "short");
  }
  CHECK(pipe(gate) == 0, "pipe");
  pid_t child = fork();
  if (child == 0) {
    close(gate[1]);
    for (int kind = 0; kind < KINDS; kind++) {
      for (int i = 0; i < CLIENTS - 1; i++) close(clients[kind][i]);
      connect_to(clients[kind][CLIENTS - 1], kind, port_of(listeners[kind]));
      close(listeners[kind]);
      post(clients[kind][CLIENTS - 1], "of the child");
    }
    say("ready\n");
    char byte;
    CHECK(read(gate[0], &byte, 1) == 0, "read");
    for (int kind = 0; kind < KINDS; kind++) expect(clients[kind][CLIENTS - 1], "answer");
    _exit(0);
  }
  close(gate[0]);
  int ports[KINDS][CLIENTS];
  for (int kind = 0; kind < KINDS; kind++) {
    close(clients[kind][CLIENTS - 1]);
    for (int i = 0; i < CLIENTS - 1; i++) ports[kind][i] = port_of(clients[kind][i]);
  }

  wait_for_go();

  for (int kind = 0; kind < KINDS; kind++) {
    int accepted[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
      accepted[i] = accept4(listeners[kind], NULL, NULL, 0);
      CHECK(accepted[i] >= 0, "accept %d of kind %d: errno %d", i, kind, errno);
      if (i == CLIENTS - 1) continue;
      CHECK(peer_port_of(accepted[i]) == ports[kind][i], "connection %d of kind %d is another", i, kind);
      CHECK(port_of(clients[kind][i]) == ports[kind][i], "client %d of kind %d has another port", i, kind);
      CHECK(peer_port_of(clients[kind][i]) == port_of(listeners[kind]), "client %d of kind %d is connected elsewhere", i, kind);
    }
    CHECK(accept4(listeners[kind], NULL, NULL, 0) == -1 && errno == EAGAIN, "one more waits: errno %d", errno);
    expect_nothing(accepted[0]);
    int value = 0;
    socklen_t length = sizeof value;
    CHECK(getsockopt(clients[kind][0], IPPROTO_TCP, TCP_CORK, &value, &length) == 0 && value == 1, "TCP_CORK is %d", value);
    CHECK(getsockopt(clients[kind][0], IPPROTO_TCP, TCP_KEEPCNT, &value, &length) == 0 && value == 1, "TCP_KEEPCNT is %d", value);
    expect(accepted[1], "hello, world");
    expect_end(accepted[1]);
    post(accepted[1], "and back");
    expect(clients[kind][1], "and back");
    expect_filling(accepted[2], filled[kind]);
    expect_nothing(accepted[2]);
    expect(accepted[3], "short");
    post(clients[kind][3], ", and more");
    expect(accepted[3], ", and more");
    expect(accepted[4], "of the child");
    post(accepted[4], "answer");
  }
  close(gate[1]);
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0, "the child: %x", status);
  say("ok\n");
  return 0;
}
