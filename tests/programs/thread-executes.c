/* A child whose last thread executes a program as soon as it may: all other threads end then, and it gets the number of the first one. */
#include "self-check.h"

#include <pthread.h>
#include <sys/wait.h>

#define THREADS 300

static volatile int started;

static void *idle(void *nothing) {
  __atomic_add_fetch(&started, 1, __ATOMIC_SEQ_CST);
  for (;;) pause();
  return nothing;
}

static void *execute(void *nothing) {
  say("ready\n");
  while (!may_go()) continue;
  execl("/proc/self/exe", "thread-executes", "executed", (char *)NULL);
  fail("execl: errno %d", errno);
  return nothing;
}

static void be_child(void) {
  pthread_attr_t small;
  pthread_t thread;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 64 * 1024);
  for (int i = 0; i < THREADS; i++) CHECK(pthread_create(&thread, &small, idle, NULL) == 0, "pthread_create");
  while (started < THREADS) usleep(1000);
  CHECK(pthread_create(&thread, &small, execute, NULL) == 0, "pthread_create");
  for (;;) pause();
}

int main(int count, char **arguments) {
  (void)arguments;
  if (count > 1) return 7;
  pid_t child = fork();
  CHECK(child >= 0, "fork: errno %d", errno);
  if (child == 0) be_child();
  int status;
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7, "the child: status %x", status);
  say("ok\n");
  return 0;
}
