/* Connections of unix(7) that nobody has accepted: in which order they wait, what has been sent on them with which descriptors, and who has connected. */
#include "self-check.h"
#include <linux/kcmp.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

enum { KINDS = 3, CLIENTS = 6, LARGE = 30000, STRANGER = 4242 };

/* Streams by a path and by an abstract name, packets by a path. */
static const int kinds[KINDS] = {SOCK_STREAM, SOCK_STREAM, SOCK_SEQPACKET};
static char large[LARGE + 1];
/* A number that no other test has in its abstract names. */
static int above;

static socklen_t name_of(int kind, struct sockaddr_un *name) {
  *name = (struct sockaddr_un){.sun_family = AF_UNIX};
  int is_abstract = kind == 1;
  int length = snprintf(name->sun_path + is_abstract, sizeof name->sun_path - 1, "waiting.%d.%d", kind, is_abstract ? above : 0);
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)is_abstract + (size_t)length);
}

static void post(int to, const char *text, size_t length, const int *fds, size_t count) {
  char control[CMSG_SPACE(sizeof(int) * 4)] = {0};
  struct iovec part = {(char *)text, length};
  struct msghdr message = {NULL, 0, &part, 1, count == 0 ? NULL : control, count == 0 ? 0 : CMSG_SPACE(sizeof(int) * count), 0};
  if (count > 0) {
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET, head->cmsg_type = SCM_RIGHTS, head->cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(head), fds, sizeof(int) * count);
  }
  ssize_t sent = sendmsg(to, &message, MSG_NOSIGNAL);
  CHECK(sent == (ssize_t)length, "sendmsg: %zd, errno %d", sent, errno);
}

/* How many descriptors came with it. */
static int take(int from, const char *text, size_t length, int *fds) {
  static char bytes[LARGE + 1];
  char control[CMSG_SPACE(sizeof(int) * 8)];
  struct iovec part = {bytes, length}; /* A stream goes on into what comes behind. */
  struct msghdr message = {NULL, 0, &part, 1, control, sizeof control, 0};
  ssize_t received = recvmsg(from, &message, MSG_DONTWAIT);
  CHECK(received == (ssize_t)length, "recvmsg of %.10s: %zd, errno %d", text, received, errno);
  CHECK(memcmp(bytes, text, length) == 0, "not %.10s but %.10s", text, bytes);
  for (struct cmsghdr *head = CMSG_FIRSTHDR(&message); head != NULL; head = CMSG_NXTHDR(&message, head)) {
    if (head->cmsg_type != SCM_RIGHTS) continue;
    size_t size = head->cmsg_len - CMSG_LEN(0);
    memcpy(fds, CMSG_DATA(head), size);
    return (int)(size / sizeof(int));
  }
  return 0;
}

static void expect(int from, const char *text) {
  int fds[8];
  CHECK(take(from, text, strlen(text), fds) == 0, "descriptors came with %s", text);
}

/* EAGAIN, or an end. */
static void expect_nothing(int from, int is_ended) {
  char byte;
  ssize_t received = recv(from, &byte, 1, MSG_DONTWAIT);
  if (is_ended) CHECK(received == 0, "no end: %zd, errno %d", received, errno);
  else CHECK(received == -1 && errno == EAGAIN, "not nothing: %zd, errno %d", received, errno);
}

static int is_same(int a, int b) { return syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, a, b) == 0; }

static int connected(int kind) {
  struct sockaddr_un name;
  socklen_t length = name_of(kind, &name);
  int fd = socket(AF_UNIX, kinds[kind], 0);
  CHECK(connect(fd, (struct sockaddr *)&name, length) == 0, "connect: errno %d", errno);
  return fd;
}

/* A child that goes on, with a connection of its own to each. */
static pid_t child;
static int gate[2];

static void start_child(void) {
  CHECK(pipe(gate) == 0, "pipe");
  int ready[2];
  CHECK(pipe(ready) == 0, "pipe");
  child = fork();
  if (child == 0) {
    close(gate[1]);
    int fds[KINDS];
    for (int kind = 0; kind < KINDS; kind++) {
      fds[kind] = connected(kind);
      post(fds[kind], "of the child", 12, NULL, 0);
    }
    CHECK(write(ready[1], "r", 1) == 1, "write");
    char byte;
    _exit(read(gate[0], &byte, 1) == 0 ? 0 : 1);
  }
  char byte;
  close(gate[0]);
  close(ready[1]);
  CHECK(read(ready[0], &byte, 1) == 1, "the child has failed");
  close(ready[0]);
}

/* One that connects as another user, and ends. */
static void be_a_stranger(int kind) {
  pid_t stranger = fork();
  if (stranger == 0) {
    struct sockaddr_un name;
    socklen_t length = name_of(kind, &name);
    int fd = socket(AF_UNIX, kinds[kind], 0);
    if (geteuid() == 0) CHECK(setegid(STRANGER) == 0 && seteuid(STRANGER) == 0, "seteuid: errno %d", errno);
    /* The directory is not for everybody. */
    setfsuid(getuid());
    CHECK(connect(fd, (struct sockaddr *)&name, length) == 0, "connect of a stranger: errno %d", errno);
    post(fd, "of a stranger", 13, NULL, 0);
    _exit(0);
  }
  int status;
  CHECK(waitpid(stranger, &status, 0) == stranger && status == 0, "the stranger: %x", status);
}

