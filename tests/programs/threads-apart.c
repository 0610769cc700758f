/*
 * Threads with descriptor tables, and with working directories and umasks, of their own: by unshare(2), alone or with the threads that they
 * have made since. Which of them share what is asked by kcmp(2), and shown by what each of them does.
 */
#include "self-check.h"
#include <linux/kcmp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { LEADER, TABLE, TABLE_SECOND, PLACE, PLACE_SECOND, EMPTY, THREADS };

static pid_t tids[THREADS];
static pthread_barrier_t stands, checked, acted;
static char folder[4096];

/* By number of its own: what is equal is shared. */
static const int tables[THREADS] = {0, 1, 1, 0, 2, 3};
static const int places[THREADS] = {0, 0, 0, 1, 1, 2};
static const char *const directories[] = {"", "/place", "/empty"};
static const mode_t umasks[] = {022, 027, 077};

enum { OWN = 20, COMMON = 21, COUNTER = 22, LIST = 23, LOCKED = 24 };

static void put(const char *name, int number, int flags) {
  char path[sizeof folder + 64];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  int fd = open(path, flags | O_CREAT, 0600);
  CHECK(fd >= 0, "open %s: errno %d", name, errno);
  if (fd == number) return;
  CHECK(dup2(fd, number) == number && close(fd) == 0, "dup2");
}

static void wants(int number, const char *name) {
  char link[64], is[4096], path[sizeof folder + 64];
  snprintf(link, sizeof link, "/proc/thread-self/fd/%d", number);
  ssize_t length = readlink(link, is, sizeof is - 1);
  if (name == NULL) {
    CHECK(length < 0 && errno == ENOENT, "descriptor %d is there", number);
    return;
  }
  CHECK(length > 0, "descriptor %d is not there", number);
  is[length] = 0;
  if (*name == '/') snprintf(path, sizeof path, "%s%s", folder, name);
  else snprintf(path, sizeof path, "anon_inode:[%s]", name);
  CHECK(strcmp(is, path) == 0, "descriptor %d is %s, not %s", number, is, path);
}

static int set_up_lock(int command, short type) {
  struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = 3, .l_len = 4};
  CHECK(fcntl(LOCKED, command, &lock) == 0, "fcntl: errno %d", errno);
  return lock.l_type;
}

static void check_sharing(void) {
  for (int a = 0; a < THREADS; a++) {
    for (int b = 0; b < a; b++) {
      long files = syscall(SYS_kcmp, tids[a], tids[b], KCMP_FILES, 0, 0);
      long place = syscall(SYS_kcmp, tids[a], tids[b], KCMP_FS, 0, 0);
      CHECK((files == 0) == (tables[a] == tables[b]), "tables of threads %d and %d", a, b);
      CHECK((place == 0) == (places[a] == places[b]), "directories of threads %d and %d", a, b);
    }
  }
}

static void check_place(int me) {
  char is[4096], expected[sizeof folder + 64];
  snprintf(expected, sizeof expected, "%s%s", folder, directories[places[me]]);
  CHECK(getcwd(is, sizeof is) != NULL && strcmp(is, expected) == 0, "thread %d is in %s", me, is);
  CHECK(places[me] == 0 || umask(umasks[places[me]]) == umasks[places[me]], "umask of thread %d", me);
}

static void check_table(int me) {
  if (tables[me] == 3) {
    for (int number = 0; number < 40; number++) wants(number, NULL);
    return;
  }
  wants(COMMON, "/common");
  wants(OWN, tables[me] == 1 ? "/of-threads" : tables[me] == 2 ? NULL : "/of-leader");
  wants(COUNTER, tables[me] == 1 ? "eventfd" : NULL);
  wants(LIST, tables[me] == 1 ? "eventpoll" : NULL);
  wants(LOCKED, tables[me] == 2 ? NULL : "/locked");
  int flags = fcntl(COMMON, F_GETFD);
  CHECK(flags == (tables[me] == 1 ? FD_CLOEXEC : 0), "flags %d in the table of thread %d", flags, me);
}

