/* FIFOs, packets in pipes, O_PATH, names that were lost, and files of /proc. */
#include "self-check.h"
#include <poll.h>
#include <sys/stat.h>

#define F_GETPIPE_SIZE 1032
#define F_SETPIPE_SIZE 1031

static int must_open(const char *path, int flags) {
  int fd = open(path, flags, 0640);
  CHECK(fd >= 0, "open of %s: errno %d", path, errno);
  return fd;
}

static void put(int fd, const char *text) {
  CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "write of %s: errno %d", text, errno);
}

/* One read that has room for more. */
static void get(int fd, const char *expected) {
  char got[64] = "";
  ssize_t length = read(fd, got, sizeof got - 1);
  CHECK(length == (ssize_t)strlen(expected) && memcmp(got, expected, length) == 0, "%zd bytes, not %s: %s, errno %d", length, expected, got, errno);
}

static const char *link_of(int fd) {
  static char text[512];
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(path, text, sizeof text - 1);
  CHECK(length > 0, "readlink");
  text[length] = 0;
  return text;
}

static int has_end(const char *text, const char *end) {
  return strlen(text) >= strlen(end) && strcmp(text + strlen(text) - strlen(end), end) == 0;
}

static void make_fifo(const char *name) {
  unlink(name);
  CHECK(mkfifo(name, 0600) == 0, "mkfifo: errno %d", errno);
}