static struct ucred peer_of(int fd) {
  struct ucred peer;
  socklen_t length = sizeof peer;
  CHECK(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0, "SO_PEERCRED: errno %d", errno);
  return peer;
}

static void check_order(int kind, int listener, const int *clients, int file, const int *ends) {
  int fds[8];
  int accepted[CLIENTS];
  uid_t us = geteuid();
  for (int i = 0; i < CLIENTS; i++) {
    accepted[i] = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    CHECK(accepted[i] >= 0, "accept %d of kind %d: errno %d", i, kind, errno);
  }
  CHECK(accept4(listener, NULL, NULL, 0) == -1 && errno == EAGAIN, "one more connection waits");
  /* First the last of the parent's. */
  CHECK(peer_of(accepted[0]).pid == getpid(), "the first is of %d", peer_of(accepted[0]).pid);
  expect_nothing(accepted[0], 0);
  post(accepted[0], "answer", 6, NULL, 0);
  expect(clients[0], "answer");
  /* Then one with descriptors and more than a page. */
  CHECK(take(accepted[1], "two files", 9, fds) == 2 && is_same(fds[0], file) && is_same(fds[1], ends[0]), "not these two files");
  CHECK(take(accepted[1], large, LARGE, fds) == 0, "descriptors came with much");
  CHECK(take(accepted[1], "itself", 6, fds) == 2 && is_same(fds[0], clients[1]) && is_same(fds[1], listener), "not itself and its listener");
  expect_nothing(accepted[1], 1);
  /* One that has been closed. */
  expect(accepted[2], "gone");
  expect_nothing(accepted[2], 1);
  CHECK(peer_of(accepted[2]).pid == getpid(), "the closed one is of %d", peer_of(accepted[2]).pid);
  expect(accepted[3], "of the child");
  CHECK(peer_of(accepted[3]).pid == child, "the fourth is of %d, not of %d", peer_of(accepted[3]).pid, child);
  expect(accepted[4], "of a stranger");
  expect_nothing(accepted[4], 1);
  struct ucred stranger = peer_of(accepted[4]);
  CHECK(stranger.uid == (us == 0 ? STRANGER : us) && (us != 0 || stranger.gid == STRANGER), "the stranger is %u", stranger.uid);
  struct sockaddr_un name = {0};
  socklen_t length = sizeof name;
  CHECK(getpeername(accepted[5], (struct sockaddr *)&name, &length) == 0 && length == 2 + 10 && memcmp(name.sun_path + 3, " a name", 7) == 0, "the last has a name of %u", length);
  expect_nothing(accepted[5], 0);
  CHECK(peer_of(clients[5]).pid == getpid(), "its listener is of %d", peer_of(clients[5]).pid);
}

int main(void) {
  above = getpid();
  for (int i = 0; i < LARGE; i++) large[i] = (char)('a' + i % 23);
  int file = open("kept", O_RDWR | O_CREAT, 0600), ends[2];
  CHECK(file >= 0 && pipe(ends) == 0, "open: errno %d", errno);
  int listeners[KINDS], clients[KINDS][CLIENTS];
  for (int kind = 0; kind < KINDS; kind++) {
    struct sockaddr_un name;
    socklen_t length = name_of(kind, &name);
    if (kind != 1) unlink(name.sun_path);
    listeners[kind] = socket(AF_UNIX, kinds[kind] | SOCK_NONBLOCK, 0);
    CHECK(bind(listeners[kind], (struct sockaddr *)&name, length) == 0 && listen(listeners[kind], CLIENTS - 1) == 0, "listen: errno %d", errno);
    /* The order of the descriptors is not that of the connections. */
    clients[kind][1] = socket(AF_UNIX, kinds[kind], 0);
    clients[kind][0] = connected(kind);
    CHECK(connect(clients[kind][1], (struct sockaddr *)&name, length) == 0, "connect: errno %d", errno);
    post(clients[kind][1], "two files", 9, (int[]){file, ends[0]}, 2);
    post(clients[kind][1], large, LARGE, NULL, 0);
    post(clients[kind][1], "itself", 6, (int[]){clients[kind][1], listeners[kind]}, 2);
    CHECK(shutdown(clients[kind][1], SHUT_WR) == 0, "shutdown");
    int gone = connected(kind);
    post(gone, "gone", 4, NULL, 0);
    close(gone);
  }
  start_child();
  for (int kind = 0; kind < KINDS; kind++) {
    be_a_stranger(kind);
    struct sockaddr_un own = {.sun_family = AF_UNIX}, name;
    snprintf(own.sun_path + 1, 20, "%02d a name", kind + above % 10 * 10);
    clients[kind][5] = socket(AF_UNIX, kinds[kind], 0);
    CHECK(bind(clients[kind][5], (struct sockaddr *)&own, 2 + 10) == 0, "bind: errno %d", errno);
    socklen_t length = name_of(kind, &name);
    CHECK(connect(clients[kind][5], (struct sockaddr *)&name, length) == 0, "connect: errno %d", errno);
  }

  say("ready\n");
  wait_for_go();

  for (int kind = 0; kind < KINDS; kind++) check_order(kind, listeners[kind], clients[kind], file, ends);
  close(gate[1]);
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0, "the child: %x", status);
  say("ok\n");
  return 0;
}
