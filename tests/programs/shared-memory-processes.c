/*
 * Processes that share one memory (CLONE_VM without CLONE_THREAD), each with its own stack, with and without what they do on signals, the descriptor table
 * and the directory: children, a grandchild, a sibling whose parent has another memory, one of them with a thread, one that has ended. Who shares what is
 * asked by kcmp(2) and shown by what each of them does. Their futexes are private ones: those of one memory.
 */
#include "self-check.h"
#include <linux/futex.h>
#include <linux/kcmp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { ROOT, PLAIN, SIGNALS, MIXED, GRAND, COPY, SIBLING, PROCESSES, ENDED = PROCESSES, THREAD, STACKS };

/* By number of its own: what is equal is shared. */
static const int memories[PROCESSES] = {0, 0, 0, 0, 0, 1, 1};
static const int actions[PROCESSES] = {0, 1, 0, 0, 1, 2, 3};
static const int tables[PROCESSES] = {0, 1, 2, 0, 3, 4, 4};
static const int places[PROCESSES] = {0, 1, 2, 0, 1, 4, 5};
static const int parents[PROCESSES] = {-1, ROOT, ROOT, ROOT, PLAIN, PLAIN, PLAIN};

static struct {
  pthread_barrier_t stands, checked, acted;
  pid_t pids[PROCESSES];
  volatile int go;
} *all;

static char stacks[STACKS][64 * 1024] __attribute__((aligned(64)));
static volatile unsigned counters[STACKS];
static volatile int handled[PROCESSES], other_handled[PROCESSES], token;
static int *volatile late;
static volatile int mixed_lives, thread_ended;
static pid_t ended;

enum { OWN = 20, LATE = 30 };

static pid_t self(void) { return (pid_t)syscall(SYS_getpid); }

static int number(void) {
  for (int me = 0; me < PROCESSES; me++)
    if (all->pids[me] == self()) return me;
  return 0;
}

static void handler(int signal) { (void)signal, handled[number()]++; }
static void other_handler(int signal) { (void)signal, other_handled[number()]++; }

static void check_sharing(void) {
  for (int a = 0; a < PROCESSES; a++) {
    for (int b = 0; b < a; b++) {
      static const struct { const int *is; int type; const char *name; } parts[] = {
          {memories, KCMP_VM, "memories"}, {actions, KCMP_SIGHAND, "handlers"},
          {tables, KCMP_FILES, "tables"}, {places, KCMP_FS, "directories"}};
      for (int i = 0; i < 4; i++) {
        long same = syscall(SYS_kcmp, all->pids[a], all->pids[b], parts[i].type, 0, 0) == 0;
        CHECK(same == (parts[i].is[a] == parts[i].is[b]), "%s of processes %d and %d", parts[i].name, a, b);
      }
    }
  }
}

/* Passed on by a private futex from one process of the memory to the next. */
static void pass_token(int me, int turns) {
  static const int ring[] = {ROOT, PLAIN, SIGNALS, MIXED, GRAND};
  for (int turn = 0; turn < turns; turn++) {
    for (int now; (now = token) != turn * 5 + me;) syscall(SYS_futex, &token, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
    CHECK(ring[me] == me, "ring");
    __atomic_add_fetch(&token, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &token, FUTEX_WAKE_PRIVATE, PROCESSES, NULL, NULL, 0);
  }
}

static void count(int me, volatile unsigned *mine) {
  while (!all->go) {
    counters[me]++;
    (*mine)++;
    CHECK(counters[me] == *mine, "counter %d is %u, on the stack %u", me, counters[me], *mine);
    if (*mine % 4096 == 0) usleep(300);
  }
  CHECK(*mine > 0, "process %d has not counted", me);
}

static int run_thread(void *unused) {
  (void)unused;
  volatile unsigned mine = 0;
  CHECK(self() == all->pids[PLAIN], "the thread is of another process");
  count(THREAD, &mine);
  thread_ended = 1;
  return 0;
}

static short lock_of(int fd) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  return fcntl(fd, F_GETLK, &lock) == 0 ? lock.l_type : -1;
}

static void act(int me) {
  char name[16] = "";
  prctl(PR_GET_NAME, name);
  char expected[16];
  snprintf(expected, sizeof expected, "sharer-%d", me);
  CHECK(strcmp(name, expected) == 0, "process %d is called %s", me, name);
  CHECK(self() == all->pids[me], "process %d has pid %d", me, self());
  if (me != ROOT) CHECK(syscall(SYS_getppid) == all->pids[parents[me]], "the parent of process %d", me);
  if (memories[me] == 0) pass_token(me, 50);
  syscall(SYS_kill, self(), SIGUSR1);
  CHECK(handled[me] == 1 && other_handled[me] == 0, "handlers of process %d: %d, %d", me, handled[me], other_handled[me]);
  pthread_barrier_wait(&all->checked);
  /* What one does, those who share it have done. */
  struct sigaction other = {.sa_handler = other_handler};
  if (me == SIGNALS) CHECK(sigaction(SIGUSR1, &other, NULL) == 0, "sigaction");
  if (me == GRAND) {
    late = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(late != MAP_FAILED && chdir("/") == 0, "mmap, chdir");
    *late = 77;
  }
  if (me == MIXED) CHECK(dup2(1, LATE) == LATE, "dup2");
  if (me == SIBLING) CHECK(close(OWN) == 0, "close");
  pthread_barrier_wait(&all->acted);
  syscall(SYS_kill, self(), SIGUSR1);
  CHECK(other_handled[me] == (actions[me] == 0), "the other handler of process %d", me);
  CHECK(memories[me] == 0 ? *late == 77 : late == NULL, "late memory of process %d", me);
  CHECK((fcntl(LATE, F_GETFD) >= 0) == (tables[me] == 0), "descriptor %d of process %d", LATE, me);
  CHECK((fcntl(OWN, F_GETFD) >= 0) == (tables[me] != 4), "descriptor %d of process %d", OWN, me);
  if (tables[me] != 4) CHECK(lock_of(OWN) == F_UNLCK, "lock of process %d", me);
  char is[4096] = "";
  CHECK(syscall(SYS_getcwd, is, sizeof is) > 0 && (strcmp(is, "/") == 0) == (places[me] == 1), "process %d is in %s", me, is);
  pthread_barrier_wait(&all->acted);
}

