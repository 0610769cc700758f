/* Children are born and end all the time, and each has a pipe of its parent's: some are born while a save lists the tree. */
#include "self-check.h"

#include <sys/wait.h>

#define ALIVE 4
#define LIFE_US 150000

static void beget(int *pipes, unsigned number) {
  pid_t child = fork();
  CHECK(child >= 0, "fork: errno %d", errno);
  if (child > 0) return;
  usleep(LIFE_US);
  close(pipes[0]);
  _exit((int)(number % 100));
}

int main(void) {
  int pipes[2];
  CHECK(pipe(pipes) == 0, "pipe: errno %d", errno);
  unsigned born = 0, alive = 0, sum = 0, ended = 0;
  say("ready\n");
  for (;;) {
    for (; alive < ALIVE && !may_go(); alive++, born++) {
      beget(pipes, born);
      usleep(LIFE_US / ALIVE);
    }
    if (alive == 0) break;
    int status;
    CHECK(wait(&status) > 0 && WIFEXITED(status), "wait: errno %d, status %x", errno, status);
    sum += (unsigned)WEXITSTATUS(status);
    ended++;
    alive--;
  }
  unsigned expected = 0;
  for (unsigned number = 0; number < born; number++) expected += number % 100;
  CHECK(ended == born && sum == expected, "%u of %u ended, with %u instead of %u", ended, born, sum, expected);
  say("ok\n");
  return 0;
}
