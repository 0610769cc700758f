/* A little of everything that a tree of processes can have together, at rest: what the golden image of a tree is made of. */
#include "self-check.h"

#include <signal.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/wait.h>

static int pair[2], ends[2];

static pid_t child(void (*be)(void)) {
  pid_t pid = fork();
  CHECK(pid >= 0, "fork: errno %d", errno);
  if (pid == 0) {
    be();
    for (;;) pause();
  }
  return pid;
}

static void lead_a_session(void) {
  CHECK(setsid() > 0 && write(ends[1], "s", 1) == 1, "setsid");
}

static void send_and_have_a_child(void) {
  CHECK(send(pair[1], "queued", 6, 0) == 6, "send");
  child(lead_a_session);
}

static void stop(void) { raise(SIGSTOP); }

static void end(void) { _exit(7); }

int main(void) {
  CHECK(chdir("/tmp/quicksave-golden") == 0, "chdir");
  CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0 && pipe(ends) == 0, "pairs: errno %d", errno);
  int segment = shmget(IPC_PRIVATE, 8192, IPC_CREAT | 0600);
  char *shared = shmat(segment, NULL, 0);
  CHECK(shared != (void *)-1 && shmctl(segment, IPC_RMID, NULL) == 0, "the segment: errno %d", errno);
  strcpy(shared, "shared by all");
  char *pages = mmap(NULL, 16 << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < 16; i++) memset(pages + (i << 12), i + 1, 4096);
  child(send_and_have_a_child);
  char byte;
  CHECK(read(ends[0], &byte, 1) == 1, "the grandchild");
  pid_t stopped = child(stop), ended = child(end);
  CHECK(waitpid(stopped, NULL, WUNTRACED) == stopped, "the stopped child");
  siginfo_t how;
  CHECK(waitid(P_PID, (id_t)ended, &how, WEXITED | WNOWAIT) == 0 && how.si_status == 7, "the child that has ended");
  say("ready\n");
  for (;;) pause();
}
