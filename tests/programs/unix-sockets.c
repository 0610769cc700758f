/* UNIX sockets with both ends here: unix(7). */
#include "self-check.h"
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

struct pair {
  int a, b;
};

static struct pair new_pair(int type) {
  int ends[2];
  CHECK(socketpair(AF_UNIX, type, 0, ends) == 0, "socketpair: errno %d", errno);
  return (struct pair){ends[0], ends[1]};
}

static void put(int fd, const char *text, size_t length) {
  ssize_t sent = send(fd, text, length, MSG_NOSIGNAL);
  CHECK(sent == (ssize_t)length, "send of %zu to %d: %zd, errno %d", length, fd, sent, errno);
}

static void expect(int fd, const char *text, size_t length) {
  static char got[1 << 20];
  ssize_t received = recv(fd, got, sizeof got, MSG_DONTWAIT);
  CHECK(received == (ssize_t)length, "recv from %d: %zd of %zu, errno %d", fd, received, length, errno);
  CHECK(memcmp(got, text, length) == 0, "other bytes from %d", fd);
}

static void expect_nothing(int fd) {
  char got[16];
  CHECK(recv(fd, got, sizeof got, MSG_DONTWAIT) == -1 && errno == EAGAIN, "%d has something to read", fd);
}

static void expect_end(int fd) {
  char got[16];
  CHECK(recv(fd, got, sizeof got, MSG_DONTWAIT) == 0, "%d is not at its end: errno %d", fd, errno);
}

/* Fills a stream until it takes no more, with a pattern, and returns how much that was. */
static size_t fill(int fd) {
  size_t total = 0;
  for (;;) {
    char block[1000];
    for (size_t i = 0; i < sizeof block; i++) block[i] = (char)((total + i) * 7);
    ssize_t sent = send(fd, block, sizeof block, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) return total;
    total += (size_t)sent;
  }
}

static void expect_filled(int fd, size_t total) {
  for (size_t at = 0; at < total;) {
    char block[777];
    ssize_t received = recv(fd, block, sizeof block, MSG_DONTWAIT);
    CHECK(received > 0, "the full stream ends at %zu of %zu: errno %d", at, total, errno);
    for (ssize_t i = 0; i < received; i++) CHECK(block[i] == (char)((at + (size_t)i) * 7), "byte %zu", at + (size_t)i);
    at += (size_t)received;
  }
  expect_nothing(fd);
}

static socklen_t address_of(struct sockaddr_un *address, const char *name) {
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  strcpy(address->sun_path, name);
  if (name[0] != '@') return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name) + 1);
  address->sun_path[0] = 0;
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
}

static int bound(int type, const char *name) {
  struct sockaddr_un address;
  socklen_t length = address_of(&address, name);
  int fd = socket(AF_UNIX, type, 0);
  CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, length) == 0, "bind to %s: errno %d", name, errno);
  return fd;
}

static int try_connect(int fd, const char *name) {
  struct sockaddr_un address;
  socklen_t length = address_of(&address, name);
  return connect(fd, (struct sockaddr *)&address, length);
}

static int connected(int type, const char *name) {
  int fd = socket(AF_UNIX, type, 0);
  CHECK(fd >= 0 && try_connect(fd, name) == 0, "connect to %s: errno %d", name, errno);
  return fd;
}

static void expect_name(const char *what, int (*ask)(int, struct sockaddr *, socklen_t *), int fd, const char *name) {
  struct sockaddr_un address, wanted;
  socklen_t length = sizeof address;
  CHECK(ask(fd, (struct sockaddr *)&address, &length) == 0, "%s of %d: errno %d", what, fd, errno);
  socklen_t wanted_length = name[0] == 0 ? (socklen_t)sizeof(sa_family_t) : address_of(&wanted, name);
  CHECK(length == wanted_length, "%s of %d has %d bytes, not %d", what, fd, (int)length, (int)wanted_length);
  CHECK(name[0] == 0 || memcmp(&address, &wanted, length) == 0, "%s of %d is not %s", what, fd, name);
}

static void expect_names(int fd, const char *own, const char *peer) {
  expect_name("the name", getsockname, fd, own);
  expect_name("the peer's name", getpeername, fd, peer);
}

static int option(int fd, int name) {
  int value = -2;
  socklen_t length = sizeof value;
  CHECK(getsockopt(fd, SOL_SOCKET, name, &value, &length) == 0, "getsockopt %d: errno %d", name, errno);
  return value;
}

static void set(int fd, int name, int value) {
  CHECK(setsockopt(fd, SOL_SOCKET, name, &value, sizeof value) == 0, "setsockopt %d: errno %d", name, errno);
}

/* SO_PEERPIDFD of Linux 6.5, which older headers do not have. */
#define PEER_PIDFD 77