int main(void) {
  make_fifo("both-ends");
  int reader = must_open("both-ends", O_RDONLY | O_NONBLOCK), writer = must_open("both-ends", O_WRONLY | O_CLOEXEC);
  int again = must_open("both-ends", O_RDONLY | O_NONBLOCK), same = dup(writer);
  put(writer, "in a FIFO");
  make_fifo("one-end");
  int lonely = must_open("one-end", O_RDWR);
  put(lonely, "alone");
  CHECK(fcntl(lonely, F_SETPIPE_SIZE, 16384) == 16384, "F_SETPIPE_SZ");
  make_fifo("without-name");
  int nameless = must_open("without-name", O_RDWR | O_NONBLOCK);
  put(nameless, "no name");
  unlink("without-name");
  make_fifo("no-writer");
  int waiting = must_open("no-writer", O_RDONLY | O_NONBLOCK);

  int packets[2], last[2], mixed[2];
  CHECK(pipe2(packets, O_DIRECT | O_NONBLOCK) == 0 && pipe2(last, O_DIRECT) == 0 && pipe2(mixed, O_DIRECT) == 0, "pipe2");
  put(packets[1], "first");
  put(packets[1], "2");
  put(packets[1], "the third");
  put(last[1], "one packet");
  put(last[1], "another");
  close(last[1]);
  put(mixed[1], "packet");
  CHECK(fcntl(mixed[1], F_SETFL, 0) == 0, "F_SETFL");
  put(mixed[1], "str");
  put(mixed[1], "eam");

  int file = must_open("known-by-path", O_RDWR | O_CREAT | O_TRUNC);
  put(file, "content");
  unlink("points");
  CHECK(symlink("known-by-path", "points") == 0, "symlink");
  int place = must_open("known-by-path", O_PATH), folder = must_open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  int pointer = must_open("points", O_PATH | O_NOFOLLOW), device = must_open("/dev/null", O_PATH);
  int fifo_path = must_open("one-end", O_PATH);

  rmdir("deleted");
  CHECK(mkdir("deleted", 0711) == 0, "mkdir");
  int deleted = must_open("deleted", O_RDONLY | O_DIRECTORY), deleted_again = must_open("deleted", O_RDONLY);
  rmdir("deleted");

  int renamed = must_open("old-name", O_RDWR | O_CREAT | O_TRUNC);
  put(renamed, "renamed");
  unlink("linked");
  CHECK(link("old-name", "linked") == 0 && unlink("old-name") == 0, "link: errno %d", errno);

  int maps = must_open("/proc/self/maps", O_RDONLY), info = must_open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
  int adjust = must_open("/proc/self/oom_score_adj", O_RDWR), tasks = must_open("/proc/self/task", O_RDONLY | O_DIRECTORY);
  char begin[9] = "";
  CHECK(read(info, begin, 8) == 8, "read of meminfo");
  int all = must_open("/proc", O_RDONLY | O_DIRECTORY);
  int log = open("/dev/kmsg", O_WRONLY);

  say("ready\n");
  wait_for_go();

  get(again, "in a FIFO");
  put(same, "more");
  get(reader, "more");
  char byte;
  CHECK(read(reader, &byte, 1) == -1 && errno == EAGAIN, "the FIFO has more: errno %d", errno);
  close(writer);
  close(same);
  CHECK(read(reader, &byte, 1) == 0, "no end of the FIFO: errno %d", errno);
  CHECK(has_end(link_of(reader), "/both-ends"), "the FIFO is %s", link_of(reader));
  int writer_again = must_open("both-ends", O_WRONLY | O_NONBLOCK);
  put(writer_again, "new");
  get(reader, "new");
  CHECK((fcntl(lonely, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == O_RDWR && fcntl(lonely, F_GETPIPE_SIZE) == 16384, "the lonely end");
  get(lonely, "alone");
  get(nameless, "no name");
  struct stat now;
  CHECK(fstat(nameless, &now) == 0 && now.st_nlink == 0 && access("without-name", F_OK) == -1, "the name");
  CHECK(has_end(link_of(nameless), "/without-name (deleted)"), "the nameless one is %s", link_of(nameless));
  CHECK(read(waiting, &byte, 1) == 0, "a FIFO that nobody writes to: errno %d", errno);
  struct pollfd quiet = {waiting, POLLIN, 0};
  CHECK(poll(&quiet, 1, 0) == 0, "it hangs up: %x", quiet.revents);

  get(packets[0], "first");
  get(packets[0], "2");
  char part[4] = "";
  CHECK(read(packets[0], part, 3) == 3 && memcmp(part, "the", 3) == 0, "a part of a packet");
  CHECK(read(packets[0], &byte, 1) == -1 && errno == EAGAIN, "the rest of a packet: errno %d", errno);
  CHECK(fcntl(packets[1], F_GETFL) & O_DIRECT, "O_DIRECT");
  put(packets[1], "a");
  put(packets[1], "b");
  get(packets[0], "a");
  get(packets[0], "b");
  get(last[0], "one packet");
  get(last[0], "another");
  CHECK(read(last[0], &byte, 1) == 0, "the end of the packets");
  get(mixed[0], "packet");
  get(mixed[0], "stream");

  CHECK(read(place, &byte, 1) == -1 && errno == EBADF, "a read by path: errno %d", errno);
  CHECK(has_end(link_of(place), "/known-by-path") && has_end(link_of(pointer), "/points"), "paths");
  CHECK(fstat(pointer, &now) == 0 && S_ISLNK(now.st_mode), "the symbolic link");
  CHECK(fcntl(folder, F_GETFL) == (O_PATH | O_DIRECTORY) && fcntl(folder, F_GETFD) == FD_CLOEXEC, "flags %x", fcntl(folder, F_GETFL));
  int through = openat(folder, "known-by-path", O_RDONLY);
  get(through, "content");
  CHECK(fstat(device, &now) == 0 && S_ISCHR(now.st_mode) && fstat(fifo_path, &now) == 0 && S_ISFIFO(now.st_mode), "types");

  CHECK(fstat(deleted, &now) == 0 && now.st_nlink <= 1 && (now.st_mode & 07777) == 0711, "the deleted folder");
  ino_t inode = now.st_ino;
  CHECK(fstat(deleted_again, &now) == 0 && now.st_ino == inode && access("deleted", F_OK) == -1, "it is two");
  CHECK(openat(deleted, "x", O_CREAT | O_RDWR, 0600) == -1 && errno == ENOENT, "a file in a deleted folder: errno %d", errno);
  CHECK(has_end(link_of(deleted), "/deleted (deleted)"), "the deleted folder is %s", link_of(deleted));

  CHECK(lseek(renamed, 0, SEEK_CUR) == 7 && lseek(renamed, 0, SEEK_SET) == 0, "the place in the renamed file");
  get(renamed, "renamed");

  char text[4096];
  CHECK(read(maps, text, 64) == 64 && memchr(text, '-', 64) != NULL, "maps");
  CHECK(lseek(info, 0, SEEK_CUR) == 8 && read(info, text, 64) == 64, "meminfo");
  CHECK(read(adjust, text, 1) == 1, "oom_score_adj");
  int own = openat(tasks, "..", O_RDONLY);
  char status[64], expected[64];
  snprintf(status, sizeof status, "%s", link_of(own));
  snprintf(expected, sizeof expected, "/proc/%d", getpid());
  CHECK(strcmp(status, expected) == 0 && strcmp(link_of(all), "/proc") == 0, "the folder of tasks is in %s", status);
  if (log >= 0) CHECK(strcmp(link_of(log), "/dev/kmsg") == 0 && (fcntl(log, F_GETFL) & O_ACCMODE) == O_WRONLY, "kmsg");
  say("ok\n");
  return 0;
}