/* What one does is seen by those who share, and by nobody else. */
static void act(int me) {
  struct epoll_event event;
  uint64_t value = 0;
  if (me == LEADER) CHECK(lseek(COMMON, 5, SEEK_SET) == 5, "lseek");
  if (me == TABLE) {
    CHECK(epoll_wait(LIST, &event, 1, 0) == 1 && event.data.u64 == 4711, "nothing in the list");
    CHECK(read(COUNTER, &value, 8) == 8 && value == 9, "the counter is %d", (int)value);
    CHECK(set_up_lock(F_GETLK, F_WRLCK) == F_UNLCK, "somebody has the lock");
    CHECK(close(OWN) == 0, "close");
  }
  if (me == PLACE) CHECK(chdir("/") == 0, "chdir");
  pthread_barrier_wait(&acted);
  char is[4096];
  if (me == LEADER || me == TABLE_SECOND || me == PLACE_SECOND) {
    CHECK(lseek(COMMON, 0, SEEK_CUR) == 5, "the position of thread %d", me);
  }
  if (me == LEADER) {
    CHECK(set_up_lock(F_GETLK, F_WRLCK) == F_WRLCK, "the lock of another table is not there");
    wants(OWN, "/of-leader");
  }
  if (me == TABLE_SECOND) wants(OWN, NULL);
  if (places[me] == 1) CHECK(getcwd(is, sizeof is) && strcmp(is, "/") == 0, "thread %d is in %s", me, is);
  else check_place(me);
}

static void *thread(void *number);

static pthread_t begin(int me) {
  pthread_t made;
  CHECK(pthread_create(&made, NULL, thread, (void *)(long)me) == 0, "pthread_create");
  return made;
}

static void set_up(int me) {
  char path[sizeof folder + 64];
  if (me == TABLE) {
    CHECK(unshare(CLONE_FILES) == 0, "unshare: errno %d", errno);
    put("of-threads", OWN, O_RDWR);
    put("locked", LOCKED, O_RDWR);
    CHECK(fcntl(COMMON, F_SETFD, FD_CLOEXEC) == 0, "F_SETFD");
    CHECK(dup2(eventfd(9, 0), COUNTER) == COUNTER && dup2(epoll_create1(0), LIST) == LIST, "eventfd, epoll");
    close(3), close(4), close(5), close(6);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 4711};
    CHECK(epoll_ctl(LIST, EPOLL_CTL_ADD, COUNTER, &event) == 0, "epoll_ctl");
    set_up_lock(F_SETLK, F_WRLCK);
    begin(TABLE_SECOND);
  }
  if (me == PLACE || me == EMPTY) {
    CHECK(unshare(CLONE_FS) == 0, "unshare: errno %d", errno);
    snprintf(path, sizeof path, "%s%s", folder, directories[places[me]]);
    CHECK((mkdir(path, 0700) == 0 || errno == EEXIST) && chdir(path) == 0, "mkdir");
    umask(umasks[places[me]]);
  }
  if (me == PLACE) begin(PLACE_SECOND);
  if (me == PLACE_SECOND) CHECK(unshare(CLONE_FILES) == 0 && close(OWN) == 0 && close(LOCKED) == 0, "unshare, close");
  if (me == EMPTY) CHECK(unshare(CLONE_FILES) == 0 && close_range(0, ~0U, 0) == 0, "unshare, close_range");
}

static void *thread(void *number) {
  int me = (int)(long)number;
  tids[me] = (pid_t)syscall(SYS_gettid);
  set_up(me);
  pthread_barrier_wait(&stands);
  pthread_barrier_wait(&checked);
  check_place(me);
  check_table(me);
  pthread_barrier_wait(&checked);
  act(me);
  pthread_barrier_wait(&acted);
  return NULL;
}

int main(void) {
  CHECK(getcwd(folder, sizeof folder) != NULL, "getcwd");
  for (pthread_barrier_t *one[] = {&stands, &checked, &acted}, **at = one; at < one + 3; at++)
    CHECK(pthread_barrier_init(*at, NULL, THREADS) == 0, "barrier");
  umask(umasks[0]);
  put("of-leader", OWN, O_RDWR);
  put("common", COMMON, O_RDWR);
  put("locked", LOCKED, O_RDWR);
  tids[LEADER] = getpid();
  for (int me = TABLE; me < THREADS; me++)
    if (me != TABLE_SECOND && me != PLACE_SECOND) begin(me);
  pthread_barrier_wait(&stands);
  check_sharing();
  say("ready\n");
  wait_for_go();
  check_sharing();
  pthread_barrier_wait(&checked);
  check_place(LEADER);
  check_table(LEADER);
  pthread_barrier_wait(&checked);
  act(LEADER);
  pthread_barrier_wait(&acted);
  say("ok\n");
  return 0;
}
