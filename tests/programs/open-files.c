/* Open files of the kinds that a single process has to itself. */
#include "self-check.h"
#include <dirent.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void put(const char *name, const char *text) {
  int file = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  CHECK(file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text), "cannot write %s", name);
  close(file);
}

static off_t position(int file) { return lseek(file, 0, SEEK_CUR); }

/* True if another process could not get the lock. */
static int is_locked(const char *name, int with_flock, off_t start) {
  pid_t child = fork();
  if (child == 0) {
    int file = open(name, O_RDWR);
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = 10};
    int result = with_flock ? flock(file, LOCK_EX | LOCK_NB) : fcntl(file, F_SETLK, &range);
    _exit(result == 0 ? 0 : 1);
  }
  int status;
  waitpid(child, &status, 0);
  return WEXITSTATUS(status) == 1;
}

int main(void) {
  put("text", "0123456789abcdefghij");
  put("log", "first\n");
  put("locked", "twenty bytes of text");
  int reading = open("text", O_RDONLY);
  lseek(reading, 5, SEEK_SET);
  int same = dup(reading);
  int own = open("text", O_RDONLY | O_CLOEXEC);
  lseek(own, 7, SEEK_SET);
  int appending = open("log", O_WRONLY | O_APPEND);
  int both = open("text", O_RDWR | O_NONBLOCK | O_SYNC);
  int far = fcntl(both, F_DUPFD_CLOEXEC, 700);
  mkdir("folder", 0700);
  for (int i = 0; i < 40; i++) {
    char name[32];
    snprintf(name, sizeof name, "folder/entry-%02d", i);
    put(name, "x");
  }
  DIR *folder = opendir("folder");
  int seen = 0;
  for (; seen < 15; seen++) CHECK(readdir(folder) != NULL, "readdir");
  int devices[] = {open("/dev/null", O_RDWR), open("/dev/zero", O_RDONLY), open("/dev/full", O_WRONLY), open("/dev/random", O_RDONLY),
                   open("/dev/urandom", O_RDONLY)};
  int few[2], large[2], closed[2];
  CHECK(pipe(few) == 0 && pipe2(large, O_NONBLOCK | O_CLOEXEC) == 0 && pipe(closed) == 0, "pipe");
  CHECK(write(few[1], "in the pipe", 11) == 11, "write");
  fcntl(large[1], F_SETPIPE_SZ, 1 << 17);
  int capacity = fcntl(large[1], F_GETPIPE_SZ);
  size_t filled = 0;
  for (char block[4096]; ; filled += sizeof block) {
    memset(block, (int)(filled / 4096), sizeof block);
    if (write(large[1], block, sizeof block) != sizeof block) break;
  }
  CHECK(write(closed[1], "last", 4) == 4, "write");
  close(closed[1]);
  int nameless = open("nameless", O_RDWR | O_CREAT | O_EXCL, 0600);
  CHECK(write(nameless, "nobody can open this", 20) == 20, "write");
  CHECK(ftruncate(nameless, 100000) == 0 && pwrite(nameless, "end", 3, 99997) == 3, "ftruncate");
  lseek(nameless, 7, SEEK_SET);
  unlink("nameless");
  gid_t group = geteuid() == 0 ? 98 : getegid();
  uid_t owner = geteuid() == 0 ? 1234 : geteuid();
  CHECK(fchown(nameless, owner, group) == 0 && fchmod(nameless, 04406) == 0, "fchown: errno %d", errno);
  int flocked = open("locked", O_RDWR), posix = open("text", O_RDWR), ofd = open("log", O_RDWR);
  CHECK(flock(flocked, LOCK_EX) == 0, "flock");
  struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 4, .l_len = 10};
  CHECK(fcntl(posix, F_SETLK, &range) == 0, "F_SETLK");
  struct flock other = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 3};
  CHECK(fcntl(ofd, F_OFD_SETLK, &other) == 0, "F_OFD_SETLK");
  say("ready\n");
  wait_for_go();
  CHECK(position(reading) == 5 && position(same) == 5 && position(own) == 7, "positions");
  char byte;
  CHECK(read(reading, &byte, 1) == 1 && byte == '5' && position(same) == 6, "the duplicate has a position of its own");
  CHECK(position(own) == 7, "the other description shares its position");
  CHECK(fcntl(own, F_GETFD) == FD_CLOEXEC && fcntl(reading, F_GETFD) == 0 && fcntl(far, F_GETFD) == FD_CLOEXEC, "close-on-exec");
  CHECK(far == 700 && (fcntl(far, F_GETFL) & (O_NONBLOCK | O_SYNC | O_ACCMODE)) == (O_NONBLOCK | O_SYNC | O_RDWR), "flags");
  CHECK((fcntl(appending, F_GETFL) & (O_APPEND | O_ACCMODE)) == (O_APPEND | O_WRONLY), "O_APPEND");
  CHECK(write(appending, "second\n", 7) == 7, "write");
  struct stat status;
  CHECK(stat("log", &status) == 0 && status.st_size == 13, "the log has %ld bytes", status.st_size);
  for (; readdir(folder) != NULL; seen++) continue;
  CHECK(seen == 42, "%d entries were seen", seen);
  char text[32] = "";
  CHECK(read(devices[0], text, 4) == 0 && write(devices[0], "x", 1) == 1, "/dev/null");
  CHECK(read(devices[1], text, 4) == 4 && text[0] == 0, "/dev/zero");
  CHECK(write(devices[2], "x", 1) == -1 && errno == ENOSPC, "/dev/full");
  CHECK(read(devices[3], text, 4) == 4 && read(devices[4], text, 4) == 4, "/dev/random");
  CHECK(read(few[0], text, sizeof text) == 11 && memcmp(text, "in the pipe", 11) == 0, "the pipe's bytes");
  CHECK(fcntl(large[0], F_GETPIPE_SZ) == capacity && (fcntl(large[0], F_GETFL) & O_NONBLOCK), "the large pipe");
  CHECK(fcntl(large[1], F_GETFD) == FD_CLOEXEC, "the large pipe's close-on-exec");
  size_t drained = 0;
  for (char block[4096]; read(large[0], block, sizeof block) == sizeof block; drained += sizeof block)
    CHECK(block[0] == (char)(drained / 4096), "the large pipe differs at byte %zu", drained);
  CHECK(drained == filled, "the large pipe had %zu bytes, has %zu", filled, drained);
  CHECK(read(closed[0], text, sizeof text) == 4 && read(closed[0], text, sizeof text) == 0, "the pipe without a writer");
  CHECK(position(nameless) == 7 && read(nameless, text, 13) == 13 && memcmp(text, "can open this", 13) == 0, "the file without a name");
  CHECK(fstat(nameless, &status) == 0 && status.st_size == 100000 && status.st_nlink == 0, "its size");
  CHECK((status.st_mode & 07777) == 04406 && status.st_uid == owner && status.st_gid == group, "its mode is %o, its owner %u:%u", status.st_mode, status.st_uid, status.st_gid);
  CHECK(pread(nameless, text, 3, 99997) == 3 && memcmp(text, "end", 3) == 0, "its end");
  CHECK(is_locked("locked", 1, 0) && is_locked("text", 0, 4) && is_locked("log", 0, 0), "a lock is lost");
  CHECK(!is_locked("locked", 0, 0) && !is_locked("text", 1, 0), "a lock too many");
  say("ok\n");
  return 0;
}
