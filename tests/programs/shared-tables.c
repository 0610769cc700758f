/*
 * Processes that share a descriptor table, or working directory, root and umask, but not their memory: with their parent, with their child's child, and
 * with siblings whose maker has left what it gave them. Which of them share is asked by kcmp(2), and shown by what each of them does.
 */
#include "self-check.h"
#include <linux/kcmp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { ROOT, BOTH, PLACE, BELOW, BETWEEN, PASSED, OTHER, OTHER_BELOW, PROCESSES };

/* By number of its own: what is equal is shared. */
static const int tables[PROCESSES] = {0, 0, 1, 0, 2, 0, 3, 3};
static const int places[PROCESSES] = {0, 0, 0, 1, 2, 0, 3, 3};

static struct {
  pthread_barrier_t stands, checked, acted;
  pid_t pids[PROCESSES];
} *all;

static char folder[4096];

enum { OWN = 20, LOCKED = 21, LATE = 30 };

static void put(const char *name, int number) {
  int fd = open(name, O_RDWR | O_CREAT, 0600);
  CHECK(fd >= 0 && dup2(fd, number) == number && (fd == number || close(fd) == 0), "%s: errno %d", name, errno);
}

static int is_open(int number) { return fcntl(number, F_GETFD) >= 0; }

static short lock(int command) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 3, .l_len = 4};
  CHECK(fcntl(LOCKED, command, &lock) == 0, "fcntl: errno %d", errno);
  return lock.l_type;
}

static void check_sharing(void) {
  for (int a = 0; a < PROCESSES; a++) {
    for (int b = 0; b < a; b++) {
      long files = syscall(SYS_kcmp, all->pids[a], all->pids[b], KCMP_FILES, 0, 0);
      long place = syscall(SYS_kcmp, all->pids[a], all->pids[b], KCMP_FS, 0, 0);
      CHECK((files == 0) == (tables[a] == tables[b]), "tables of processes %d and %d", a, b);
      CHECK((place == 0) == (places[a] == places[b]), "directories of processes %d and %d", a, b);
      CHECK(syscall(SYS_kcmp, all->pids[a], all->pids[b], KCMP_VM, 0, 0) != 0, "memories of %d and %d", a, b);
    }
  }
}

static void check_place(int me, const char *expected) {
  char is[4096], path[sizeof folder + 64];
  snprintf(path, sizeof path, "%s%s", folder, expected);
  CHECK(getcwd(is, sizeof is) != NULL && strcmp(is, path) == 0, "process %d is in %s, not %s", me, is, path);
}

static void live(int me) {
  static const char *const directories[] = {"/common", "/below", "", "/other"};
  pthread_barrier_wait(&all->stands);
  if (me == ROOT) {
    check_sharing();
    say("ready\n");
    for (int i = 0; i < PATIENCE && access("../go", F_OK) != 0; i++) usleep(2000);
    check_sharing();
  }
  pthread_barrier_wait(&all->checked);
  check_place(me, directories[places[me]]);
  mode_t mask = places[me] == 3 ? 027 : 022;
  CHECK(umask(mask) == mask, "umask of process %d", me);
  CHECK(is_open(OWN) == (tables[me] == 0 || tables[me] == 3), "descriptor %d of process %d", OWN, me);
  CHECK(!is_open(LATE), "descriptor %d of process %d", LATE, me);
  CHECK(lock(F_GETLK) == (tables[me] == 0 ? F_UNLCK : F_WRLCK), "the lock as process %d sees it", me);
  pthread_barrier_wait(&all->checked);
  if (me == BELOW) put("/dev/null", LATE);
  if (me == PASSED) CHECK(chdir("..") == 0, "chdir");
  if (me == OTHER_BELOW) CHECK(close(OWN) == 0 && chdir("/") == 0, "close, chdir");
  pthread_barrier_wait(&all->acted);
  CHECK(is_open(LATE) == (tables[me] == 0), "descriptor %d of process %d afterwards", LATE, me);
  CHECK(is_open(OWN) == (tables[me] == 0), "descriptor %d of process %d afterwards", OWN, me);
  if (places[me] == 0) check_place(me, "");
  else if (places[me] != 3) check_place(me, directories[places[me]]);
  else CHECK(getcwd(folder, sizeof folder) && strcmp(folder, "/") == 0, "process %d is in %s", me, folder);
  pthread_barrier_wait(&all->acted);
}

static void begin(int me);

static void set_up(int me) {
  if (me == ROOT) {
    put("common-file", OWN);
    put("locked", LOCKED);
    CHECK(chdir("common") == 0, "chdir");
    begin(BOTH);
    begin(PLACE);
    begin(BETWEEN);
    begin(OTHER);
    CHECK(lock(F_SETLK) == F_WRLCK, "lock");
  }
  if (me == BOTH) begin(BELOW);
  if (me == PLACE) CHECK(close(OWN) == 0, "close");
  if (me == BELOW) CHECK(chdir("../below") == 0, "chdir");
  if (me == BETWEEN) {
    begin(PASSED);
    CHECK(unshare(CLONE_FILES | CLONE_FS) == 0 && chdir("..") == 0 && close(OWN) == 0, "unshare: errno %d", errno);
  }
  if (me == OTHER) {
    CHECK(unshare(CLONE_FILES | CLONE_FS) == 0 && chdir("../other") == 0, "unshare: errno %d", errno);
    umask(027);
    begin(OTHER_BELOW);
  }
}

/* A child that shares what it has to by its numbers, and what leads to that. */
static void begin(int me) {
  static const int shared[PROCESSES] = {
      [BOTH] = CLONE_FILES | CLONE_FS,   [PLACE] = CLONE_FS,         [BELOW] = CLONE_FILES,
      [BETWEEN] = CLONE_FILES | CLONE_FS, [PASSED] = CLONE_FILES | CLONE_FS,
      [OTHER] = CLONE_FILES,             [OTHER_BELOW] = CLONE_FILES | CLONE_FS,
  };
  long pid = syscall(SYS_clone, shared[me] | SIGCHLD, 0, 0, 0, 0);
  CHECK(pid >= 0, "clone: errno %d", errno);
  if (pid > 0) return;
  all->pids[me] = getpid();
  set_up(me);
  live(me);
  int status;
  while (wait(&status) > 0) CHECK(status == 0, "a child of process %d ended with %d", me, status);
  _exit(0);
}

int main(void) {
  pthread_barrierattr_t between;
  CHECK(getcwd(folder, sizeof folder) != NULL, "getcwd");
  all = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(all != MAP_FAILED, "mmap");
  pthread_barrierattr_init(&between);
  pthread_barrierattr_setpshared(&between, PTHREAD_PROCESS_SHARED);
  for (pthread_barrier_t *one = &all->stands; one <= &all->acted; one++) pthread_barrier_init(one, &between, PROCESSES);
  for (const char *const *name = (const char *const[]){"common", "below", "other", NULL}; *name; name++)
    CHECK(mkdir(*name, 0700) == 0 || errno == EEXIST, "mkdir");
  umask(022);
  all->pids[ROOT] = getpid();
  set_up(ROOT);
  live(ROOT);
  int status;
  while (wait(&status) > 0) CHECK(status == 0, "a child ended with %d", status);
  say("ok\n");
  return 0;
}
