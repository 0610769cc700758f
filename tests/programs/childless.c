/*
 * A program without children that looks for one all the time: by waiting for whatever there is, and by SIGCHLD. It also opens
 * and closes pipes, and takes and drops locks: nobody else may hold on to them.
 */
#include "self-check.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/wait.h>

static atomic_int end;
static atomic_int children_heard_of;
static atomic_ulong rounds;

static void on_child(int signal) {
  (void)signal;
  children_heard_of++;
}

static void look_for_children(void) {
  int status;
  pid_t found = waitpid(-1, &status, __WALL | WNOHANG);
  CHECK(found == -1 && errno == ECHILD, "wait found %d, errno %d", found, errno);
  found = waitpid(-1, &status, WNOHANG);
  CHECK(found == -1 && errno == ECHILD, "wait found %d, errno %d", found, errno);
}

static void use_descriptors(void) {
  int ends[2];
  CHECK(pipe2(ends, O_CLOEXEC) == 0, "pipe2: errno %d", errno);
  close(ends[1]);
  struct pollfd poller = {.fd = ends[0], .events = POLLIN};
  CHECK(poll(&poller, 1, 0) == 1 && (poller.revents & POLLHUP), "somebody holds the other end of a pipe");
  close(ends[0]);
  int first = open("lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  CHECK(first >= 0 && flock(first, LOCK_EX | LOCK_NB) == 0, "flock: errno %d", errno);
  close(first);
  /* Whoever looks into /proc/PID/fd holds a file for some microseconds. */
  int second = open("lock", O_RDWR | O_CLOEXEC), tries = 0;
  while (flock(second, LOCK_EX | LOCK_NB) != 0) {
    CHECK(errno == EWOULDBLOCK && ++tries < 1000, "somebody holds a lock that was dropped: errno %d", errno);
    usleep(1000);
  }
  close(second);
}

static void *look(void *unused) {
  (void)unused;
  while (!end) {
    look_for_children();
    use_descriptors();
    rounds++;
  }
  return NULL;
}

int main(void) {
  struct sigaction action = {.sa_handler = on_child};
  CHECK(sigaction(SIGCHLD, &action, NULL) == 0, "sigaction: errno %d", errno);
  pthread_t looker;
  CHECK(pthread_create(&looker, NULL, look, NULL) == 0, "pthread_create");
  pid_t self = getpid(), group = getpgrp(), session = getsid(0);
  say("ready\n");
  wait_for_go();
  end = 1;
  pthread_join(looker, NULL);
  CHECK(rounds > 0, "no round was made");
  CHECK(children_heard_of == 0, "SIGCHLD came %d times", children_heard_of);
  CHECK(getpid() == self && getpgrp() == group && getsid(0) == session, "it is another process");
  say("ok\n");
  return 0;
}
