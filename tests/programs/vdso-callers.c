/*
 * Calls the vDSO all the time, in many threads, and compares what its clocks say with what the system call says. One thread
 * has been interrupted in the middle of such a call by a signal, whose handler is still running; one waits in a system call.
 *
 * vdso-callers [THREADS]
 */
#include "self-check.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>

enum { CALLERS = 3, MAX_CALLERS = 256, COARSE_NS = 50000000 };

static volatile int stop, is_inside;
static uintptr_t vdso_start, vdso_end;
static int ends[2];

struct time64 {
  long long seconds, nanoseconds;
};

/* The system call itself, in nanoseconds. */
static long long told(clockid_t clock) {
  struct time64 now;
#ifdef __i386__
  CHECK(syscall(403, clock, &now) == 0, "clock_gettime64: errno %d", errno);
#else
  CHECK(syscall(SYS_clock_gettime, clock, &now) == 0, "clock_gettime: errno %d", errno);
#endif
  return now.seconds * 1000000000 + now.nanoseconds;
}

static long long read_clock(clockid_t clock) {
  struct timespec now;
  CHECK(clock_gettime(clock, &now) == 0, "clock_gettime: errno %d", errno);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void check_between(const char *what, long long before, long long now, long long after, long long slack) {
  CHECK(before - slack <= now && now <= after, "%s says %lld between %lld and %lld", what, now, before, after);
}

static void check_clocks(void) {
  static const struct { const char *name; clockid_t clock; long long slack; } clocks[] = {
    {"CLOCK_MONOTONIC", CLOCK_MONOTONIC, 0},   {"CLOCK_REALTIME", CLOCK_REALTIME, 0},
    {"CLOCK_BOOTTIME", CLOCK_BOOTTIME, 0},     {"CLOCK_MONOTONIC_RAW", CLOCK_MONOTONIC_RAW, 0},
    {"CLOCK_MONOTONIC_COARSE", CLOCK_MONOTONIC_COARSE, COARSE_NS},
    {"CLOCK_REALTIME_COARSE", CLOCK_REALTIME_COARSE, COARSE_NS},
  };
  for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
    long long before = told(clocks[i].clock);
    long long now = read_clock(clocks[i].clock);
    check_between(clocks[i].name, before, now, told(clocks[i].clock), clocks[i].slack);
  }
}

static void check_others(void) {
  struct timeval now;
  long long before = told(CLOCK_REALTIME) / 1000;
  CHECK(gettimeofday(&now, NULL) == 0, "gettimeofday: errno %d", errno);
  check_between("gettimeofday", before, now.tv_sec * 1000000LL + now.tv_usec, told(CLOCK_REALTIME) / 1000, 0);
  before = told(CLOCK_REALTIME) / 1000000000;
  long long seconds = time(NULL);
  /* Of the last tick. */
  check_between("time", before, seconds, told(CLOCK_REALTIME) / 1000000000, 1);
  unsigned cpu = 4096, node;
  CHECK(getcpu(&cpu, &node) == 0 && cpu < 4096, "getcpu says %u", cpu);
  struct timespec resolution = {9, 9};
  CHECK(clock_getres(CLOCK_MONOTONIC, &resolution) == 0 && resolution.tv_sec == 0, "clock_getres: errno %d", errno);
}

/* Mostly in the vDSO. */
static void read_often(long long *last) {
  for (int i = 0; i < 200; i++) {
    long long now = read_clock(CLOCK_MONOTONIC);
    CHECK(now >= *last, "the time went back from %lld to %lld", *last, now);
    *last = now;
  }
}

static void *call_it(void *unused) {
  long long last = 0;
  while (!stop) {
    read_often(&last);
    check_clocks();
    check_others();
  }
  return unused;
}

static void on_signal(int number, siginfo_t *info, void *context) {
  (void)number;
  (void)info;
  ucontext_t *frame = context;
#ifdef __i386__
  uintptr_t ip = (uintptr_t)frame->uc_mcontext.gregs[REG_EIP];
#else
  uintptr_t ip = (uintptr_t)frame->uc_mcontext.gregs[REG_RIP];
#endif
  if (is_inside || ip < vdso_start || ip >= vdso_end) return;
  is_inside = 1;
  wait_for_go();
}

static void *be_interrupted(void *unused) {
  /* No system call, so that a signal inside of the vDSO finds it at work. */
  while (!stop) {
    long long before = told(CLOCK_MONOTONIC), last = 0;
    read_often(&last);
    check_between("the interrupted clock", before, last, told(CLOCK_MONOTONIC), 0);
  }
  return unused;
}

static void *wait_for_byte(void *unused) {
  char byte = 0;
  CHECK(read(ends[0], &byte, 1) == 1 && byte == 'x', "read: errno %d", errno);
  return unused;
}

static void find_vdso(void) {
  char line[512];
  FILE *maps = fopen("/proc/self/maps", "r");
  CHECK(maps != NULL, "maps");
  while (fgets(line, sizeof line, maps)) {
    unsigned long long start, end;
    if (strstr(line, "[vdso]") && sscanf(line, "%llx-%llx", &start, &end) == 2) {
      vdso_start = (uintptr_t)start;
      vdso_end = (uintptr_t)end;
    }
  }
  fclose(maps);
  CHECK(vdso_start == getauxval(AT_SYSINFO_EHDR), "the vDSO is at %lx", (unsigned long)vdso_start);
}

int main(int count, char **arguments) {
  static pthread_t callers[MAX_CALLERS];
  pthread_t interrupted, waiting;
  int caller_count = count > 1 ? atoi(arguments[1]) : CALLERS;
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
  find_vdso();
  CHECK(pipe(ends) == 0 && sigaction(SIGUSR1, &action, NULL) == 0, "errno %d", errno);
  for (int i = 0; i < caller_count; i++) CHECK(pthread_create(&callers[i], NULL, call_it, NULL) == 0, "pthread_create");
  CHECK(pthread_create(&interrupted, NULL, be_interrupted, NULL) == 0, "pthread_create");
  CHECK(pthread_create(&waiting, NULL, wait_for_byte, NULL) == 0, "pthread_create");
  for (int i = 0; i < PATIENCE && !is_inside; i++) {
    pthread_kill(interrupted, SIGUSR1);
    usleep(100);
  }
  CHECK(is_inside, "no signal came while the vDSO was at work");
  say("ready\n");
  wait_for_go();
  usleep(20000);
  stop = 1;
  for (int i = 0; i < caller_count; i++) pthread_join(callers[i], NULL);
  pthread_join(interrupted, NULL);
  CHECK(write(ends[1], "x", 1) == 1, "write: errno %d", errno);
  pthread_join(waiting, NULL);
  check_clocks();
  check_others();
  say("ok\n");
  return 0;
}
