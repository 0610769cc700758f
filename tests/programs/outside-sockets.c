/* UNIX sockets and a pipe whose other ends a server outside has (outside-server.py, its pid is the argument). With -DCLOSED they must come back closed. */
#include "self-check.h"
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

static socklen_t address_of(struct sockaddr_un *address, const char *name) {
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  strcpy(address->sun_path, name);
  if (name[0] != '@') return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name) + 1);
  address->sun_path[0] = 0;
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
}

static int connected(int type, const char *name, const char *own_name) {
  struct sockaddr_un address;
  int fd = socket(AF_UNIX, type, 0);
  if (own_name != NULL) {
    socklen_t own_length = address_of(&address, own_name);
    CHECK(bind(fd, (struct sockaddr *)&address, own_length) == 0, "bind to %s: errno %d", own_name, errno);
  }
  socklen_t length = address_of(&address, name);
  CHECK(connect(fd, (struct sockaddr *)&address, length) == 0, "connect to %s: errno %d", name, errno);
  return fd;
}

static void wait_for(int fd) {
  struct pollfd look = {fd, POLLIN, 0};
  CHECK(poll(&look, 1, 60000) == 1, "nothing comes to %d", fd);
}

static void expect(int fd, const char *text) {
  char got[64];
  wait_for(fd);
  ssize_t length = read(fd, got, sizeof got);
  CHECK(length == (ssize_t)strlen(text) && memcmp(got, text, strlen(text)) == 0, "not %s from %d: %zd, errno %d", text, fd, length, errno);
}

static void put(int fd, const char *text) {
  CHECK(send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text), "send of %s to %d: errno %d", text, fd, errno);
}

/* What is sent is in the queue when it has come back. */
static void leave_unread(int fd, const char *text) {
  put(fd, text);
  wait_for(fd);
}

#ifdef CLOSED
static int piped(int server) {
  char bytes[16], control[CMSG_SPACE(sizeof(int))];
  struct iovec part = {bytes, sizeof bytes};
  struct msghdr message = {NULL, 0, &part, 1, control, sizeof control, 0};
  put(server, "pipe"), wait_for(server);
  CHECK(recvmsg(server, &message, 0) == 4 && CMSG_FIRSTHDR(&message) != NULL, "no pipe: errno %d", errno);
  int fd;
  memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
  return fd;
}

static void expect_end(int fd) {
  char byte;
  CHECK(read(fd, &byte, 1) == 0, "%d is not at its end: errno %d", fd, errno);
}

static void expect_broken(int fd, int wanted) {
  CHECK(send(fd, "!", 1, MSG_NOSIGNAL) == -1 && errno == wanted, "%d sends: errno %d", fd, errno);
}
#else
static void expect_named(int fd, int (*ask)(int, struct sockaddr *, socklen_t *), const char *name) {
  struct sockaddr_un address, wanted;
  socklen_t length = sizeof address, wanted_length = address_of(&wanted, name);
  CHECK(ask(fd, (struct sockaddr *)&address, &length) == 0, "no name of %d: errno %d", fd, errno);
  CHECK(length == wanted_length && memcmp(&address, &wanted, length) == 0, "the name of %d is not %s", fd, name);
}
#endif

int main(int count, char **arguments) {
  CHECK(count == 2, "give the pid of the server");
  char abstract[64];
  snprintf(abstract, sizeof abstract, "@quicksave outside %s", arguments[1]);
  int stream = connected(SOCK_STREAM, "served", NULL), named = connected(SOCK_STREAM, "served", "client");
  int packets = connected(SOCK_SEQPACKET, abstract, NULL), log = connected(SOCK_DGRAM, "log", "writer");
  put(stream, "hello"), expect(stream, "hello");
  put(log, "a line"), expect(log, "a line");
  int priority = 5;
  CHECK(setsockopt(stream, SOL_SOCKET, SO_PRIORITY, &priority, sizeof priority) == 0, "SO_PRIORITY");
  CHECK(fcntl(stream, F_SETFL, O_NONBLOCK) == 0, "O_NONBLOCK");
#ifdef CLOSED
  int waiting = connected(SOCK_STREAM, "slow", NULL), pipe_end = piped(named);
  leave_unread(log, "datagram");
#endif
  leave_unread(named, "unread"), leave_unread(packets, "packet");

  say("ready\n");
  wait_for_go();

  socklen_t length = sizeof priority;
  CHECK(getsockopt(stream, SOL_SOCKET, SO_PRIORITY, &priority, &length) == 0 && priority == 5, "SO_PRIORITY");
  CHECK(fcntl(stream, F_GETFL) & O_NONBLOCK && !(fcntl(named, F_GETFL) & O_NONBLOCK), "O_NONBLOCK");
#ifdef CLOSED
  expect_end(stream), expect_broken(stream, EPIPE);
  expect(named, "unread"), expect_end(named), expect_broken(named, EPIPE);
  expect(packets, "packet"), expect_end(packets), expect_broken(packets, EPIPE);
  expect(log, "datagram"), expect_broken(log, ECONNREFUSED);
  char byte;
  ssize_t nothing = read(waiting, &byte, 1);
  /* Linux resets a connection that was closed before it was accepted. */
  CHECK(nothing == 0 || (nothing == -1 && errno == ECONNRESET), "who waited reads: errno %d", errno);
  expect_broken(waiting, EPIPE);
  expect(pipe_end, "from outside"), expect_end(pipe_end);
#else
  struct ucred server;
  length = sizeof server;
  CHECK(getsockopt(stream, SOL_SOCKET, SO_PEERCRED, &server, &length) == 0 && server.pid == atoi(arguments[1]), "SO_PEERCRED: %d", server.pid);
  put(stream, "again"), expect(stream, "again");
  expect_named(stream, getpeername, "served"), expect_named(named, getsockname, "client");
  /* What was unread is there only if nobody has restarted it. */
  char got[64];
  while (recv(named, got, sizeof got, MSG_DONTWAIT) > 0 || recv(packets, got, sizeof got, MSG_DONTWAIT) > 0) continue;
  put(named, "anew"), expect(named, "anew");
  put(packets, "one"), expect(packets, "one");
  put(log, "another line"), expect(log, "another line");
#endif
  say("ok\n");
}
