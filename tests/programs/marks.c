/* Marks on files, mounts and file systems: fanotify(7), of groups that open the files and of such that name them. */
#include "self-check.h"
#include <poll.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/capability.h>

#ifndef FAN_REPORT_PIDFD
#define FAN_REPORT_PIDFD 0x80
#endif
#ifndef FAN_MARK_IGNORE_SURV
#define FAN_MARK_IGNORE_SURV 0x440
#endif

#define BY_FILE 0
#define BY_NAME (FAN_REPORT_DFID_NAME | FAN_REPORT_PIDFD | FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS)

static char events[8192] __attribute__((aligned(8)));

static int group(unsigned flags, unsigned event_flags) {
  int fd = fanotify_init(flags | FAN_NONBLOCK, event_flags);
  CHECK(fd >= 0, "fanotify_init %x: errno %d", flags, errno);
  return fd;
}

static void mark(int group, unsigned flags, uint64_t mask, const char *path) {
  CHECK(fanotify_mark(group, FAN_MARK_ADD | flags, mask, AT_FDCWD, path) == 0, "a mark on %s: errno %d", path, errno);
}

static void quiet(int group, const char *when) {
  struct pollfd ready = {group, POLLIN, 0};
  struct fanotify_event_metadata *event = (void *)events;
  if (poll(&ready, 1, 0) == 0) return;
  CHECK(read(group, events, sizeof events) > 0, "read: errno %d", errno);
  fail("an event %llx of process %d %s", (unsigned long long)event->mask, event->pid, when);
}

/* The next event, with this mask; of it, whether it came with a file, and the name of that. */
static struct fanotify_event_metadata *expect(int group, uint64_t mask, const char *what) {
  struct pollfd ready = {group, POLLIN, 0};
  CHECK(poll(&ready, 1, 10000) == 1, "no event: %s", what);
  ssize_t length = read(group, events, sizeof events);
  struct fanotify_event_metadata *event = (void *)events;
  CHECK(length >= (ssize_t)sizeof *event, "%s: %zd, errno %d", what, length, errno);
  CHECK(event->mask == mask, "%s: %llx, not %llx", what, (unsigned long long)event->mask, (unsigned long long)mask);
  CHECK(length == event->event_len, "%s: more than one event", what);
  return event;
}

static void expect_file(int group, uint64_t mask, int flags, const char *end) {
  struct fanotify_event_metadata *event = expect(group, mask, end);
  char link[64], name[512] = "";
  snprintf(link, sizeof link, "/proc/self/fd/%d", event->fd);
  CHECK(event->fd >= 0 && readlink(link, name, sizeof name - 1) > 0, "the file of an event: %d", event->fd);
  CHECK(strlen(name) >= strlen(end) && strcmp(name + strlen(name) - strlen(end), end) == 0, "%s, not %s", name, end);
  CHECK((fcntl(event->fd, F_GETFL) & (O_ACCMODE | O_APPEND)) == flags, "flags of %s: %x", name, fcntl(event->fd, F_GETFL));
  close(event->fd);
}

/* An event of our own, with a name and, where it is told, with a descriptor of ours. */
static void expect_name(int group, uint64_t mask, const char *name, int has_process) {
  struct fanotify_event_metadata *event = expect(group, mask, name);
  int named = 0, process = -1;
  CHECK(event->fd == FAN_NOFD && event->pid == getpid(), "%s: file %d, process %d", name, event->fd, event->pid);
  for (char *at = (char *)event + event->metadata_len; at < (char *)event + event->event_len;) {
    struct fanotify_event_info_header *info = (void *)at;
    if (info->info_type == FAN_EVENT_INFO_TYPE_DFID_NAME) {
      struct file_handle *handle = (void *)((struct fanotify_event_info_fid *)info)->handle;
      named = strcmp((char *)handle->f_handle + handle->handle_bytes, name) == 0;
    }
    if (info->info_type == 4) memcpy(&process, at + sizeof *info, sizeof process);
    at += info->len;
  }
  CHECK(named, "an event that does not name %s", name);
  CHECK((process >= 0) == has_process, "the process of %s: %d", name, process);
  if (process >= 0) close(process);
}

static void touch(const char *name) {
  int fd = open(name, O_WRONLY | O_CREAT, 0600);
  CHECK(fd >= 0 && close(fd) == 0, "%s: errno %d", name, errno);
}

