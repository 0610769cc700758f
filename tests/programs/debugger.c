/*
 * debugger TID ADDRESS: leaves a watchpoint for writes to four bytes in dr0 of a thread, as a debugger that goes away.
 * debugger TID: prints dr0, dr6 and dr7.
 */
#include "self-check.h"
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

static size_t place(int number) { return offsetof(struct user, u_debugreg) + (size_t)number * sizeof(long); }

int main(int count, char **arguments) {
  CHECK(count >= 2, "which thread?");
  pid_t tid = atoi(arguments[1]);
  int status;
  CHECK(ptrace(PTRACE_SEIZE, tid, 0, 0) == 0 && ptrace(PTRACE_INTERRUPT, tid, 0, 0) == 0, "seize: errno %d", errno);
  CHECK(waitpid(tid, &status, __WALL) == tid && WIFSTOPPED(status), "waitpid: errno %d", errno);
  if (count > 2) {
    CHECK(ptrace(PTRACE_POKEUSER, tid, place(0), strtoul(arguments[2], NULL, 16)) == 0, "dr0: errno %d", errno);
    /* Enabled for this thread, on writes, four bytes. */
    CHECK(ptrace(PTRACE_POKEUSER, tid, place(7), 0xd0001) == 0, "dr7: errno %d", errno);
  } else {
    printf("%lx %lx %lx\n", ptrace(PTRACE_PEEKUSER, tid, place(0), 0), ptrace(PTRACE_PEEKUSER, tid, place(6), 0),
           ptrace(PTRACE_PEEKUSER, tid, place(7), 0));
  }
  CHECK(ptrace(PTRACE_DETACH, tid, 0, 0) == 0, "detach: errno %d", errno);
  return 0;
}
