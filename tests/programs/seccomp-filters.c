/*
 * A process whose threads run under different seccomp filters: each knows what its filters answer, asks all of them, and wants the same afterwards.
 * Filters are as sandboxes have them: some calls are answered with an error, some by a signal, in one case by the newer of two.
 */
#include "self-check.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* Numbers that no kernel has: allowed, they give ENOSYS. */
#define FIRST 1500
#define SECOND 1501
#define OWN 1502
#define LOGGED 1503
#define TRAPPED 1504
#define LAST 1505

static void install(unsigned flags, int number, unsigned answer) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, answer),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program) == 0, "seccomp: errno %d", errno);
}

/* The answer depends on an argument too: 1 gives `one`, all else `other`. */
static void install_by_argument(int number, unsigned one, unsigned other) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, one),
      BPF_STMT(BPF_RET | BPF_K, other),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0, "seccomp: errno %d", errno);
}

static __thread volatile sig_atomic_t trapped;

static void trap(int number, siginfo_t *info, void *context) {
  (void)number, (void)context;
  trapped = info->si_errno;
}

static int answer(int number, long argument) {
  errno = 0;
  trapped = 0;
  syscall(number, argument);
  return trapped != 0 ? 10000 + trapped : errno;
}

/* What all numbers give to this thread. */
static void ask(int answers[12]) {
  for (int i = 0; i < 12; i++) answers[i] = answer(FIRST + i / 2, i % 2);
}

static void compare(const char *who, const int before[12]) {
  int now[12];
  ask(now);
  for (int i = 0; i < 12; i++) {
    CHECK(now[i] == before[i], "%s: call %d (%d) gave %d and gives %d", who, FIRST + i / 2, i % 2, before[i], now[i]);
  }
}

/* What status says of the calling thread. */
static int status_of(const char *key) {
  char path[64], line[256];
  snprintf(path, sizeof path, "/proc/self/task/%ld/status", syscall(SYS_gettid));
  FILE *file = fopen(path, "r");
  CHECK(file != NULL, "%s: errno %d", path, errno);
  int value = -1;
  while (fgets(line, sizeof line, file) != NULL) {
    if (strncmp(line, key, strlen(key)) == 0) value = atoi(line + strlen(key));
  }
  fclose(file);
  return value;
}

static pthread_barrier_t started, compared;
static volatile int synchronised;

struct thread {
  const char *name;
  void (*filters)(void);
  int count;
};

static void none(void) {}
static void one_more(void) { install(0, OWN, SECCOMP_RET_ERRNO | 77); }
/* Of two answers the stricter counts, and that is the newer one here. */
static void stricter(void) {
  install(0, OWN, SECCOMP_RET_ERRNO | 78);
  install(SECCOMP_FILTER_FLAG_LOG, OWN, SECCOMP_RET_TRAP | 79);
  install_by_argument(LAST, SECCOMP_RET_ERRNO | 80, SECCOMP_RET_TRACE);
}

static void live(const struct thread *thread) {
  thread->filters();
  int before[12];
  ask(before);
  int privileges = status_of("NoNewPrivs:");
  CHECK(status_of("Seccomp_filters:") == thread->count, "%s has %d filters", thread->name, status_of("Seccomp_filters:"));
  pthread_barrier_wait(&started);
  wait_for_go();
  compare(thread->name, before);
  CHECK(status_of("Seccomp_filters:") == thread->count, "%s has %d filters", thread->name, status_of("Seccomp_filters:"));
  CHECK(status_of("NoNewPrivs:") == privileges, "%s: no_new_privs is no more %d", thread->name, privileges);
}

static void *with_more(void *given) {
  live(given);
  return given;
}

static void nap(void) {
  struct timespec moment = {0, 2000000};
  nanosleep(&moment, NULL);
}

