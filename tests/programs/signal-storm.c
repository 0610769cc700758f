/* A thread to which a timer of timer_create(2) sends a signal every 20 microseconds, while it waits in a system call as programs do. */
#include "self-check.h"

#include <signal.h>

static volatile unsigned signals;

static void count_signal(int signal) {
  (void)signal;
  signals++;
}

int main(void) {
  struct sigaction action = {.sa_handler = count_signal, .sa_flags = SA_RESTART};
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
  struct itimerspec often = {{0, 20000}, {0, 20000}};
  timer_t timer;
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && timer_create(CLOCK_MONOTONIC, &event, &timer) == 0, "a timer: errno %d", errno);
  CHECK(timer_settime(timer, 0, &often, NULL) == 0, "timer_settime: errno %d", errno);
  say("ready\n");
  wait_for_go();
  CHECK(signals > 0, "no signal came");
  say("ok\n");
}
