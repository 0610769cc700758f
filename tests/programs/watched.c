/*
 * Has a variable that a debugger may watch: writes to it when it is told to go on, and says how often that was a SIGTRAP. The
 * thread that writes is not the first.
 */
#include "self-check.h"
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

volatile int watched;
static volatile int traps, code;

static void on_trap(int number, siginfo_t *info, void *context) {
  (void)number;
  (void)context;
  traps++;
  code = info->si_code;
}

static void *write_it(void *unused) {
  char text[64];
  snprintf(text, sizeof text, "thread %ld watches %p\nready\n", (long)syscall(SYS_gettid), (void *)&watched);
  say(text);
  wait_for_go();
  watched = 5;
  snprintf(text, sizeof text, "traps %d, code %d\n", traps, code);
  say(text);
  for (int i = 0; i < PATIENCE && access("end", F_OK) != 0; i++) usleep(2000);
  return unused;
}

int main(void) {
  pthread_t thread;
  struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
  sigaction(SIGTRAP, &action, NULL);
  CHECK(pthread_create(&thread, NULL, write_it, NULL) == 0, "pthread_create");
  pthread_join(thread, NULL);
  say("ok\n");
  return 0;
}
