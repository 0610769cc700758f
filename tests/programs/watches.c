/* Watches on files, and on processes: inotify(7), pidfd_open(2). */
#include "self-check.h"
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static char events[4096];

/* The one event that there must be. */
static struct inotify_event *next(int list) {
  struct pollfd ready = {list, POLLIN, 0};
  CHECK(poll(&ready, 1, 10000) == 1, "no event");
  ssize_t length = read(list, events, sizeof events);
  struct inotify_event *event = (struct inotify_event *)events;
  CHECK(length == (ssize_t)(sizeof *event + event->len), "%zd bytes of events, the first of %d: %x", length, event->wd, event->mask);
  return event;
}

static void expect(int list, int watch, unsigned mask, const char *name) {
  struct inotify_event *event = next(list);
  CHECK(event->wd == watch && event->mask == mask, "watch %d: %x, not %d: %x", event->wd, event->mask, watch, mask);
  CHECK(strcmp(event->len > 0 ? event->name : "", name) == 0, "%s, not %s", event->name, name);
}

static void quiet(int list) {
  struct pollfd ready = {list, POLLIN, 0};
  CHECK(poll(&ready, 1, 0) == 0, "events that nobody has made");
}

static void touch(const char *name) {
  int fd = open(name, O_WRONLY | O_CREAT, 0600);
  CHECK(fd >= 0 && close(fd) == 0, "%s: errno %d", name, errno);
}

static void must_signal(int process) {
  CHECK(syscall(SYS_pidfd_send_signal, process, 0, NULL, 0) == 0, "pidfd_send_signal: errno %d", errno);
}

int main(void) {
  rmdir("watched");
  unlink("watched/made");
  unlink("watched/once");
  rmdir("watched");
  CHECK(mkdir("watched", 0700) == 0, "mkdir");
  touch("old-name");
  int list = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), empty = inotify_init(), same = dup(list);
  int folder = inotify_add_watch(list, "watched", IN_CREATE | IN_DELETE | IN_ONLYDIR | IN_EXCL_UNLINK);
  int gone = inotify_add_watch(list, ".", IN_CREATE), gone_too = inotify_add_watch(list, "/", IN_CREATE);
  CHECK(inotify_rm_watch(list, gone) == 0, "inotify_rm_watch");
  int file = inotify_add_watch(list, "old-name", IN_ATTRIB);
  CHECK(rename("old-name", "new-name") == 0, "rename");
  int once = inotify_add_watch(list, "watched/.", IN_CREATE | IN_DELETE | IN_EXCL_UNLINK);
  CHECK(once == folder, "the same watch");
  touch("once");
  unlink("watch-link");
  CHECK(symlink("new-name", "watch-link") == 0, "symlink");
  int link = inotify_add_watch(list, "watch-link", IN_ATTRIB | IN_DONT_FOLLOW | IN_ONESHOT);
  CHECK(link == 5 && file == 4 && folder == 1 && gone_too == 3, "numbers");
  expect(list, gone, IN_IGNORED, "");

  int self = syscall(SYS_pidfd_open, getpid(), 0), self_again = syscall(SYS_pidfd_open, getpid(), O_NONBLOCK);
  CHECK(self >= 0 && self_again >= 0, "pidfd_open: errno %d", errno);

  say("ready\n");
  wait_for_go();

  quiet(list);
  quiet(empty);
  touch("watched/made");
  expect(list, folder, IN_CREATE, "made");
  CHECK(unlink("watched/made") == 0, "unlink");
  expect(same, folder, IN_DELETE, "made");
  CHECK(chmod("new-name", 0640) == 0, "chmod");
  expect(list, file, IN_ATTRIB, "");
  CHECK(unlink("watch-link") == 0, "unlink");
  CHECK(read(list, events, sizeof events) > 0 && ((struct inotify_event *)events)->wd == link, "the link");
  CHECK(inotify_add_watch(list, "new-name", IN_ATTRIB | IN_MASK_ADD) == file, "the number of a file that is watched");
  CHECK(inotify_rm_watch(list, gone_too) == 0 && inotify_rm_watch(list, gone) == -1 && errno == EINVAL, "numbers");
  CHECK((fcntl(list, F_GETFL) & O_NONBLOCK) && fcntl(list, F_GETFD) == FD_CLOEXEC && !(fcntl(empty, F_GETFL) & O_NONBLOCK), "flags");
  CHECK(inotify_add_watch(empty, ".", IN_CREATE) == 1, "the first watch");
  must_signal(self);
  must_signal(self_again);
  CHECK((fcntl(self_again, F_GETFL) & O_NONBLOCK) && !(fcntl(self, F_GETFL) & O_NONBLOCK) && fcntl(self, F_GETFD) == FD_CLOEXEC, "flags of a pidfd");
  say("ok\n");
  return 0;
}
