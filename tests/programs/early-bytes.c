/* Connections of unix(7) that nobody has accepted yet, and what has been sent on them already. */
#include "self-check.h"
#include <sys/socket.h>
#include <sys/un.h>

enum { KINDS = 2, CLIENTS = 3 };

static const int kinds[KINDS] = {SOCK_STREAM, SOCK_SEQPACKET};

static struct sockaddr_un name_of(int kind) {
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  snprintf(name.sun_path, sizeof name.sun_path, "early.%d", kind);
  return name;
}

static void must_send(int fd, const char *text) {
  CHECK(send(fd, text, strlen(text), 0) == (ssize_t)strlen(text), "send: errno %d", errno);
}

static void expect(int fd, const char *text) {
  char found[8192];
  ssize_t length = recv(fd, found, sizeof found, MSG_DONTWAIT);
  CHECK(length == (ssize_t)strlen(text) && memcmp(found, text, length) == 0, "%zd bytes: %.*s, not %s", length, (int)length, found, text);
}

int main(void) {
  static char large[3001];
  memset(large, 'x', sizeof large - 1);
  int listeners[KINDS], clients[KINDS][CLIENTS];
  for (int kind = 0; kind < KINDS; kind++) {
    struct sockaddr_un name = name_of(kind);
    unlink(name.sun_path);
    listeners[kind] = socket(AF_UNIX, kinds[kind], 0);
    CHECK(bind(listeners[kind], (void *)&name, sizeof name) == 0 && listen(listeners[kind], 8) == 0, "listen: errno %d", errno);
    for (int i = 0; i < CLIENTS; i++) {
      clients[kind][i] = socket(AF_UNIX, kinds[kind], 0);
      CHECK(connect(clients[kind][i], (void *)&name, sizeof name) == 0, "connect: errno %d", errno);
    }
    must_send(clients[kind][0], "one");
    must_send(clients[kind][0], "two");
    must_send(clients[kind][2], large);
    CHECK(shutdown(clients[kind][2], SHUT_WR) == 0, "shutdown: errno %d", errno);
  }

  say("ready\n");
  wait_for_go();

  for (int kind = 0; kind < KINDS; kind++) {
    int seen[CLIENTS] = {0};
    must_send(clients[kind][1], "late");
    for (int i = 0; i < CLIENTS; i++) {
      int end = accept4(listeners[kind], NULL, NULL, SOCK_NONBLOCK);
      CHECK(end >= 0, "accept: errno %d", errno);
      char first;
      CHECK(recv(end, &first, 1, MSG_PEEK) == 1, "connection %d of kind %d has nothing: errno %d", i, kind, errno);
      int which = first == 'o' ? 0 : first == 'l' ? 1 : 2;
      CHECK(seen[which]++ == 0, "connection %d twice", which);
      if (which == 0 && kinds[kind] == SOCK_STREAM) expect(end, "onetwo");
      if (which == 0 && kinds[kind] == SOCK_SEQPACKET) {
        expect(end, "one");
        expect(end, "two");
      }
      if (which == 1) expect(end, "late");
      if (which == 2) expect(end, large);
      char none;
      ssize_t rest = recv(end, &none, 1, 0);
      if (which == 2) CHECK(rest == 0, "no end behind the last byte: %zd", rest);
      else CHECK(rest == -1 && errno == EAGAIN, "more than was sent: %zd", rest);
      must_send(end, "answer");
      expect(clients[kind][which], "answer");
    }
  }
  say("ok\n");
  return 0;
}
