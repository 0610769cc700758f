/* Signals that came when the queue was full: the kernel keeps their numbers and drops their siginfo. */
#include "self-check.h"
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static pthread_barrier_t started;
static sigset_t all;

/* The fields that the kernel makes up for a signal without a siginfo. */
static void expect(int number) {
  siginfo_t info;
  struct timespec nothing = {0, 0};
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, number);
  memset(&info, 0xff, sizeof info);
  CHECK(sigtimedwait(&one, &info, &nothing) == number, "signal %d does not wait: errno %d", number, errno);
  CHECK(info.si_code == SI_USER && info.si_pid == 0 && info.si_uid == 0, "signal %d has code %d, pid %d", number, info.si_code, info.si_pid);
  CHECK(sigtimedwait(&one, &info, &nothing) == -1 && errno == EAGAIN, "signal %d waits twice", number);
}

/* Its own queue: real-time signals are refused there when it is full, others only lose their siginfo. */
static void *second(void *nothing) {
  CHECK(pthread_sigqueue(pthread_self(), SIGUSR2, (union sigval){.sival_int = 3}) == 0, "pthread_sigqueue");
  pthread_barrier_wait(&started);
  wait_for_go();
  expect(SIGUSR2);
  return nothing;
}

int main(void) {
  pthread_t thread;
  struct rlimit none;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, NULL);
  CHECK(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 7}) == 0, "sigqueue");
  getrlimit(RLIMIT_SIGPENDING, &none);
  none.rlim_cur = 0;
  CHECK(setrlimit(RLIMIT_SIGPENDING, &none) == 0, "setrlimit");
  CHECK(kill(getpid(), SIGRTMIN + 2) == 0, "kill");
  CHECK(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 5}) == 0, "sigqueue: errno %d", errno);
  pthread_barrier_init(&started, NULL, 2);
  CHECK(pthread_create(&thread, NULL, second, NULL) == 0, "pthread_create");
  pthread_barrier_wait(&started);
  say("ready\n");
  wait_for_go();
  CHECK(pthread_join(thread, NULL) == 0, "pthread_join");
  expect(SIGRTMIN + 2);
  expect(SIGUSR1);
  siginfo_t info;
  CHECK(sigwaitinfo(&all, &info) == SIGRTMIN + 1 && info.si_value.sival_int == 7, "the signal with a siginfo");
  say("ok\n");
  return 0;
}
