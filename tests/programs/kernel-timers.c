/*
 * Timers of timer_create(2), timerfd and signalfd. What is left of a timer that runs for minutes may only have become less; a
 * timer that expires all the time goes on doing so; what has expired unread is still to be read.
 */
#include "self-check.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

#define LONG_SECONDS 500
#define SIGTICK (SIGRTMIN + 1)
#define SIGLATE (SIGRTMIN + 2)
#define SIGTHREAD (SIGRTMIN + 3)

static volatile sig_atomic_t ticks, thread_ticks, wrong_value;
static pid_t ticked_thread, thread_id;

/* The kernel's numbers: libc's timer_t is not one. */
static int make_timer(clockid_t clock, int notify, int signal, uintptr_t value, pid_t tid) {
  struct sigevent event = {.sigev_notify = notify, .sigev_signo = signal};
  event.sigev_value.sival_ptr = (void *)value;
  event._sigev_un._tid = tid;
  int id;
  CHECK(syscall(SYS_timer_create, clock, &event, &id) == 0, "timer_create: errno %d", errno);
  return id;
}

#ifdef __i386__
#define SYS_SETTIME SYS_timer_settime64
#define SYS_GETTIME SYS_timer_gettime64
#else
#define SYS_SETTIME SYS_timer_settime
#define SYS_GETTIME SYS_timer_gettime
#endif
/* As the calls above take it, also in a program of i386. */
struct setting {
  int64_t interval_sec, interval_ns, value_sec, value_ns;
};

static void set_timer(int id, struct setting setting) {
  CHECK(syscall(SYS_SETTIME, id, 0, &setting, NULL) == 0, "timer_settime %d: errno %d", id, errno);
}

static struct setting get_timer(int id) {
  struct setting setting;
  CHECK(syscall(SYS_GETTIME, id, &setting) == 0, "timer_gettime %d: errno %d", id, errno);
  return setting;
}

static void on_tick(int signal, siginfo_t *info, void *context) {
  (void)context;
  int right = info->si_code == SI_TIMER && info->si_value.sival_ptr == (void *)(uintptr_t)(signal == SIGTICK ? 0x1234 : 0x5678);
  if (!right) wrong_value = 1;
  if (signal == SIGTICK) ticks++;
  else {
    thread_ticks++;
    ticked_thread = (pid_t)syscall(SYS_gettid);
  }
}

static void *rest(void *started) {
  thread_id = (pid_t)syscall(SYS_gettid);
  pthread_barrier_wait(started);
  while (!may_go()) usleep(2000);
  while (thread_ticks < 3) usleep(2000);
  return NULL;
}

static int new_timerfd(int clock, int flags, int set_flags, struct itimerspec setting) {
  int fd = timerfd_create(clock, flags);
  CHECK(fd >= 0 && timerfd_settime(fd, set_flags, &setting, NULL) == 0, "timerfd: errno %d", errno);
  return fd;
}

static int is_readable(int fd) {
  struct pollfd poller = {.fd = fd, .events = POLLIN};
  return poll(&poller, 1, 0) == 1;
}

static void check_left(const char *what, int64_t left) {
  CHECK(left > 0 && left <= LONG_SECONDS, "%s: %ld s are left of %d", what, (long)left, LONG_SECONDS);
}