static void execute(const char *path) {
  int status;
  pid_t pid = fork();
  if (pid == 0) {
    execl(path, path, NULL);
    _exit(99);
  }
  CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "%s: %x", path, status);
}

/* As somebody without CAP_SYS_ADMIN: it is told of its own doings only who did them. */
static int plain_group(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct had[2], without[2];
  CHECK(syscall(SYS_capget, &header, had) == 0, "capget");
  memcpy(without, had, sizeof had);
  without[0].effective &= ~(1U << CAP_SYS_ADMIN);
  CHECK(syscall(SYS_capset, &header, without) == 0, "capset");
  int made = group(FAN_REPORT_FID, O_RDONLY);
  CHECK(syscall(SYS_capset, &header, had) == 0, "capset");
  return made;
}

int main(void) {
  static const char *left[] = {"marked/made", "marked/renamed", "marked", "plain", "ignored", "true"};
  for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
    unlink(left[i]);
    rmdir(left[i]);
  }
  CHECK(mkdir("marked", 0700) == 0 && system("cp /bin/true true") == 0, "files");
  touch("plain");
  touch("ignored");

  int files = group(FAN_CLOEXEC, O_RDWR | O_APPEND), names = group(BY_NAME, O_RDONLY), systems = group(BY_FILE, O_RDONLY);
  int mounts = group(FAN_REPORT_TID, O_RDONLY), plain = plain_group(), empty = group(BY_FILE, O_RDONLY);
  mark(files, 0, FAN_MODIFY, "plain");
  mark(files, 0, FAN_MODIFY | FAN_CLOSE_WRITE, "ignored");
  mark(files, FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY, FAN_CLOSE_WRITE, "ignored");
  mark(names, FAN_MARK_ONLYDIR, FAN_CREATE | FAN_DELETE | FAN_ONDIR, "marked");
  mark(names, FAN_MARK_IGNORE_SURV, FAN_DELETE | FAN_ONDIR, "marked");
  mark(names, FAN_MARK_EVICTABLE, FAN_ATTRIB, "plain");
  mark(systems, FAN_MARK_FILESYSTEM, FAN_OPEN_EXEC, ".");
  mark(mounts, FAN_MARK_MOUNT, FAN_OPEN_EXEC, ".");
  mark(plain, 0, FAN_ATTRIB, "ignored");

  say("ready\n");
  wait_for_go();

  int all[] = {files, names, systems, mounts, plain, empty};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) quiet(all[i], "that nobody has made");
  CHECK(fcntl(files, F_GETFD) == FD_CLOEXEC && fcntl(names, F_GETFD) == 0, "close-on-exec");

  int file = open("plain", O_WRONLY);
  CHECK(file >= 0 && write(file, "x", 1) == 1, "write");
  expect_file(files, FAN_MODIFY, O_RDWR | O_APPEND, "/plain");
  close(file);
  quiet(files, "of closing a file");
  file = open("ignored", O_WRONLY);
  CHECK(file >= 0 && write(file, "x", 1) == 1 && close(file) == 0, "write");
  expect_file(files, FAN_MODIFY, O_RDWR | O_APPEND, "/ignored");
  quiet(files, "that was to be ignored");

  touch("marked/made");
  expect_name(names, FAN_CREATE, "made", 1);
  CHECK(unlink("marked/made") == 0, "unlink");
  quiet(names, "of deleting a file");
  CHECK(chmod("plain", 0640) == 0, "chmod");
  expect_name(names, FAN_ATTRIB, "plain", 1);

  execute("./true");
  expect_file(systems, FAN_OPEN_EXEC, O_RDONLY, "/true");
  struct fanotify_event_metadata *event = expect(mounts, FAN_OPEN_EXEC, "an executable");
  CHECK(event->pid != getpid() && event->fd >= 0 && close(event->fd) == 0, "who has executed it");

  CHECK(chmod("ignored", 0640) == 0, "chmod");
  CHECK(expect(plain, FAN_ATTRIB, "of a group of anybody")->pid == getpid(), "who it was");
  CHECK(system("chmod 0600 ignored") == 0, "chmod");
  CHECK(expect(plain, FAN_ATTRIB, "of a group of anybody")->pid == 0, "who it was is told to anybody");
  quiet(empty, "of an empty group");
  say("ok\n");
  return 0;
}