static void expect_peer_pidfd(int fd) {
  int pidfd;
  socklen_t length = sizeof pidfd;
  if (getsockopt(fd, SOL_SOCKET, PEER_PIDFD, &pidfd, &length) == -1 && errno == ENOPROTOOPT) return;
  char path[64], line[100];
  snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
  FILE *info = fopen(path, "r");
  int pid = 0;
  CHECK(info != NULL, "no pidfd of the other end of %d: errno %d", fd, errno);
  while (fgets(line, sizeof line, info) != NULL) sscanf(line, "Pid: %d", &pid);
  fclose(info), close(pidfd);
  CHECK(pid == getpid(), "the pidfd of the other end of %d is of %d", fd, pid);
}

static void expect_peeked(int fd, const char *text, size_t length) {
  char got[64];
  CHECK(recv(fd, got, length, MSG_PEEK | MSG_DONTWAIT) == (ssize_t)length && memcmp(got, text, length) == 0, "%s is not the next to be seen", text);
}

static void expect_made_by_us(int fd) {
  struct ucred made_by;
  socklen_t length = sizeof made_by;
  CHECK(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &made_by, &length) == 0, "SO_PEERCRED: errno %d", errno);
  CHECK(made_by.pid == getpid() && made_by.uid == getuid(), "SO_PEERCRED of %d: %d, not %d", fd, made_by.pid, getpid());
  expect_peer_pidfd(fd);
}

/* A message with the sender's name and credentials. */
static void expect_from(int fd, const char *text, const char *sender, pid_t pid) {
  char bytes[64], control[256];
  struct sockaddr_un from, wanted;
  struct iovec part = {bytes, sizeof bytes};
  struct msghdr message = {&from, sizeof from, &part, 1, control, sizeof control, 0};
  ssize_t received = recvmsg(fd, &message, MSG_DONTWAIT);
  CHECK(received == (ssize_t)strlen(text) && memcmp(bytes, text, strlen(text)) == 0, "not %s: %zd, errno %d", text, received, errno);
  if (sender != NULL) {
    socklen_t length = sender[0] == 0 ? 0 : address_of(&wanted, sender);
    CHECK(message.msg_namelen == length && memcmp(&from, &wanted, length) == 0, "%s is from somebody else (%d bytes)", text, (int)message.msg_namelen);
  }
  struct cmsghdr *head = CMSG_FIRSTHDR(&message);
  if (pid == 0) return;
  CHECK(head != NULL && head->cmsg_type == SCM_CREDENTIALS, "%s has no credentials", text);
  struct ucred *sent_by = (struct ucred *)CMSG_DATA(head);
  CHECK(sent_by->pid == pid && sent_by->uid == getuid(), "%s is of process %d, not %d", text, sent_by->pid, pid);
}

