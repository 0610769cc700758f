/* Open files that wait in sockets to be received: unix(7), SCM_RIGHTS. Most of them nobody has under a number. */
#include "self-check.h"
#include <linux/kcmp.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#define MOST 253

struct pair {
  int a, b;
};

static struct pair new_pair(int type) {
  int ends[2];
  CHECK(socketpair(AF_UNIX, type, 0, ends) == 0, "socketpair: errno %d", errno);
  return (struct pair){ends[0], ends[1]};
}

static ssize_t try_send(int to, const char *text, size_t length, const int *fds, int count) {
  char control[CMSG_SPACE(sizeof(int) * MOST)] = {0};
  struct iovec part = {(char *)text, length};
  struct msghdr message = {NULL, 0, &part, 1, control, CMSG_SPACE(sizeof(int) * (size_t)count), 0};
  struct cmsghdr *head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET, head->cmsg_type = SCM_RIGHTS, head->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
  memcpy(CMSG_DATA(head), fds, sizeof(int) * (size_t)count);
  return sendmsg(to, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void post(int to, const char *text, const int *fds, int count) {
  ssize_t sent = try_send(to, text, strlen(text), fds, count);
  CHECK(sent == (ssize_t)strlen(text), "sendmsg of %s: %zd, errno %d", text, sent, errno);
}

/* It stays in flight only. */
static void post_away(int to, const char *text, int fd) {
  post(to, text, &fd, 1);
  close(fd);
}

/* At most `most` bytes, which must be `text`; how many descriptors came with it. */
static int take(int from, const char *text, size_t most, int *fds, struct ucred *sender) {
  char bytes[4096];
  char control[CMSG_SPACE(sizeof(int) * MOST) + CMSG_SPACE(sizeof(struct ucred))];
  struct iovec part = {bytes, most};
  struct msghdr message = {NULL, 0, &part, 1, control, sizeof control, 0};
  ssize_t received = recvmsg(from, &message, MSG_DONTWAIT);
  CHECK(received == (ssize_t)strlen(text), "recvmsg of %s: %zd, errno %d", text, received, errno);
  CHECK(memcmp(bytes, text, strlen(text)) == 0, "not %s but %.*s", text, (int)received, bytes);
  CHECK(!(message.msg_flags & MSG_CTRUNC), "what came with %s was cut", text);
  int count = 0;
  if (sender != NULL) sender->pid = 0;
  for (struct cmsghdr *head = CMSG_FIRSTHDR(&message); head != NULL; head = CMSG_NXTHDR(&message, head)) {
    if (head->cmsg_type == SCM_RIGHTS) {
      count = (int)((head->cmsg_len - CMSG_LEN(0)) / sizeof(int));
      memcpy(fds, CMSG_DATA(head), sizeof(int) * (size_t)count);
    }
    if (head->cmsg_type == SCM_CREDENTIALS && sender != NULL) memcpy(sender, CMSG_DATA(head), sizeof *sender);
  }
  return count;
}

static int take_one(int from, const char *text) {
  int fds[MOST];
  int count = take(from, text, 4096, fds, NULL);
  CHECK(count == 1, "%d descriptors came with %s", count, text);
  return fds[0];
}

static void take_none(int from, const char *text, size_t most) {
  int fds[MOST];
  int count = take(from, text, most, fds, NULL);
  CHECK(count == 0, "%d descriptors came with %s", count, text);
}

static int is_same(int a, int b) { return syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, a, b) == 0; }

static int new_file(const char *name, const char *text, off_t position) {
  int fd = open(name, O_RDWR | O_CREAT, 0600);
  CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s: errno %d", name, errno);
  CHECK(lseek(fd, position, SEEK_SET) == position, "lseek");
  return fd;
}

static void expect(int fd, const char *text) {
  char got[64];
  ssize_t length = read(fd, got, sizeof got);
  CHECK(length == (ssize_t)strlen(text) && memcmp(got, text, strlen(text)) == 0, "not %s: %zd, errno %d", text, length, errno);
}

static void set(int fd, int name, int value) {
  CHECK(setsockopt(fd, SOL_SOCKET, name, &value, sizeof value) == 0, "setsockopt %d: errno %d", name, errno);
}

static socklen_t abstract(struct sockaddr_un *address) {
  static const char name[] = "\0quicksave in flight";
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  memcpy(address->sun_path, name, sizeof name - 1);
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof name - 1);
}

static int listener(void) {
  struct sockaddr_un address;
  socklen_t length = abstract(&address);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK(bind(fd, (struct sockaddr *)&address, length) == 0 && listen(fd, 5) == 0, "listen: errno %d", errno);
  return fd;
}

