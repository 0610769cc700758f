/*
 * A leader, a thread and a child that look where they are: in which cgroups of /proc/thread-self/cgroup. They note it when told so (a file
 * `note`), and are still there when they are told to check it (`go`). `who` says their numbers.
 */
#include "self-check.h"
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { SIZE = 1 << 16 };
static char folder[4096];
static volatile pid_t thread_tid;

static void await(const char *name) {
  char path[sizeof folder + 64];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  for (int i = 0; i < PATIENCE && access(path, F_OK) != 0; i++) usleep(2000);
  CHECK(access(path, F_OK) == 0, "nobody made %s", name);
}

static void look(char *text) {
  int fd = open("/proc/thread-self/cgroup", O_RDONLY);
  CHECK(fd >= 0, "open: errno %d", errno);
  ssize_t length = read(fd, text, SIZE - 1);
  CHECK(length >= 0 && close(fd) == 0, "read: errno %d", errno);
  text[length] = 0;
}

static void stay(const char *who) {
  static __thread char before[SIZE], after[SIZE];
  await("note");
  look(before);
  char line[64];
  snprintf(line, sizeof line, "noted by the %s\n", who);
  say(line);
  await("go");
  look(after);
  CHECK(strcmp(before, after) == 0, "the %s is in %s, not %s", who, after, before);
}

static void *thread(void *unused) {
  thread_tid = (pid_t)syscall(SYS_gettid);
  stay("thread");
  return unused;
}

int main(void) {
  CHECK(getcwd(folder, sizeof folder) != NULL, "getcwd");
  pid_t child = fork();
  CHECK(child >= 0, "fork: errno %d", errno);
  if (child == 0) {
    CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "prctl");
    stay("child");
    _exit(0);
  }
  pthread_t other;
  CHECK(pthread_create(&other, NULL, thread, NULL) == 0, "pthread_create");
  while (thread_tid == 0) usleep(1000);
  FILE *file = fopen("who", "w");
  CHECK(file != NULL && fprintf(file, "%d %d %d", getpid(), thread_tid, child) > 0 && fclose(file) == 0, "who");
  say("ready\n");
  stay("leader");
  CHECK(pthread_join(other, NULL) == 0, "pthread_join");
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0, "the child ended with %d", status);
  check_ballast();
  say("ok\n");
  return 0;
}
