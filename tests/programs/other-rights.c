/*
 * Processes that have given rights away: ids, groups, capabilities of every set and securebits, in each of their threads. Run as
 * root. They must have neither more nor less afterwards.
 */
#include "self-check.h"

#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define PROCESSES 3

static struct board {
  volatile int ready[PROCESSES], go;
} *board;

static void nap(void) {
  struct timespec moment = {0, 2000000};
  nanosleep(&moment, NULL);
}

/* What /proc says of the calling thread's rights. */
static void describe(char *text, size_t size) {
  char path[64], line[512];
  snprintf(path, sizeof path, "/proc/self/task/%ld/status", syscall(SYS_gettid));
  FILE *file = fopen(path, "r");
  CHECK(file != NULL, "%s: errno %d", path, errno);
  size_t used = 0;
  while (fgets(line, sizeof line, file) != NULL) {
    static const char *wanted[] = {"Uid:", "Gid:", "Groups:", "Cap", "NoNewPrivs:"};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
      if (strncmp(line, wanted[i], strlen(wanted[i])) == 0) {
        used += (size_t)snprintf(text + used, size - used, "%s", line);
      }
    }
  }
  fclose(file);
  int signal = 0;
  CHECK(prctl(PR_GET_PDEATHSIG, &signal) == 0, "PR_GET_PDEATHSIG: errno %d", errno);
  snprintf(text + used, size - used, "securebits %d, dumpable %d, on death %d\n", prctl(PR_GET_SECUREBITS),
           prctl(PR_GET_DUMPABLE), signal);
}

static void watch(const char *before) {
  while (!board->go) nap();
  char now[2048];
  describe(now, sizeof now);
  CHECK(strcmp(before, now) == 0, "the rights were\n%sand are\n%s", before, now);
}

static pthread_barrier_t barrier;

static void *in_thread(void *unused) {
  (void)unused;
  char before[2048];
  describe(before, sizeof before);
  pthread_barrier_wait(&barrier);
  watch(before);
  return NULL;
}

static void set_caps(unsigned effective, unsigned permitted, unsigned inheritable) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {{effective, permitted, inheritable}, {0, 0, 0}};
  CHECK(syscall(SYS_capset, &header, data) == 0, "capset: errno %d", errno);
}

static void become(int which) {
  gid_t groups[] = {4321, 4322};
  if (which == 0) return;
  CHECK(setgroups(2, groups) == 0, "setgroups: errno %d", errno);
  if (which == 1) {
    CHECK(setresgid(1235, 1235, 1236) == 0 && setresuid(1234, 1234, 1234) == 0, "ids: errno %d", errno);
    return;
  }
  const unsigned bind = 1u << CAP_NET_BIND_SERVICE, chown_ = 1u << CAP_CHOWN, pcap = 1u << CAP_SETPCAP;
  CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0, "PR_SET_KEEPCAPS: errno %d", errno);
  CHECK(setresgid(1, 2, 3) == 0 && setresuid(1111, 2222, 3333) == 0, "ids: errno %d", errno);
  set_caps(bind | chown_ | pcap, bind | chown_ | pcap, bind);
  CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0) == 0, "ambient: errno %d", errno);
  CHECK(prctl(PR_CAPBSET_DROP, CAP_SYS_MODULE) == 0, "bounding: errno %d", errno);
  CHECK(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP | SECBIT_NOROOT) == 0, "securebits: errno %d", errno);
  set_caps(bind, bind | chown_, bind);
}

static void live(int which) {
  become(which);
  CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "PR_SET_PDEATHSIG: errno %d", errno);
  if (which == 2) CHECK(prctl(PR_SET_DUMPABLE, 1) == 0, "PR_SET_DUMPABLE: errno %d", errno);
  char before[2048];
  describe(before, sizeof before);
  pthread_t thread;
  CHECK(pthread_barrier_init(&barrier, NULL, 2) == 0 && pthread_create(&thread, NULL, in_thread, NULL) == 0, "a thread");
  pthread_barrier_wait(&barrier);
  board->ready[which] = 1;
  watch(before);
  CHECK(pthread_join(thread, NULL) == 0, "pthread_join");
  if (which > 0) CHECK(setresuid(0, 0, 0) == -1 && errno == EPERM, "it may become root again");
}

int main(void) {
  board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(board != MAP_FAILED, "mmap: errno %d", errno);
  pid_t pids[PROCESSES];
  for (int which = 0; which < PROCESSES; which++) {
    pids[which] = fork();
    if (pids[which] != 0) continue;
    live(which);
    _exit(0);
  }
  for (int which = 0; which < PROCESSES; which++) {
    for (int i = 0; i < PATIENCE && !board->ready[which]; i++) nap();
  }
  say("ready\n");
  wait_for_go();
  board->go = 1;
  for (int which = 0; which < PROCESSES; which++) {
    int status;
    CHECK(waitpid(pids[which], &status, 0) == pids[which] && status == 0, "process %d ended with %x", which, status);
  }
  say("ok\n");
  return 0;
}
