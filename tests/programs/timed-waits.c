/*
 * Threads that each wait in one call with a relative timeout. None may return before its time, or with another answer than that
 * the time is over. How long each took is written to standard output; whoever saved it meanwhile knows how long it may have been.
 */
#include "self-check.h"
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <sys/time.h>

static int quiet[2], interest, semaphores;
static int word;
static int seconds = 5;
static struct timespec wanted;
static pthread_barrier_t started;

static int timed_out(int result) { return result == -1 && errno == ETIMEDOUT; }
static int is_again(int result) { return result == -1 && errno == EAGAIN; }

static int by_nanosleep(void) { return nanosleep(&wanted, NULL) == 0; }
static int by_nanosleep_with_rest(void) {
  struct timespec rest = {0, 0};
  return nanosleep(&wanted, &rest) == 0;
}
static int by_clock_nanosleep(void) { return clock_nanosleep(CLOCK_BOOTTIME, 0, &wanted, NULL) == 0; }
static int by_absolute_sleep(void) {
  struct timespec end;
  clock_gettime(CLOCK_MONOTONIC, &end);
  end.tv_sec += seconds;
  return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) == 0;
}
static int by_poll(void) {
  struct pollfd entry = {quiet[0], POLLIN, 0};
  return poll(&entry, 1, seconds * 1000) == 0;
}
static int by_ppoll(void) {
  struct pollfd entry = {quiet[0], POLLIN, 0};
  return ppoll(&entry, 1, &wanted, NULL) == 0;
}
static int by_select(void) {
  fd_set set;
  struct timeval limit = {seconds, 0};
  FD_ZERO(&set);
  FD_SET(quiet[0], &set);
  return select(quiet[0] + 1, &set, NULL, NULL, &limit) == 0;
}
static int by_epoll_wait(void) {
  struct epoll_event event;
  return epoll_wait(interest, &event, 1, seconds * 1000) == 0;
}
static int by_futex(void) { return timed_out((int)syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &wanted, NULL, 0)); }
static int by_sigtimedwait(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  return is_again(sigtimedwait(&set, NULL, &wanted));
}
static int by_semtimedop(void) {
  struct sembuf down = {0, -1, 0};
  return is_again(semtimedop(semaphores, &down, 1, &wanted));
}

/* By name, in the order of the output. */
static const struct { const char *name; int (*wait)(void); } waits[] = {
    {"nanosleep", by_nanosleep},     {"nanosleep-with-rest", by_nanosleep_with_rest}, {"clock_nanosleep", by_clock_nanosleep},
    {"absolute-sleep", by_absolute_sleep}, {"poll", by_poll}, {"ppoll", by_ppoll}, {"select", by_select},
    {"epoll_wait", by_epoll_wait},   {"futex", by_futex}, {"sigtimedwait", by_sigtimedwait}, {"semtimedop", by_semtimedop},
};
enum { WAITS = sizeof waits / sizeof *waits };
static double took[WAITS];

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void *run(void *number) {
  long me = (long)number;
  pthread_barrier_wait(&started);
  double begun = now();
  CHECK(waits[me].wait(), "%s did not end by its time, errno %d", waits[me].name, errno);
  took[me] = now() - begun;
  CHECK(took[me] >= seconds, "%s ended after %f s", waits[me].name, took[me]);
  return NULL;
}

int main(int count, char **arguments) {
  if (count > 1) seconds = atoi(arguments[1]);
  wanted.tv_sec = seconds;
  pthread_t threads[WAITS];
  sigset_t blocked;
  struct epoll_event watched = {.events = EPOLLIN};
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR2);
  sigprocmask(SIG_BLOCK, &blocked, NULL);
  CHECK(pipe(quiet) == 0 && (interest = epoll_create1(0)) >= 0, "pipe, epoll: errno %d", errno);
  CHECK(epoll_ctl(interest, EPOLL_CTL_ADD, quiet[0], &watched) == 0, "epoll_ctl: errno %d", errno);
  CHECK((semaphores = semget(IPC_PRIVATE, 1, 0600)) >= 0, "semget: errno %d", errno);
  pthread_barrier_init(&started, NULL, WAITS + 1);
  for (long i = 0; i < WAITS; i++) CHECK(pthread_create(&threads[i], NULL, run, (void *)i) == 0, "pthread_create");
  pthread_barrier_wait(&started);
  say("ready\n");
  for (int i = 0; i < WAITS; i++) pthread_join(threads[i], NULL);
  semctl(semaphores, 0, IPC_RMID);
  for (int i = 0; i < WAITS; i++) {
    char line[64];
    snprintf(line, sizeof line, "%s %.3f\n", waits[i].name, took[i]);
    say(line);
  }
  say("ok\n");
  return 0;
}