/* It shares all of its filters with the leader, so that one more can be given to both at once (SECCOMP_FILTER_FLAG_TSYNC). */
static void *with_common(void *given) {
  live(given);
  pthread_barrier_wait(&compared);
  for (int i = 0; i < PATIENCE && !synchronised; i++) nap();
  CHECK(answer(LAST, 0) == 82, "a filter for all threads has not reached this one");
  return given;
}

struct child {
  pid_t pid;
  int ends[2];
};

/*
 * A process of its own with one more filter, either with no_new_privs or without the right to install another one, says that it is ready, and waits to
 * be told to go on: who is another user may not look into the folder.
 */
static struct child be_born(int with_privileges) {
  struct child child;
  int told[2];
  char byte = 0;
  CHECK(pipe(child.ends) == 0 && pipe(told) == 0, "pipe");
  child.pid = fork();
  if (child.pid != 0) {
    close(told[1]);
    CHECK(read(told[0], &byte, 1) == 1, "the child has not told that it is ready");
    close(told[0]);
    close(child.ends[0]);
    return child;
  }
  close(told[0]);
  if (!with_privileges) CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
  install(0, LAST, SECCOMP_RET_ERRNO | 81);
  if (with_privileges) CHECK(setresuid(1234, 1234, 1234) == 0, "setresuid: errno %d", errno);
  int before[12];
  ask(before);
  CHECK(write(told[1], &byte, 1) == 1, "write");
  close(told[1]);
  CHECK(read(child.ends[0], &byte, 1) == 1, "the child has not been told to go on");
  compare("the child", before);
  CHECK(status_of("NoNewPrivs:") == !with_privileges, "no_new_privs of the child has changed");
  CHECK(!with_privileges || (setresuid(0, 0, 0) == -1 && errno == EPERM), "the child may be root again");
  _exit(0);
}

static void let_end(struct child child) {
  int status;
  CHECK(write(child.ends[1], "", 1) == 1, "write");
  CHECK(waitpid(child.pid, &status, 0) == child.pid && status == 0, "the child ended with %x", status);
}

int main(void) {
  struct sigaction action = {.sa_sigaction = trap, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGSYS, &action, NULL) == 0, "sigaction");
  /* With the right to do so no_new_privs need not be set: it must not be so afterwards either. */
  install(0, FIRST, SECCOMP_RET_ERRNO | 71);
  install_by_argument(SECOND, SECCOMP_RET_ERRNO | 72, SECCOMP_RET_TRAP | 73);
  install(SECCOMP_FILTER_FLAG_LOG, LOGGED, SECCOMP_RET_ERRNO | 74);
  install(0, FIRST, SECCOMP_RET_ERRNO | 75);
  int before[12];
  ask(before);
  CHECK(before[0] == 75 && before[2] == 10000 + 73 && before[3] == 72, "the filters answer otherwise than they should");
  struct child child = be_born(0), other = be_born(1);
  static const struct thread threads[] = {
      {"a thread with the common filters", none, 4},
      {"a thread with one more", one_more, 5},
      {"a thread with three more", stricter, 7},
  };
  pthread_barrier_init(&started, NULL, 4);
  pthread_barrier_init(&compared, NULL, 2);
  pthread_t ids[3];
  for (int i = 0; i < 3; i++) {
    void *(*run)(void *) = i == 0 ? with_common : with_more;
    CHECK(pthread_create(&ids[i], NULL, run, (void *)&threads[i]) == 0, "pthread_create");
  }
  pthread_barrier_wait(&started);
  say("ready\n");
  wait_for_go();
  compare("the leader", before);
  CHECK(status_of("NoNewPrivs:") == 0, "the leader has got no_new_privs");
  for (int i = 1; i < 3; i++) CHECK(pthread_join(ids[i], NULL) == 0, "pthread_join");
  let_end(child);
  let_end(other);
  pthread_barrier_wait(&compared);
  install(SECCOMP_FILTER_FLAG_TSYNC, LAST, SECCOMP_RET_ERRNO | 82);
  synchronised = 1;
  CHECK(pthread_join(ids[0], NULL) == 0, "pthread_join");
  say("ok\n");
  return 0;
}
