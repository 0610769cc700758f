/*
 * A program in a sandbox, with two threads that go on counting: `sandboxed errors` may do what it does itself, gives back what it is given, and gets
 * EPERM for all else; `sandboxed kills NUMBER...` and `sandboxed traps NUMBER...` may make any calls but these; `sandboxed asks` has a filter
 * with an answer for a supervisor; the child of `sandboxed strict` is in strict mode.
 */
#include "self-check.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define MOST 64

static struct sock_filter code[2 * MOST + 2];
static unsigned short length;

static void add(struct sock_filter instruction) { code[length++] = instruction; }

static void begin(void) { add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))); }

static void answer(int number, unsigned with) {
  add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1));
  add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, with));
}

static void install(unsigned otherwise) {
  add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, otherwise));
  struct sock_fprog program = {length, code};
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
  CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0, "seccomp: errno %d", errno);
}

static void allow_little(void) {
  static const int allowed[] = {
      /* What it does itself. */
      SYS_access, SYS_clock_nanosleep, SYS_restart_syscall, SYS_write, SYS_futex, SYS_exit, SYS_exit_group, SYS_madvise,
      SYS_nanosleep, SYS_rt_sigreturn,
      /* Without these nobody gets out of it again. */
      SYS_rt_sigprocmask, SYS_close, SYS_munmap, SYS_wait4,
  };
  begin();
  for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++) answer(allowed[i], SECCOMP_RET_ALLOW);
  install(SECCOMP_RET_ERRNO | EPERM);
  CHECK(syscall(SYS_getppid) == -1 && errno == EPERM, "the sandbox is open");
}

static void forbid(char **numbers, unsigned with) {
  begin();
  for (int i = 0; numbers[i] != NULL; i++) answer(atoi(numbers[i]), with);
  install(SECCOMP_RET_ALLOW);
}

static volatile int go;
/* What the library does in a new thread is not for the sandbox. */
static pthread_barrier_t running;

static void *count(void *unused) {
  volatile unsigned long *counter = unused, before = *counter;
  pthread_barrier_wait(&running);
  while (!go) {
    unsigned long next = before + 1;
    *counter = next;
    CHECK(*counter == next, "the counter has jumped");
    before = next;
    /* So that others get something done. */
    struct timespec moment = {0, 1000000};
    nanosleep(&moment, NULL);
  }
  return NULL;
}

/* Only read, write and exit are left to the child. */
static int be_strict(void) {
  int ends[2];
  CHECK(pipe(ends) == 0, "pipe");
  pid_t child = fork();
  if (child == 0) {
    char byte;
    close(ends[1]);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) syscall(SYS_exit, 2);
    syscall(SYS_exit, read(ends[0], &byte, 1) == 1 ? 0 : 3);
  }
  close(ends[0]);
  char path[64], line[4096];
  snprintf(path, sizeof path, "/proc/%d/status", child);
  for (int i = 0, strict = 0; i < PATIENCE && !strict; i++) {
    FILE *file = fopen(path, "r");
    CHECK(file != NULL, "the child has ended");
    while (fgets(line, sizeof line, file) != NULL) strict |= strcmp(line, "Seccomp:\t1\n") == 0;
    fclose(file);
  }
  say("ready\n");
  wait_for_go();
  CHECK(write(ends[1], "", 1) == 1, "write");
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0, "the child ended with %x", status);
  say("ok\n");
  return 0;
}

int main(int arguments, char **given) {
  CHECK(arguments > 1, "usage");
  if (strcmp(given[1], "strict") == 0) return be_strict();
  static unsigned long counters[2];
  pthread_barrier_init(&running, NULL, 3);
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, count, &counters[i]) == 0, "pthread_create");
  pthread_barrier_wait(&running);
  if (strcmp(given[1], "errors") == 0) allow_little();
  else if (strcmp(given[1], "kills") == 0) forbid(given + 2, SECCOMP_RET_KILL_PROCESS);
  else if (strcmp(given[1], "traps") == 0) forbid(given + 2, SECCOMP_RET_TRAP);
  else if (strcmp(given[1], "asks") == 0) forbid((char *[]){"1500", NULL}, SECCOMP_RET_USER_NOTIF);
  else fail("usage");
  say("ready\n");
  wait_for_go();
  go = 1;
  for (int i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0, "pthread_join");
  say("ok\n");
  _exit(0);
}
