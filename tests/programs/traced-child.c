/* Starts a child and traces it; the child's pid is printed. */
#include "self-check.h"
#include <sys/ptrace.h>
#include <sys/wait.h>

int main(void) {
  pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < PATIENCE && !may_go(); i++) usleep(2000);
    _exit(0);
  }
  CHECK(ptrace(PTRACE_SEIZE, child, 0, 0) == 0, "PTRACE_SEIZE: errno %d", errno);
  char text[32];
  snprintf(text, sizeof text, "ready %d\n", child);
  say(text);
  int status;
  CHECK(waitpid(child, &status, __WALL) == child, "waitpid");
  say("ok\n");
  return 0;
}