int main(void) {
  char large[60000];
  for (size_t i = 0; i < sizeof large; i++) large[i] = (char)(i * 13);

  struct pair quiet = new_pair(SOCK_STREAM | SOCK_NONBLOCK);
  struct pair talk = new_pair(SOCK_STREAM);
  put(talk.a, "to b ", 5), put(talk.a, "and more", 8), put(talk.b, large, sizeof large);
  int talk_twice = dup(talk.a);
  struct pair full = new_pair(SOCK_STREAM);
  size_t filled = fill(full.a), filled_back = fill(full.b);
  struct pair half = new_pair(SOCK_STREAM);
  put(half.a, "last words", 10);
  CHECK(shutdown(half.a, SHUT_WR) == 0, "shutdown");
  struct pair deaf = new_pair(SOCK_SEQPACKET);
  put(deaf.a, "heard", 5);
  CHECK(shutdown(deaf.b, SHUT_RDWR) == 0, "shutdown");
  struct pair orphan = new_pair(SOCK_STREAM), reset = new_pair(SOCK_STREAM), gone = new_pair(SOCK_DGRAM);
  put(orphan.b, "inheritance", 11), put(reset.b, "kept", 4), put(reset.a, "unread", 6), put(gone.b, "a letter", 8);
  close(orphan.b), close(reset.b), close(gone.b);

  struct pair grams = new_pair(SOCK_DGRAM), packets = new_pair(SOCK_SEQPACKET);
  put(grams.a, "one", 3), put(grams.a, large, sizeof large), put(grams.a, "four", 4), put(grams.b, "back", 4);
  for (int i = 0; i < 40; i++) put(packets.a, large, (size_t)(i + 1) * 100);

  int listener = bound(SOCK_STREAM, "served"), abstract = bound(SOCK_SEQPACKET, "@quicksave sockets");
  CHECK(listen(listener, 7) == 0 && listen(abstract, 3) == 0 && chmod("served", 0640) == 0, "listen");
  int client = connected(SOCK_STREAM, "served"), server = accept(listener, NULL, NULL);
  int client2 = connected(SOCK_STREAM, "served"), server2 = accept(listener, NULL, NULL);
  put(client, "request", 7), put(server, "response", 8), put(client2, "and", 3);
  int named_client = bound(SOCK_SEQPACKET, "named client");
  CHECK(try_connect(named_client, "@quicksave sockets") == 0, "connect");
  int abstract_server = accept(abstract, NULL, NULL);
  int abstract_client = connected(SOCK_SEQPACKET, "@quicksave sockets"), abstract_server2 = accept(abstract, NULL, NULL);
  put(abstract_server, "from the abstract", 17);
  int waiting = connected(SOCK_STREAM, "served");
  char gone_path[100];
  CHECK(getcwd(gone_path, 80) != NULL && strcat(gone_path, "/removed") != NULL, "getcwd");
  int removed = bound(SOCK_STREAM, gone_path);
  CHECK(listen(removed, 1) == 0, "listen");
  int removed_client = connected(SOCK_STREAM, gone_path), removed_server = accept(removed, NULL, NULL);
  unlink(gone_path);

  int log = bound(SOCK_DGRAM, "log"), writer = connected(SOCK_DGRAM, "log"), named_writer = bound(SOCK_DGRAM, "writer");
  put(writer, "anonymous", 9);
  struct sockaddr_un log_address;
  socklen_t log_length = address_of(&log_address, "log");
  CHECK(sendto(named_writer, "signed", 6, 0, (struct sockaddr *)&log_address, log_length) == 6, "sendto: errno %d", errno);
  int bare = socket(AF_UNIX, SOCK_STREAM, 0), prepared = bound(SOCK_STREAM, "@quicksave prepared");

  struct pair trusted = new_pair(SOCK_DGRAM), trusted_stream = new_pair(SOCK_STREAM);
  set(trusted.b, SO_PASSCRED, 1), set(trusted_stream.b, SO_PASSCRED, 1);
  put(trusted.a, "who am I", 8), put(trusted_stream.a, "and now", 7);

  set(quiet.a, SO_SNDBUF, 10000), set(quiet.b, SO_PRIORITY, 5), set(quiet.b, SO_PEEK_OFF, 0), set(grams.b, SO_RCVBUF, 30000);
  struct timeval patience = {3, 500000};
  CHECK(setsockopt(quiet.a, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0, "SO_RCVTIMEO");
  struct linger linger = {1, 9};
  CHECK(setsockopt(quiet.a, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0, "SO_LINGER");
  int quiet_sndbuf = option(quiet.a, SO_SNDBUF), talk_sndbuf = option(talk.a, SO_SNDBUF), grams_rcvbuf = option(grams.b, SO_RCVBUF);

  struct pair peeked = new_pair(SOCK_STREAM);
  put(peeked.a, "seen and not seen", 17), set(peeked.b, SO_PEEK_OFF, 0);
  expect_peeked(peeked.b, "seen and ", 9);

  say("ready\n");
  wait_for_go();

  CHECK(option(peeked.b, SO_PEEK_OFF) == 9, "peek offset %d", option(peeked.b, SO_PEEK_OFF));
  expect_peeked(peeked.b, "not seen", 8), expect(peeked.b, "seen and not seen", 17);
  CHECK(option(peeked.b, SO_PEEK_OFF) == 0, "peek offset %d of an empty stream", option(peeked.b, SO_PEEK_OFF));

  CHECK(fcntl(quiet.a, F_GETFL) & O_NONBLOCK && !(fcntl(talk.a, F_GETFL) & O_NONBLOCK), "O_NONBLOCK");
  CHECK(option(quiet.a, SO_SNDBUF) == quiet_sndbuf && option(talk.a, SO_SNDBUF) == talk_sndbuf, "SO_SNDBUF");
  CHECK(option(grams.b, SO_RCVBUF) == grams_rcvbuf && option(quiet.b, SO_PRIORITY) == 5, "SO_RCVBUF, SO_PRIORITY");
  CHECK(option(quiet.b, SO_PEEK_OFF) == 0 && option(grams.b, SO_PEEK_OFF) == -1, "SO_PEEK_OFF");
  struct timeval left;
  socklen_t length = sizeof left;
  CHECK(getsockopt(quiet.a, SOL_SOCKET, SO_RCVTIMEO, &left, &length) == 0 && left.tv_sec == 3, "SO_RCVTIMEO");
  length = sizeof linger;
  CHECK(getsockopt(quiet.a, SOL_SOCKET, SO_LINGER, &linger, &length) == 0 && linger.l_onoff && linger.l_linger == 9, "SO_LINGER");

  expect_nothing(quiet.a), expect_nothing(quiet.b), put(quiet.a, "x", 1), expect(quiet.b, "x", 1);
  expect(talk.b, "to b and more", 13), expect(talk_twice, large, sizeof large), expect_nothing(talk.a);
  put(talk_twice, "y", 1), expect(talk.b, "y", 1), expect_names(talk.a, "", "");
  expect_filled(full.b, filled), expect_filled(full.a, filled_back), put(full.a, "z", 1), expect(full.b, "z", 1);
  expect(half.b, "last words", 10), expect_end(half.b);
  CHECK(send(half.a, "!", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "a stream that was shut down takes a byte");
  put(half.b, "still", 5), expect(half.a, "still", 5);
  expect(deaf.b, "heard", 5), expect_end(deaf.b);
  CHECK(send(deaf.a, "!", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "who is deaf hears");
  expect(orphan.a, "inheritance", 11), expect_end(orphan.a);
  CHECK(send(orphan.a, "!", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "an orphan sends");
  struct pollfd look = {reset.a, POLLIN, 0};
  CHECK(poll(&look, 1, 0) == 1 && look.revents & POLLERR, "no error waits: %x", look.revents);
  char byte;
  CHECK(option(reset.a, SO_ERROR) == ECONNRESET && recv(reset.a, &byte, 1, 0) == 1 && byte == 'k', "the reset one");
  expect(gone.a, "a letter", 8);
  CHECK(send(gone.a, "!", 1, 0) == -1 && errno == ECONNREFUSED, "the datagram's other end is there: errno %d", errno);

  expect(grams.b, "one", 3), expect(grams.b, large, sizeof large), expect(grams.b, "four", 4);
  expect_nothing(grams.b), expect(grams.a, "back", 4);
  for (int i = 0; i < 40; i++) expect(packets.b, large, (size_t)(i + 1) * 100);
  expect_nothing(packets.b), put(packets.b, "z", 1), expect(packets.a, "z", 1);

  expect(server, "request", 7), expect(client, "response", 8), expect(server2, "and", 3);
  expect_names(client, "", "served"), expect_names(server, "served", ""), expect_names(server2, "served", "");
  expect_names(named_client, "named client", "@quicksave sockets"), expect_names(abstract_server, "@quicksave sockets", "named client");
  expect(named_client, "from the abstract", 17), put(abstract_client, "x", 1), expect(abstract_server2, "x", 1);
  expect_names(abstract_server2, "@quicksave sockets", "");
  struct stat file;
  CHECK(stat("served", &file) == 0 && S_ISSOCK(file.st_mode) && (file.st_mode & 0777) == 0640, "the file of the listener");
  CHECK(option(listener, SO_ACCEPTCONN) == 1 && option(removed, SO_ACCEPTCONN) == 1, "SO_ACCEPTCONN");
  int late = accept(listener, NULL, NULL);
  CHECK(late >= 0, "accept: errno %d", errno);
  put(waiting, "at last", 7), expect(late, "at last", 7), expect_made_by_us(late), expect_made_by_us(waiting);
  int fresh = connected(SOCK_STREAM, "served"), fresh_server = accept(listener, NULL, NULL);
  put(fresh, "new", 3), expect(fresh_server, "new", 3), expect_made_by_us(fresh);
  int fresh2 = connected(SOCK_SEQPACKET, "@quicksave sockets"), fresh_server2 = accept(abstract, NULL, NULL);
  put(fresh2, "new", 3), expect(fresh_server2, "new", 3);
  CHECK(access(gone_path, F_OK) == -1, "a removed file is there");
  expect_names(removed_client, "", gone_path), expect_names(removed_server, gone_path, "");
  put(removed_client, "x", 1), expect(removed_server, "x", 1);

  expect_from(log, "anonymous", "", 0), expect_from(log, "signed", "writer", 0), expect_nothing(log);
  put(writer, "more", 4), expect(log, "more", 4), expect_names(writer, "", "log");
  CHECK(sendto(named_writer, "again", 5, 0, (struct sockaddr *)&log_address, log_length) == 5, "sendto: errno %d", errno);
  expect_from(log, "again", "writer", 0);
  CHECK(listen(prepared, 1) == 0 && try_connect(bare, "@quicksave prepared") == 0, "the socket that was only bound");

  expect_from(trusted.b, "who am I", NULL, getpid()), expect_from(trusted_stream.b, "and now", NULL, getpid());
  put(trusted.a, "and then", 8), expect_from(trusted.b, "and then", NULL, getpid());
  expect_names(trusted.a, "", ""), expect_made_by_us(talk.a), expect_made_by_us(client), expect_made_by_us(server);
  expect_made_by_us(abstract_server), expect_made_by_us(orphan.a);
  say("ok\n");
  return 0;
}
