/*
 * The first thread has ended while others go on, in a process and in a child of it: pthread_exit(3) in main(). What it was keeps its number,
 * its name and its exit status. With FILTERED the others have seccomp filters: one that it had too, and one by which no thread may end.
 */
#include "self-check.h"
#include <linux/kcmp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { PARENT_STATUS = 3, CHILD_STATUS = 7, WORDS = 100000, PIPED = 5000 };

static pid_t root, child;
static int until[2], piped[2];
static unsigned *words;
static char folder[4096];
static pthread_barrier_t both;
static pid_t tids[2];

/* Name, state, session and exit status of a leader as /proc/PID/task/PID/stat has them. */
static void check_leader(pid_t pid, const char *expected, int status) {
  char path[64], text[1024], name[64] = "";
  snprintf(path, sizeof path, "/proc/%d/task/%d/stat", pid, pid);
  int fd = open(path, O_RDONLY);
  ssize_t length = read(fd, text, sizeof text - 1);
  CHECK(fd >= 0 && length > 0 && close(fd) == 0, "%s: errno %d", path, errno);
  text[length] = 0;
  char state, *last = strrchr(text, ' ');
  CHECK(sscanf(strchr(text, '(') + 1, "%63[^)]) %c", name, &state) == 2, "%s: %s", path, text);
  CHECK(state == 'Z', "the leader of %d is in state %c", pid, state);
  CHECK(strcmp(name, expected) == 0, "the leader of %d is called %s", pid, name);
  CHECK(last != NULL && atoi(last + 1) == status << 8, "the leader of %d has ended with %s", pid, last);
}

static int has_ended(pid_t pid) {
  char path[64], text[1024];
  snprintf(path, sizeof path, "/proc/%d/task/%d/stat", pid, pid);
  int fd = open(path, O_RDONLY);
  if (fd < 0) return 0;
  ssize_t length = read(fd, text, sizeof text - 1);
  close(fd);
  if (length <= 0) return 0;
  text[length] = 0;
  return strncmp(strrchr(text, ')') + 1, " Z", 2) == 0;
}

static void await_end(pid_t pid) {
  struct timespec moment = {0, 1000000};
  for (int i = 0; i < PATIENCE && !has_ended(pid); i++) nanosleep(&moment, NULL);
  CHECK(has_ended(pid), "the leader of %d goes on", pid);
}

/* The last thread of the child: its status is that of the process (synchronize_group_exit() in the kernel), before Linux 5.18 that of the leader. */
static void *outlive(void *unused) {
  char byte;
  while (read(until[0], &byte, 1) < 0) CHECK(errno == EINTR, "read: errno %d", errno);
  syscall(SYS_exit, CHILD_STATUS);
  return unused;
}

static void be_child(void) {
  pthread_t thread;
  close(until[1]);
  CHECK(prctl(PR_SET_NAME, "ended child") == 0, "prctl");
  CHECK(pthread_create(&thread, NULL, outlive, NULL) == 0, "pthread_create");
  syscall(SYS_exit, CHILD_STATUS);
}

static void check_memory(void) {
  for (unsigned i = 0; i < WORDS; i++) CHECK(words[i] == i * 2654435761u, "word %u is %u", i, words[i]);
}

static void check_pipe(void) {
  static char bytes[PIPED + 1];
  CHECK(read(piped[0], bytes, sizeof bytes) == PIPED, "read: errno %d", errno);
  for (int i = 0; i < PIPED; i++) CHECK(bytes[i] == (char)i, "byte %d of the pipe is %d", i, bytes[i]);
}

static void check_child(void) {
  int status;
  CHECK(waitpid(child, &status, WNOHANG) == 0, "the child has ended: errno %d", errno);
  check_leader(child, "ended child", CHILD_STATUS);
  CHECK(write(until[1], "!", 1) == 1, "write: errno %d", errno);
  CHECK(waitpid(child, &status, 0) == child, "waitpid: errno %d", errno);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == CHILD_STATUS, "the child has ended with 0x%x", status);
}

enum { REFUSED = 77 };

/* From now on this call fails. */
static void forbid(int call) {
#ifdef FILTERED
  struct sock_filter steps[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | REFUSED),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog filter = {sizeof steps / sizeof *steps, steps};
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "prctl");
  CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0, "prctl: errno %d", errno);
#else
  (void)call;
#endif
}

static void check_filters(void) {
#ifdef FILTERED
  CHECK(syscall(SYS_getppid) < 0 && errno == REFUSED, "getppid is not refused any more");
  CHECK(syscall(SYS_exit, 1) < 0 && errno == REFUSED, "exit is not refused any more");
#endif
}

/* With a descriptor table and a directory of its own. */
static void *apart(void *unused) {
  char is[4096];
  CHECK(unshare(CLONE_FILES | CLONE_FS) == 0 && chdir("/") == 0 && close(piped[0]) == 0, "unshare: errno %d", errno);
  tids[1] = gettid();
  await_end(root);
  forbid(SYS_exit);
  pthread_barrier_wait(&both);
  pthread_barrier_wait(&both);
  check_filters();
  CHECK(getcwd(is, sizeof is) && strcmp(is, "/") == 0, "the second thread is in %s", is);
  CHECK(fcntl(piped[0], F_GETFD) < 0 && errno == EBADF, "the second thread has a descriptor that it has closed");
  CHECK(gettid() == tids[1] && getpid() == root, "the second thread is %d of %d", gettid(), getpid());
  pthread_barrier_wait(&both);
  pause();
  return unused;
}

static void *go_on(void *unused) {
  char is[4096];
  tids[0] = gettid();
  await_end(root);
  await_end(child);
  forbid(SYS_exit);
  pthread_barrier_wait(&both);
  say("ready\n");
  wait_for_go();
  pthread_barrier_wait(&both);
  CHECK(gettid() == tids[0] && getpid() == root, "the first thread is %d of %d", gettid(), getpid());
  CHECK(syscall(SYS_kcmp, tids[0], tids[1], KCMP_FILES, 0, 0) > 0, "the threads share their descriptors");
  check_leader(root, "ended parent", PARENT_STATUS);
  check_filters();
  check_memory();
  check_pipe();
  CHECK(getcwd(is, sizeof is) && strcmp(is, folder) == 0, "the first thread is in %s", is);
  check_child();
  pthread_barrier_wait(&both);
  say("ok\n");
  _exit(0);
  return unused;
}

int main(void) {
  pthread_t thread;
  char bytes[PIPED];
  root = getpid();
  CHECK(pipe(until) == 0 && pipe(piped) == 0 && getcwd(folder, sizeof folder), "pipe: errno %d", errno);
  for (int i = 0; i < PIPED; i++) bytes[i] = (char)i;
  CHECK(write(piped[1], bytes, PIPED) == PIPED, "write: errno %d", errno);
  child = fork();
  CHECK(child >= 0, "fork: errno %d", errno);
  if (child == 0) be_child();
  words = mmap(NULL, WORDS * sizeof *words, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(words != MAP_FAILED, "mmap: errno %d", errno);
  for (unsigned i = 0; i < WORDS; i++) words[i] = i * 2654435761u;
  CHECK(prctl(PR_SET_NAME, "ended parent") == 0, "prctl");
  forbid(SYS_getppid);
  CHECK(pthread_barrier_init(&both, NULL, 2) == 0, "pthread_barrier_init");
  CHECK(pthread_create(&thread, NULL, apart, NULL) == 0, "pthread_create");
  CHECK(pthread_create(&thread, NULL, go_on, NULL) == 0, "pthread_create");
  syscall(SYS_exit, PARENT_STATUS);
}
