/* What belongs to each thread: twelve of them, all different. */
#include "self-check.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <asm/prctl.h>

enum { THREADS = 12 };
static __thread long own_value;
static pthread_mutex_t robust;
static pthread_barrier_t started, finished;

static void set_up(long me, stack_t *stack) {
  char name[16];
  snprintf(name, sizeof name, "thread-%ld", me);
  prctl(PR_SET_NAME, name);
  CHECK(setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), (int)me) == 0, "setpriority");
  struct sched_param parameter = {0};
  int policy = me % 3 == 0 ? SCHED_BATCH : me % 3 == 1 ? SCHED_IDLE : SCHED_OTHER;
  CHECK(sched_setscheduler(0, policy, &parameter) == 0, "sched_setscheduler");
  cpu_set_t cpus;
  sched_getaffinity(0, sizeof cpus, &cpus);
  if (CPU_COUNT(&cpus) > 1) {
    CPU_ZERO(&cpus);
    CPU_SET((size_t)(me % 2), &cpus);
    CHECK(sched_setaffinity(0, sizeof cpus, &cpus) == 0, "sched_setaffinity");
  }
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, (int)(SIGRTMIN + me));
  pthread_sigmask(SIG_SETMASK, &mask, NULL);
  pthread_sigqueue(pthread_self(), (int)(SIGRTMIN + me), (union sigval){.sival_int = (int)me * 11});
  stack->ss_size = 65536;
  stack->ss_sp = malloc(stack->ss_size);
  CHECK(sigaltstack(stack, NULL) == 0, "sigaltstack");
  prctl(PR_SET_TIMERSLACK, 100000 + me);
  own_value = me * 1000;
#ifdef __x86_64__
  if (me == 5) CHECK(syscall(SYS_arch_prctl, ARCH_SET_GS, 0x123450000UL) == 0, "ARCH_SET_GS");
#endif
  if (me == 7) CHECK(pthread_mutex_lock(&robust) == 0, "pthread_mutex_lock");
}

static void check(long me, const stack_t *stack, pid_t tid, unsigned long fs_base) {
  char name[17] = "", expected[16];
  snprintf(expected, sizeof expected, "thread-%ld", me);
  prctl(PR_GET_NAME, name);
  CHECK(strcmp(name, expected) == 0, "thread %ld is called %s", me, name);
  CHECK(syscall(SYS_gettid) == tid, "thread %ld has another tid", me);
  CHECK(getpriority(PRIO_PROCESS, (id_t)tid) == me, "thread %ld has nice value %d", me, getpriority(PRIO_PROCESS, (id_t)tid));
  int policy = sched_getscheduler(0);
  CHECK(policy == (me % 3 == 0 ? SCHED_BATCH : me % 3 == 1 ? SCHED_IDLE : SCHED_OTHER), "thread %ld has policy %d", me, policy);
  cpu_set_t cpus;
  sched_getaffinity(0, sizeof cpus, &cpus);
  CHECK(sysconf(_SC_NPROCESSORS_ONLN) < 2 || (CPU_COUNT(&cpus) == 1 && CPU_ISSET((size_t)(me % 2), &cpus)), "thread %ld's affinity", me);
  sigset_t mask, pending;
  pthread_sigmask(SIG_SETMASK, NULL, &mask);
  for (int number = 1; number <= SIGRTMAX; number++) {
    if (number == 32 || number == 33) continue;
    CHECK(sigismember(&mask, number) == (number == SIGRTMIN + me), "signal %d in the mask of thread %ld", number, me);
  }
  sigpending(&pending);
  CHECK(sigismember(&pending, (int)(SIGRTMIN + me)), "thread %ld has lost its signal", me);
  siginfo_t info;
  CHECK(sigwaitinfo(&mask, &info) == SIGRTMIN + me && info.si_value.sival_int == me * 11, "the signal of thread %ld", me);
  stack_t now;
  sigaltstack(NULL, &now);
  CHECK(now.ss_sp == stack->ss_sp && now.ss_size == stack->ss_size && now.ss_flags == 0, "the signal stack of thread %ld", me);
  CHECK(prctl(PR_GET_TIMERSLACK) == 100000 + me, "the timer slack of thread %ld is %d", me, prctl(PR_GET_TIMERSLACK));
  CHECK(own_value == me * 1000, "thread-local storage of thread %ld", me);
#ifdef __x86_64__
  unsigned long base = 0;
  syscall(SYS_arch_prctl, ARCH_GET_FS, &base);
  CHECK(base == fs_base, "the fs base of thread %ld", me);
  syscall(SYS_arch_prctl, ARCH_GET_GS, &base);
  CHECK(base == (me == 5 ? 0x123450000UL : 0), "the gs base of thread %ld is %lx", me, base);
#else
  (void)fs_base;
#endif
  unsigned cpu = 99, expected_cpu = (unsigned)(me % 2);
  for (int i = 0; i < 1000; i++) {
    cpu = (unsigned)sched_getcpu();
    CHECK(CPU_COUNT(&cpus) > 1 || cpu == expected_cpu, "thread %ld runs on CPU %u", me, cpu);
  }
}

static void *run(void *number) {
  long me = (long)number;
  stack_t stack = {0};
  unsigned long fs_base = 0;
  set_up(me, &stack);
  pid_t tid = (pid_t)syscall(SYS_gettid);
#ifdef __x86_64__
  syscall(SYS_arch_prctl, ARCH_GET_FS, &fs_base);
#endif
  pthread_barrier_wait(&started);
  wait_for_go();
  check(me, &stack, tid, fs_base);
  pthread_barrier_wait(&finished);
  /* Number 7 ends with the robust mutex in its hands. */
  return (void *)(me + 40);
}

int main(void) {
  pthread_t threads[THREADS];
  pthread_mutexattr_t attribute;
  pthread_mutexattr_init(&attribute);
  pthread_mutexattr_setrobust(&attribute, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&robust, &attribute);
  pthread_barrier_init(&started, NULL, THREADS + 1);
  pthread_barrier_init(&finished, NULL, THREADS);
  for (long i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, run, (void *)i) == 0, "pthread_create");
  pthread_barrier_wait(&started);
  say("ready\n");
  for (long i = 0; i < THREADS; i++) {
    void *result;
    CHECK(pthread_join(threads[i], &result) == 0 && (long)result == i + 40, "pthread_join of thread %ld", i);
  }
  CHECK(pthread_mutex_lock(&robust) == EOWNERDEAD, "the robust mutex does not know that its owner is dead");
  say("ok\n");
  return 0;
}
