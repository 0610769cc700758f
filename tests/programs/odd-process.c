/*
 * A process that has something which cannot be saved: `odd-process WHAT`. It says ready and a number (that of the other
 * process where there is one, else 0), or "skip" and why where the kernel or the processor has no such thing.
 */
#include "self-check.h"
#include <sched.h>
#include <signal.h>
#include <sys/io.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#ifndef PR_SYS_DISPATCH_ON
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_OFF 0
#define PR_SYS_DISPATCH_ON 1
#endif

static const char *what;
static char stack[65536] __attribute__((aligned(16)));
static volatile char dispatch;
static pid_t other;

static int is(const char *name) { return strcmp(what, name) == 0; }

static int need(int done, const char *call) {
  if (done) return 1;
  char text[256];
  snprintf(text, sizeof text, "skip %s: %s\n", call, strerror(errno));
  say(text);
  _exit(0);
}

static void publish(pid_t pid) {
  char text[32];
  int file = open("other", O_WRONLY | O_CREAT, 0600);
  CHECK(file >= 0 && write(file, text, (size_t)snprintf(text, sizeof text, "%d\n", pid)) > 0, "other");
  close(file);
}

static int wait_here(void *nothing) {
  (void)nothing;
  other = getpid();
  wait_for_go();
  _exit(0);
}

/* A process that is no child of ours, because the one between us has ended; it shares what the flag says. */
static int between(void *flag) {
  static char lower[65536] __attribute__((aligned(16)));
  pid_t pid = clone(wait_here, lower + sizeof lower, (int)(long)flag | SIGCHLD, NULL);
  publish(pid);
  _exit(pid < 0);
}

static void share(int flag) {
  int status = 0;
  pid_t pid = clone(between, stack + sizeof stack, flag | SIGCHLD, (void *)(long)flag);
  CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "clone: errno %d", errno);
}

static pid_t stranger(void) {
  int status = 0;
  pid_t pid = fork();
  if (pid == 0) {
    pid = fork();
    if (pid == 0) wait_here(NULL);
    publish(pid);
    _exit(0);
  }
  CHECK(waitpid(pid, &status, 0) == pid, "waitpid");
  FILE *file = fopen("other", "r");
  CHECK(file && fscanf(file, "%d", &pid) == 1, "other");
  fclose(file);
  return pid;
}

static void set_up(void) {
  if (is("memory")) share(CLONE_VM);
  else if (is("descriptors")) share(CLONE_FILES);
  else if (is("directory")) share(CLONE_FS);
  else if (is("tracer")) need(ptrace(PTRACE_SEIZE, stranger(), 0, 0) == 0, "ptrace");
  else if (is("namespace")) need(unshare(CLONE_NEWUTS) == 0, "unshare");
  else if (is("root")) {
    mkdir("root", 0700);
    need(chroot("root") == 0, "chroot");
  } else if (is("ports")) need(ioperm(0x80, 1, 1) == 0, "ioperm");
  else if (is("dispatch")) need(prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, 0UL, 0UL, &dispatch) == 0, "user dispatch");
  else if (is("executable")) CHECK(unlink("program") == 0, "unlink");
  else fail("usage");
}

int main(int count, char **arguments) {
  CHECK(count == 2, "usage");
  what = arguments[1];
  int go = open(".", O_RDONLY | O_DIRECTORY);
  set_up();
  say("ready\n");
  struct timespec moment = {0, 2000000};
  for (int i = 0; i < PATIENCE && faccessat(go, "go", F_OK, 0) != 0; i++) nanosleep(&moment, NULL);
  if (is("dispatch")) CHECK(prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, 0) == 0, "dispatch off");
  if (is("tracer")) {
    FILE *file = fopen("other", "r");
    CHECK(file && fscanf(file, "%d", &other) == 1, "other");
    CHECK(ptrace(PTRACE_INTERRUPT, other, 0, 0) == 0, "it is not traced any more");
  }
  say("ok\n");
  return 0;
}
