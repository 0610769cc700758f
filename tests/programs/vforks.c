/*
 * A program that is nearly always in vfork(2): `vforks often`, in two threads whose children take 20 ms each; or `vforks held`, with a child
 * that goes on when it is told to. Each child must end as it should, and be waited for.
 */
#include "self-check.h"
#include <pthread.h>
#include <sys/wait.h>

static volatile int over;

static int child_ends_with(int status, int hold) {
  int found = 0;
  pid_t pid = vfork();
  if (pid == 0) {
    if (hold) {
      say("ready\n");
      wait_for_go();
    } else usleep(20000);
    _exit(status);
  }
  CHECK(pid > 0, "vfork: errno %d", errno);
  CHECK(waitpid(pid, &found, 0) == pid && WIFEXITED(found), "waitpid: errno %d", errno);
  return WEXITSTATUS(found);
}

static void *often(void *nothing) {
  for (int i = 0; !over; i++) {
    int status = child_ends_with(i % 100, 0);
    CHECK(status == i % 100, "child %d ended with %d", i, status);
  }
  return nothing;
}

int main(int count, char **arguments) {
  CHECK(count == 2, "usage");
  if (strcmp(arguments[1], "held") == 0) CHECK(child_ends_with(7, 1) == 7, "the child ended otherwise");
  else {
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, often, NULL) == 0, "pthread_create");
    say("ready\n");
    wait_for_go();
    over = 1;
    for (int i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0, "pthread_join");
  }
  say("ok\n");
  return 0;
}