int main(void) {
  sigset_t late;
  sigemptyset(&late);
  sigaddset(&late, SIGLATE);
  sigaddset(&late, SIGUSR2);
  sigprocmask(SIG_BLOCK, &late, NULL);
  struct sigaction action = {.sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_RESTART};
  sigaction(SIGTICK, &action, NULL);
  sigaction(SIGTHREAD, &action, NULL);
  pthread_barrier_t started;
  pthread_barrier_init(&started, NULL, 2);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, rest, &started) == 0, "pthread_create");
  pthread_barrier_wait(&started);

  int long_timer = make_timer(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGUSR1, 1, 0);
  for (int i = 0; i < 5; i++) syscall(SYS_timer_delete, make_timer(CLOCK_MONOTONIC, SIGEV_NONE, 0, 0, 0));
  int silent = make_timer(CLOCK_BOOTTIME, SIGEV_NONE, 0, 0, 0);
  int unarmed = make_timer(CLOCK_REALTIME, SIGEV_SIGNAL, SIGUSR1, 2, 0);
  int of_cpu = make_timer(CLOCK_PROCESS_CPUTIME_ID, SIGEV_SIGNAL, SIGUSR1, 3, 0);
  int ticking = make_timer(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGTICK, 0x1234, 0);
  int of_thread = make_timer(CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGTHREAD, 0x5678, thread_id);
  int expired = make_timer(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGLATE, 0x9abc, 0);
  set_timer(long_timer, (struct setting){7, 5, LONG_SECONDS, 0});
  set_timer(silent, (struct setting){0, 0, LONG_SECONDS, 0});
  set_timer(of_cpu, (struct setting){0, 0, LONG_SECONDS, 0});
  set_timer(ticking, (struct setting){0, 20000000, 0, 20000000});
  set_timer(of_thread, (struct setting){0, 30000000, 0, 30000000});
  set_timer(expired, (struct setting){0, 0, 0, 1});

  struct itimerspec far = {.it_value.tv_sec = LONG_SECONDS, .it_interval = {3, 4}}, soon = {.it_value.tv_nsec = 1}, none = {0};
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  struct itimerspec date = {.it_value = {now.tv_sec + LONG_SECONDS, 0}};
  int far_fd = new_timerfd(CLOCK_MONOTONIC, TFD_NONBLOCK, 0, far);
  int date_fd = new_timerfd(CLOCK_REALTIME, 0, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, date);
  int expired_fd = new_timerfd(CLOCK_BOOTTIME, 0, 0, soon);
  int unarmed_fd = new_timerfd(CLOCK_MONOTONIC, TFD_NONBLOCK, 0, none);
  int ticking_fd = new_timerfd(CLOCK_MONOTONIC, 0, 0, (struct itimerspec){{0, 10000000}, {0, 10000000}});
  int signal_fd = signalfd(-1, &late, SFD_NONBLOCK | SFD_CLOEXEC);
  CHECK(signal_fd >= 0, "signalfd: errno %d", errno);
  kill(getpid(), SIGUSR2);
  while (!is_readable(expired_fd) || !is_readable(ticking_fd)) usleep(1000);

  say("ready\n");
  wait_for_go();

  struct setting left = get_timer(long_timer);
  check_left("a timer", left.value_sec);
  CHECK(left.interval_sec == 7 && left.interval_ns == 5, "its interval");
  check_left("a silent timer", get_timer(silent).value_sec);
  check_left("a timer of the process's own time", get_timer(of_cpu).value_sec);
  CHECK(get_timer(unarmed).value_sec == 0 && get_timer(unarmed).value_ns == 0, "a timer that was not armed");
  CHECK(get_timer(expired).value_sec == 0 && get_timer(expired).value_ns == 0, "a timer that has expired");
  int before = ticks;
  while (ticks < before + 3) usleep(1000);
  pthread_join(thread, NULL);
  CHECK(ticked_thread == thread_id, "the signal of a thread went to %d", ticked_thread);
  CHECK(!wrong_value, "a signal of a timer had another value");
  CHECK(make_timer(CLOCK_MONOTONIC, SIGEV_NONE, 0, 0, 0) != long_timer, "a number was taken twice");

  struct itimerspec state;
  CHECK(timerfd_gettime(far_fd, &state) == 0, "timerfd_gettime");
  check_left("a timerfd", state.it_value.tv_sec);
  CHECK(state.it_interval.tv_sec == 3 && state.it_interval.tv_nsec == 4, "the interval of a timerfd");
  CHECK(fcntl(far_fd, F_GETFL) & O_NONBLOCK, "the flags of a timerfd");
  CHECK(timerfd_gettime(date_fd, &state) == 0, "timerfd_gettime");
  clock_gettime(CLOCK_REALTIME, &now);
  int64_t until = now.tv_sec + state.it_value.tv_sec + 1 - date.it_value.tv_sec;
  CHECK(until >= -1 && until <= 1, "a timerfd that was set to a time is off by %ld s", (long)until);
  uint64_t count;
  CHECK(read(expired_fd, &count, 8) == 8 && count == 1, "a timerfd that has expired once says %lu", (unsigned long)count);
  CHECK(!is_readable(expired_fd), "a timerfd that has expired did it again");
  CHECK(read(unarmed_fd, &count, 8) == -1 && errno == EAGAIN, "a timerfd that was not armed: errno %d", errno);
  CHECK(read(ticking_fd, &count, 8) == 8 && count > 0, "a timerfd with an interval");
  CHECK(read(ticking_fd, &count, 8) == 8 && count > 0, "a timerfd with an interval, again");

  struct signalfd_siginfo info[4];
  ssize_t bytes = read(signal_fd, info, sizeof info);
  CHECK(bytes == 2 * sizeof *info, "a signalfd has %zd bytes, errno %d", bytes, errno);
  CHECK(info[0].ssi_signo == SIGUSR2 && (int)info[1].ssi_signo == SIGLATE, "signals %u and %u", info[0].ssi_signo, info[1].ssi_signo);
  CHECK(info[1].ssi_code == SI_TIMER && (info[1].ssi_ptr & 0xffffffff) == 0x9abc, "the value of a timer's signal");
  say("ok\n");
  return 0;
}
