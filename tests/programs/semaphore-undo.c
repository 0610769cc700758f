/* What the kernel does to System V semaphores when a process ends: SEM_UNDO of semop(2), of two children, one of which has a second thread. */
#include "self-check.h"
#include <pthread.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/wait.h>

#define SEMAPHORES 600

static int set;

static void change(int index, int by, int flags) {
  struct sembuf operation = {(unsigned short)index, (short)by, (short)flags};
  CHECK(semop(set, &operation, 1) == 0, "semop %d %d: errno %d", index, by, errno);
}

static void expect(int index, int value, const char *when) {
  int now = semctl(set, index, GETVAL);
  CHECK(now == value, "semaphore %d is %d, not %d, %s", index, now, value, when);
}

static void *wait_here(void *nothing) {
  for (;;) pause();
  return nothing;
}

static void first_child(void) {
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, wait_here, NULL) == 0, "pthread_create");
  change(0, -2, SEM_UNDO);
  change(1, 3, SEM_UNDO);
  /* Done and undone by itself. */
  change(3, 1, SEM_UNDO);
  change(3, -1, SEM_UNDO);
  for (int i = 10; i < SEMAPHORES; i++) change(i, 2, SEM_UNDO);
}

static void second_child(void) {
  change(2, -4, SEM_UNDO);
  change(0, -1, SEM_UNDO);
  change(4, 9, 0);
}

static pid_t begin(void (*work)(void)) {
  int ends[2];
  char done;
  CHECK(pipe(ends) == 0, "pipe");
  pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(ends[0]);
    work();
    CHECK(write(ends[1], "x", 1) == 1, "write");
    close(ends[1]);
    wait_here(NULL);
  }
  close(ends[1]);
  CHECK(pid > 0 && read(ends[0], &done, 1) == 1, "a child: errno %d", errno);
  close(ends[0]);
  return pid;
}

static void end(pid_t pid) {
  CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid, "the end of a child: errno %d", errno);
}

int main(int count, char **arguments) {
  (void)arguments;
  set = semget(IPC_PRIVATE, SEMAPHORES, 0600);
  CHECK(set >= 0, "semget: errno %d", errno);
  change(0, 5, 0);
  change(2, 7, 0);
  pid_t first = begin(first_child), second = begin(second_child);

  say("ready\n");
  wait_for_go();

  expect(0, 2, "before anything ends");
  expect(1, 3, "before anything ends");
  expect(2, 3, "before anything ends");
  expect(4, 9, "before anything ends");
  expect(SEMAPHORES - 1, 2, "before anything ends");
  end(first);
  expect(0, 4, "when the first child has ended");
  expect(1, 0, "when the first child has ended");
  expect(2, 3, "when the first child has ended");
  expect(3, 0, "when the first child has ended");
  for (int i = 10; i < SEMAPHORES; i++) expect(i, 0, "when the first child has ended");
  end(second);
  expect(0, 5, "when both have ended");
  expect(2, 7, "when both have ended");
  expect(4, 9, "when both have ended");
  if (count == 1) CHECK(semctl(set, 0, IPC_RMID) == 0, "IPC_RMID");
  say("ok\n");
  return 0;
}
