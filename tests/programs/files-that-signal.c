/* Whom files signal: F_SETOWN_EX, F_SETSIG, O_ASYNC, and leases (fcntl(2)). */
#include "self-check.h"
#include <signal.h>

static volatile sig_atomic_t signals, from_fd;

static void on_signal(int signal, siginfo_t *info, void *context) {
  (void)context;
  if (signal == SIGRTMIN + 3) from_fd = info->si_fd;
  signals++;
}

static int wait_for(int count) {
  struct timespec moment = {0, 1000000};
  for (int i = 0; i < 10000 && signals < count; i++) nanosleep(&moment, NULL);
  int got = signals;
  signals = 0;
  return got;
}

static void set_owner(int fd, int type, int pid) {
  struct f_owner_ex owner = {type, pid};
  CHECK(fcntl(fd, F_SETOWN_EX, &owner) == 0, "F_SETOWN_EX: errno %d", errno);
}

static void check_owner(int fd, int type, int pid) {
  struct f_owner_ex owner = {-1, -1};
  CHECK(fcntl(fd, F_GETOWN_EX, &owner) == 0 && (int)owner.type == type && owner.pid == pid, "the owner of %d: %d %d", fd, (int)owner.type, owner.pid);
}

int main(void) {
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
  sigaction(SIGIO, &action, NULL);
  sigaction(SIGRTMIN + 3, &action, NULL);
  if (getpgrp() != getpid()) CHECK(setpgid(0, 0) == 0, "setpgid");

  int silent[2], loud[2], group[2], thread[2], nobody[2];
  CHECK(pipe(silent) == 0 && pipe(loud) == 0 && pipe(group) == 0 && pipe(thread) == 0 && pipe(nobody) == 0, "pipe");
  set_owner(silent[0], F_OWNER_PID, getpid());
  set_owner(loud[0], F_OWNER_PID, getpid());
  CHECK(fcntl(loud[0], F_SETSIG, SIGRTMIN + 3) == 0 && fcntl(loud[0], F_SETFL, O_ASYNC | O_NONBLOCK) == 0, "O_ASYNC");
  set_owner(group[0], F_OWNER_PGRP, getpid());
  CHECK(fcntl(group[0], F_SETFL, O_ASYNC) == 0, "O_ASYNC");
  set_owner(thread[0], F_OWNER_TID, getpid());
  CHECK(fcntl(thread[0], F_SETSIG, SIGIO) == 0, "F_SETSIG");
  CHECK(fcntl(nobody[0], F_SETFL, O_ASYNC) == 0, "O_ASYNC");

  CHECK(close(open("leased", O_WRONLY | O_CREAT | O_TRUNC, 0600)) == 0 && close(open("own", O_WRONLY | O_CREAT | O_TRUNC, 0600)) == 0, "files");
  int leased = open("leased", O_RDONLY), own = open("own", O_RDWR);
  CHECK(fcntl(leased, F_SETLEASE, F_RDLCK) == 0 && fcntl(own, F_SETLEASE, F_WRLCK) == 0, "F_SETLEASE: errno %d", errno);
  CHECK(fcntl(own, F_SETSIG, SIGRTMIN + 3) == 0, "F_SETSIG");

  say("ready\n");
  wait_for_go();

  check_owner(silent[0], F_OWNER_PID, getpid());
  check_owner(loud[0], F_OWNER_PID, getpid());
  check_owner(group[0], F_OWNER_PGRP, getpid());
  check_owner(thread[0], F_OWNER_TID, getpid());
  check_owner(nobody[0], F_OWNER_TID, 0);
  CHECK(fcntl(thread[0], F_GETSIG) == SIGIO && fcntl(silent[0], F_GETSIG) == 0, "F_GETSIG");
  CHECK(write(silent[1], "x", 1) == 1 && write(nobody[1], "x", 1) == 1 && signals == 0, "a silent file signals");
  CHECK(fcntl(loud[0], F_GETFL) == (O_ASYNC | O_NONBLOCK), "flags %x", fcntl(loud[0], F_GETFL));
  CHECK(write(loud[1], "x", 1) == 1 && wait_for(1) == 1 && from_fd == loud[0], "the signal of %d", (int)from_fd);
  CHECK(write(group[1], "x", 1) == 1 && wait_for(1) == 1, "the signal to the group");
  CHECK(fcntl(group[0], F_SETFL, 0) == 0 && write(group[1], "x", 1) == 1 && signals == 0, "the file that was silenced");

  CHECK(fcntl(leased, F_GETLEASE) == F_RDLCK && fcntl(own, F_GETLEASE) == F_WRLCK, "leases");
  CHECK(open("leased", O_WRONLY | O_NONBLOCK) == -1 && errno == EWOULDBLOCK && wait_for(1) == 1, "the lease: errno %d", errno);
  from_fd = -1;
  CHECK(open("own", O_RDONLY | O_NONBLOCK) == -1 && errno == EWOULDBLOCK && wait_for(1) == 1 && from_fd == own, "the write lease: errno %d", errno);
  CHECK(fcntl(leased, F_SETLEASE, F_UNLCK) == 0 && fcntl(own, F_SETLEASE, F_UNLCK) == 0, "F_UNLCK");
  say("ok\n");
  return 0;
}
