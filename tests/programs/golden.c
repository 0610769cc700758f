/* A little of everything that one process can have, at rest: what the golden images are made of. */
#include "self-check.h"
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>

static pthread_mutex_t never = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t started;

static void *wait_for_ever(void *nothing) {
  prctl(PR_SET_NAME, "waiter");
  pthread_barrier_wait(&started);
  pthread_mutex_lock(&never);
  return nothing;
}

int main(void) {
  CHECK(chdir("/tmp/quicksave-golden") == 0, "chdir");
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGRTMIN + 1);
  pthread_sigmask(SIG_BLOCK, &blocked, NULL);
  pthread_mutex_lock(&never);
  pthread_barrier_init(&started, NULL, 2);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, wait_for_ever, NULL) == 0, "pthread_create");
  pthread_barrier_wait(&started);
  int named = open("named", O_CREAT | O_RDWR | O_APPEND, 0644), unnamed = open("unnamed", O_CREAT | O_RDWR, 0600), ends[2];
  CHECK(named >= 0 && unnamed >= 0 && unlink("unnamed") == 0 && pipe(ends) == 0, "files");
  CHECK(write(named, "named\n", 6) == 6 && write(unnamed, "no name\n", 8) == 8 && write(ends[1], "queued", 6) == 6, "write");
  dup2(named, 20);
  int folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  CHECK(folder >= 0, "the folder");
  char *pages = mmap(NULL, 16 << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < 16; i += 2) memset(pages + (i << 12), i, 4096);
  mprotect(pages + (8 << 12), 4096, PROT_NONE);
  madvise(pages + (12 << 12), 4096, MADV_DONTFORK);
  sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 42});
  signal(SIGUSR1, SIG_IGN);
  say("ready\n");
  for (;;) pause();
}
