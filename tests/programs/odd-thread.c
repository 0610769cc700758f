/* A thread that has something of its own, which its process has not: `odd-thread credentials|seccomp|uts`. */
#include "self-check.h"
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static pthread_barrier_t started;
static const char *oddity;

/* A filter that kills the whole process for any call but those that the thread itself makes. */
static void filter(void) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
  CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "seccomp");
}

static void *odd(void *nothing) {
  if (strcmp(oddity, "credentials") == 0) CHECK(prctl(PR_CAPBSET_DROP, CAP_SYS_NICE, 0, 0, 0) == 0, "PR_CAPBSET_DROP");
  else if (strcmp(oddity, "seccomp") == 0) filter();
  else CHECK(unshare(CLONE_NEWUTS) == 0, "unshare: errno %d", errno);
  pthread_barrier_wait(&started);
  wait_for_go();
  return nothing;
}

int main(int count, char **arguments) {
  CHECK(count == 2, "usage");
  oddity = arguments[1];
  pthread_t thread;
  pthread_barrier_init(&started, NULL, 2);
  CHECK(pthread_create(&thread, NULL, odd, NULL) == 0, "pthread_create");
  pthread_barrier_wait(&started);
  say("ready\n");
  CHECK(pthread_join(thread, NULL) == 0, "pthread_join");
  say("ok\n");
  return 0;
}