static void set_up(int me);

static void reap(int me) {
  for (int other = 0; other < PROCESSES; other++) {
    int status = -1;
    if (me == other || parents[other] != me) continue;
    CHECK(waitpid(all->pids[other], &status, __WALL) == all->pids[other] && status == 0, "process %d ended with %d", other, status);
  }
}

static int live(void *argument) {
  int me = (int)(long)argument;
  volatile unsigned mine = 0;
  char name[16];
  all->pids[me] = self();
  snprintf(name, sizeof name, "sharer-%d", me);
  prctl(PR_SET_NAME, name);
  if (me != ROOT) prctl(PR_SET_PDEATHSIG, SIGKILL);
  set_up(me);
  pthread_barrier_wait(&all->stands);
  if (me == ROOT) {
    check_sharing();
    say("ready\n");
    for (int i = 0; i < PATIENCE && access("go", F_OK) != 0; i++) usleep(2000);
    check_sharing();
    CHECK(counters[PLAIN] > 0 && counters[GRAND] > 0 && counters[THREAD] > 0, "somebody has not counted");
    all->go = 1;
  } else count(me, &mine);
  pthread_barrier_wait(&all->checked);
  act(me);
  reap(me);
  return 0;
}

static void begin(int me, int flags) {
  int *clears = me == MIXED ? (int *)&mixed_lives : NULL;
  if (clears != NULL) *clears = 1, flags |= CLONE_CHILD_CLEARTID;
  int made = clone(live, stacks[me] + sizeof stacks[me], flags | SIGCHLD, (void *)(long)me, NULL, NULL, clears);
  CHECK(made > 0, "clone: errno %d", errno);
  while (all->pids[me] == 0) sched_yield();
}

static int end_with_seven(void *unused) {
  (void)unused;
  return 7;
}

static void set_up(int me) {
  if (me == ROOT) {
    begin(PLAIN, CLONE_VM);
    begin(SIGNALS, CLONE_VM | CLONE_SIGHAND);
    begin(MIXED, CLONE_VM | CLONE_SIGHAND | CLONE_FILES | CLONE_FS);
    ended = clone(end_with_seven, stacks[ENDED] + sizeof stacks[ENDED], CLONE_VM | SIGCHLD, NULL);
    siginfo_t info;
    CHECK(ended > 0 && waitid(P_PID, (id_t)ended, &info, WEXITED | WNOWAIT) == 0, "clone, waitid");
  }
  if (me == PLAIN) {
    begin(GRAND, CLONE_VM | CLONE_SIGHAND | CLONE_FS);
    long made = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (made == 0) {
      live((void *)(long)COPY);
      _exit(0);
    }
    while (all->pids[COPY] == 0 || all->pids[SIBLING] == 0) sched_yield();
    int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    CHECK(clone(run_thread, stacks[THREAD] + sizeof stacks[THREAD], flags, NULL) > 0, "clone: errno %d", errno);
  }
  if (me == COPY) begin(SIBLING, CLONE_VM | CLONE_FILES | CLONE_PARENT);
}

int main(void) {
  pthread_barrierattr_t between;
  all = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(all != MAP_FAILED, "mmap");
  pthread_barrierattr_init(&between);
  pthread_barrierattr_setpshared(&between, PTHREAD_PROCESS_SHARED);
  for (pthread_barrier_t *one = &all->stands; one <= &all->acted; one++) pthread_barrier_init(one, &between, PROCESSES);
  struct sigaction action = {.sa_handler = handler};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0, "sigaction");
  int fd = open("own", O_RDWR | O_CREAT, 0600);
  CHECK(fd >= 0 && dup2(fd, OWN) == OWN, "own: errno %d", errno);
  live((void *)(long)ROOT);
  check_ballast();
  CHECK(mixed_lives == 0, "the word of a process that has ended is %d", mixed_lives);
  CHECK(thread_ended, "the thread has not ended");
  int status;
  CHECK(waitpid(ended, &status, 0) == ended && WIFEXITED(status) && WEXITSTATUS(status) == 7, "the one that had ended: %d", status);
  CHECK(waitpid(-1, &status, __WALL) < 0 && errno == ECHILD, "somebody is left");
  say("ok\n");
  return 0;
}
