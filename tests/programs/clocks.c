/*
 * A process and its child read their clocks all the time, through the vDSO and by system calls: none goes back, and both ways tell the same. They
 * sleep until points of CLOCK_MONOTONIC, and are never awake before. Each writes what it has read into a file of its own: clocks.0, clocks.1.
 * With an argument, clocks may go back.
 */
#include "self-check.h"

#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <signal.h>

#define SECOND 1000000000LL
#define NAP 2000000LL

static int may_go_back;

#ifdef __i386__
#define GETTIME SYS_clock_gettime64
#else
#define GETTIME SYS_clock_gettime
#endif

static int64_t by_vdso(clockid_t clock) {
  struct timespec now;
  CHECK(clock_gettime(clock, &now) == 0, "clock_gettime: errno %d", errno);
  return now.tv_sec * SECOND + now.tv_nsec;
}

static int64_t by_call(clockid_t clock) {
  int64_t now[2];
  CHECK(syscall(GETTIME, clock, now) == 0, "clock_gettime: errno %d", errno);
  return now[0] * SECOND + now[1];
}

static int64_t look(clockid_t clock, int64_t *last) {
  int64_t first = by_vdso(clock), second = by_call(clock), third = by_vdso(clock);
  if (!may_go_back) {
    CHECK(first >= *last, "clock %d went from %lld back to %lld", clock, (long long)*last, (long long)first);
    CHECK(second >= first && third >= second, "clock %d is %lld, %lld by a system call, %lld", clock, (long long)first,
          (long long)second, (long long)third);
  }
  *last = third;
  return third;
}

static void keep_looking(const char *name) {
  int64_t monotonic = 0, boottime = 0;
  int file = open(name, O_RDWR | O_CREAT, 0600);
  CHECK(file >= 0, "%s: errno %d", name, errno);
  for (int i = 0; i < PATIENCE && !may_go(); i++) {
    char text[64];
    look(CLOCK_MONOTONIC, &monotonic);
    look(CLOCK_BOOTTIME, &boottime);
    int length = snprintf(text, sizeof text, "%024lld %024lld\n", (long long)monotonic, (long long)boottime);
    CHECK(pwrite(file, text, (size_t)length, 0) == length, "%s: errno %d", name, errno);
    int64_t until = monotonic + NAP;
    struct timespec point = {(time_t)(until / SECOND), (long)(until % SECOND)};
    int result;
    while ((result = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &point, NULL)) == EINTR) continue;
    CHECK(result == 0, "clock_nanosleep: %d", result);
    if (!may_go_back) CHECK(by_vdso(CLOCK_MONOTONIC) >= until, "awake %lld ns early", (long long)(until - by_vdso(CLOCK_MONOTONIC)));
  }
  CHECK(may_go(), "nobody told me to go on");
}

int main(int count, char **arguments) {
  (void)arguments;
  may_go_back = count > 1;
  pid_t child = fork();
  CHECK(child >= 0, "fork: errno %d", errno);
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    keep_looking("clocks.1");
    return 0;
  }
  while (access("clocks.1", F_OK) != 0) usleep(1000);
  say("ready\n");
  keep_looking("clocks.0");
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0, "the child ended with %d", status);
  say("ok\n");
}