static void connect_to_listener(int listening) {
  struct sockaddr_un address;
  socklen_t length = abstract(&address);
  int client = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK(connect(client, (struct sockaddr *)&address, length) == 0, "connect: errno %d", errno);
  int server = accept(listening, NULL, NULL);
  CHECK(server >= 0 && write(client, "served", 6) == 6, "accept: errno %d", errno);
  expect(server, "served");
}

int main(void) {
  /* A stream: with which byte they come. */
  struct pair stream = new_pair(SOCK_STREAM);
  int kept = new_file("kept", "kept text", 5), pipe_ends[2];
  CHECK(pipe(pipe_ends) == 0, "pipe");
  CHECK(send(stream.a, "before", 6, 0) == 6, "send");
  post(stream.a, "with two", (int[]){kept, pipe_ends[0]}, 2);
  post(stream.a, "again", &kept, 1);
  CHECK(send(stream.a, "behind", 6, 0) == 6, "send");

  /* What is in flight only. */
  struct pair mail = new_pair(SOCK_DGRAM);
  CHECK(write(pipe_ends[1], "in the pipe", 11) == 11, "write");
  int counter = eventfd(7, EFD_NONBLOCK), memory = memfd_create("in flight", 0);
  CHECK(write(memory, "memory", 6) == 6 && lseek(memory, 3, SEEK_SET) == 3, "memfd");
  post_away(mail.a, "a file", new_file("away", "away text", 5));
  int locked = new_file("locked", "", 0);
  CHECK(flock(locked, LOCK_EX) == 0, "flock");
  post_away(mail.a, "a lock", locked);
  int unlinked = new_file("unlinked", "no name", 3);
  CHECK(unlink("unlinked") == 0, "unlink");
  post_away(mail.a, "an unlinked file", unlinked);
  post_away(mail.a, "a counter", counter), post_away(mail.a, "memory", memory);
  int other_pipe[2];
  CHECK(pipe(other_pipe) == 0 && write(other_pipe[1], "deep", 4) == 4, "pipe");
  post_away(mail.a, "a reader", other_pipe[0]);
  post_away(mail.a, "a listener", listener());

  /* Many at once, in packets. */
  struct pair packets = new_pair(SOCK_SEQPACKET);
  int many[MOST];
  for (int i = 0; i < MOST; i++) many[i] = i % 2 == 0 ? kept : pipe_ends[1];
  post(packets.a, "many", many, MOST);
  CHECK(send(packets.a, "none", 4, 0) == 4, "send");

  /* A socket in its own queue, and one whose other end waits in a queue with something in its own. */
  struct pair own = new_pair(SOCK_STREAM), outer = new_pair(SOCK_STREAM), inner = new_pair(SOCK_STREAM);
  post(own.a, "yourself", &own.b, 1);
  post(own.a, "the other", &own.a, 1);
  post_away(inner.a, "deeper", new_file("deep", "deep text", 5));
  CHECK(send(inner.b, "hello", 5, 0) == 5, "send");
  post_away(outer.a, "an end", inner.b);

  /* Credentials, asked for when they were sent and not now. */
  struct pair letters = new_pair(SOCK_DGRAM);
  set(letters.b, SO_PASSCRED, 1);
  int gate[2];
  CHECK(pipe(gate) == 0, "pipe");
  int shared_with_child = new_file("shared", "shared text", 7);
  pid_t child = fork();
  if (child == 0) {
    close(gate[1]);
    post(letters.a, "from the child", &shared_with_child, 1);
    char byte;
    _exit(read(gate[0], &byte, 1) == 0 ? 0 : 1);
  }
  close(gate[0]);
  char byte;
  while (recv(letters.b, &byte, 1, MSG_PEEK) != 1) CHECK(errno == EINTR, "recv: errno %d", errno);
  post(letters.a, "from the parent", &kept, 1);
  set(letters.b, SO_PASSCRED, 0);
  post(letters.a, "from nobody", &kept, 1);

  /* Empty messages, with descriptors and without. */
  struct pair empty = new_pair(SOCK_DGRAM), empties = new_pair(SOCK_SEQPACKET);
  const struct pair both[2] = {empty, empties};
  for (int i = 0; i < 2; i++) {
    CHECK(send(both[i].a, "", 0, 0) == 0, "send of nothing: errno %d", errno);
    post(both[i].a, "", (int[]){kept, pipe_ends[0]}, 2);
    CHECK(send(both[i].a, "between", 7, 0) == 7, "send");
    post(both[i].a, "", &kept, 1);
    CHECK(send(both[i].a, "", 0, 0) == 0, "send of nothing: errno %d", errno);
  }

  /* A full queue. */
  struct pair full = new_pair(SOCK_STREAM);
  int sent = 0;
  while (try_send(full.a, "full", 4, (int[]){kept, pipe_ends[1]}, 2) == 4) sent++;
  CHECK(errno == EAGAIN && sent > 10, "%d messages, errno %d", sent, errno);

  say("ready\n");
  wait_for_go();

  int fds[MOST];
  const char *letter = "before";
  for (; *letter != 0; letter++) take_none(stream.b, (char[]){*letter, 0}, 1);
  CHECK(take(stream.b, "w", 1, fds, NULL) == 2, "the two do not come with their first byte");
  CHECK(is_same(fds[0], kept) && is_same(fds[1], pipe_ends[0]), "other descriptions have come");
  take_none(stream.b, "ith two", 7);
  CHECK(take(stream.b, "again", 4096, fds, NULL) == 1 && is_same(fds[0], kept), "not the same again");
  take_none(stream.b, "behind", 4096);
  expect(kept, "text"), expect(fds[0], "");
  expect(pipe_ends[0], "in the pipe");

  expect(take_one(mail.b, "a file"), "text");
  int again = open("locked", O_RDWR);
  CHECK(flock(again, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK, "the lock is gone");
  locked = take_one(mail.b, "a lock");
  CHECK(flock(locked, LOCK_UN) == 0 && flock(again, LOCK_EX | LOCK_NB) == 0, "the lock is another's: errno %d", errno);
  unlinked = take_one(mail.b, "an unlinked file");
  struct stat about;
  CHECK(fstat(unlinked, &about) == 0 && about.st_nlink == 0, "it has a name");
  expect(unlinked, "name");
  unsigned long long count;
  CHECK(read(take_one(mail.b, "a counter"), &count, 8) == 8 && count == 7, "the counter is %llu", count);
  expect(take_one(mail.b, "memory"), "ory");
  expect(take_one(mail.b, "a reader"), "deep");
  connect_to_listener(take_one(mail.b, "a listener"));

  CHECK(take(packets.b, "many", 4096, fds, NULL) == MOST, "not all have come");
  for (int i = 0; i < MOST; i++) CHECK(is_same(fds[i], i % 2 == 0 ? kept : pipe_ends[1]), "number %d is another", i);
  take_none(packets.b, "none", 4096);

  CHECK(is_same(take_one(own.b, "yourself"), own.b) && is_same(take_one(own.b, "the other"), own.a), "not itself");
  int end = take_one(outer.b, "an end");
  CHECK(recv(inner.a, fds, 5, MSG_DONTWAIT) == 5 && memcmp(fds, "hello", 5) == 0, "recv");
  expect(take_one(end, "deeper"), "text");
  CHECK(write(end, "back", 4) == 4, "write");
  expect(inner.a, "back");

  for (int i = 0; i < 2; i++) {
    take_none(both[i].b, "", 4096);
    CHECK(take(both[i].b, "", 4096, fds, NULL) == 2 && is_same(fds[0], kept) && is_same(fds[1], pipe_ends[0]), "not with nothing");
    take_none(both[i].b, "between", 4096);
    CHECK(is_same(take_one(both[i].b, ""), kept), "another one with nothing");
    take_none(both[i].b, "", 4096);
    CHECK(recv(both[i].b, fds, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN, "there is more than nothing");
  }

  set(letters.b, SO_PASSCRED, 1);
  struct ucred sender;
  CHECK(take(letters.b, "from the child", 4096, fds, &sender) == 1, "no descriptor from the child");
  CHECK(sender.pid == child && sender.uid == getuid(), "it is of %d, not of %d", sender.pid, child);
  CHECK(is_same(fds[0], shared_with_child), "not what is shared with the child");
  CHECK(take(letters.b, "from the parent", 4096, fds, &sender) == 1 && sender.pid == getpid(), "it is of %d", sender.pid);
  CHECK(take(letters.b, "from nobody", 4096, fds, &sender) == 1 && sender.pid == 0, "it is of %d", sender.pid);
  close(gate[1]);
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0, "the child: %x", status);

  for (int i = 0; i < sent; i++) {
    CHECK(take(full.b, "full", 4096, fds, NULL) == 2 && is_same(fds[0], kept) && is_same(fds[1], pipe_ends[1]), "message %d of %d", i, sent);
    close(fds[0]), close(fds[1]);
  }
  CHECK(recv(full.b, fds, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN, "there is more");
  say("ok\n");
}
