/*
 * Runs `quicksave checkpoint --self` as its child: saves-itself HOW COMMAND IMAGE. Notes in the file "sides" on which side it
 * is, waits for the file "go", and looks whether anything of the child is left.
 */
#include "self-check.h"
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/wait.h>

static const char *command, *image;
static volatile sig_atomic_t signals, reaped;
static uint32_t block[1 << 16];

static void note(const char *text) {
  int sides = open("sides", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  CHECK(sides >= 0 && write(sides, text, strlen(text)) == (ssize_t)strlen(text), "the file of sides");
  close(sides);
}

static void run_command(void) {
  execl(command, command, "checkpoint", "--self", "--output", image, (char *)NULL);
  _exit(127);
}

static pid_t start_command(void) {
  pid_t child = fork();
  CHECK(child >= 0, "fork");
  if (child == 0) run_command();
  return child;
}

static int wait_for(pid_t child) {
  int status;
  pid_t ended = waitpid(child, &status, 0);
  CHECK(ended == child, "waitpid: %d, errno %d, reaped %d", ended, errno, (int)reaped);
  return status;
}

static int plainly(void) { return wait_for(start_command()); }

/* The child is found by the call that waits for it, before a handler that reaps whatever it finds. No SA_RESTART. */
static void reap(int number) {
  int saved = errno;
  (void)number;
  signals++;
  if (waitpid(-1, NULL, WNOHANG) > 0) reaped++;
  errno = saved;
}

static int beside_a_handler(void) {
  struct sigaction action = {.sa_handler = reap};
  sigaction(SIGCHLD, &action, NULL);
  int status = wait_for(start_command());
  CHECK(signals == 1 && reaped == 0, "%d signals, %d reaped", (int)signals, (int)reaped);
  return status;
}

static int with_signals_blocked(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  sigprocmask(SIG_BLOCK, &set, NULL);
  pid_t child = start_command();
  siginfo_t info, seen;
  int number;
  do number = sigwaitinfo(&set, &info);
  while (number < 0 && errno == EINTR);
  CHECK(number == SIGCHLD && info.si_pid == child && info.si_code == CLD_EXITED, "siginfo: %d of %d", number, info.si_pid);
  CHECK(waitid(P_PID, child, &seen, WEXITED | WNOWAIT) == 0 && seen.si_status == info.si_status, "waitid");
  int status = wait_for(child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == info.si_status, "si_status");
  return status;
}

static int in_a_group(int is_session) {
  pid_t child = fork();
  if (child == 0) {
    if (is_session) setsid();
    else setpgid(0, 0);
    run_command();
  }
  siginfo_t seen;
  CHECK(waitid(P_PID, child, &seen, WEXITED | WNOWAIT) == 0, "waitid: errno %d", errno);
  CHECK(getpgid(child) == child, "its group is %d", getpgid(child));
  CHECK(getsid(child) == (is_session ? child : getsid(0)), "its session is %d", getsid(child));
  int status;
  CHECK(waitpid(-child, &status, 0) == child, "waitpid for the group: errno %d", errno);
  return status;
}

static int through_a_pipe(void) {
  char line[4096], said[256];
  snprintf(line, sizeof line, "exec '%s' checkpoint --self --output '%s' 2>&1", command, image);
  FILE *pipe = popen(line, "r");
  CHECK(pipe != NULL, "popen");
  size_t length = fread(said, 1, sizeof said - 1, pipe);
  said[length] = 0;
  CHECK(feof(pipe), "the pipe does not end: errno %d", errno);
  int status = pclose(pipe);
  CHECK(WEXITSTATUS(status) == 3 ? length == 0 : strstr(said, "saved process") != NULL, "it has said: %s", said);
  return status;
}

static void *waits(void *status) {
  *(int *)status = plainly();
  return NULL;
}

static int in_a_thread(void) {
  int status = -1;
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, waits, &status) == 0 && pthread_join(thread, NULL) == 0, "pthread");
  return status;
}

int main(int count, char **arguments) {
  CHECK(count == 4, "usage");
  const char *how = arguments[1];
  command = arguments[2], image = arguments[3];
  for (uint32_t i = 0; i < sizeof block / sizeof *block; i++) block[i] = i * 2654435761u;
  int status = !strcmp(how, "plainly")        ? plainly()
               : !strcmp(how, "handler")      ? beside_a_handler()
               : !strcmp(how, "blocked")      ? with_signals_blocked()
               : !strcmp(how, "group")        ? in_a_group(0)
               : !strcmp(how, "session")      ? in_a_group(1)
               : !strcmp(how, "pipe")         ? through_a_pipe()
               : !strcmp(how, "thread")       ? in_a_thread()
                                              : -1;
  CHECK(status >= 0, "usage");
  if (WIFSIGNALED(status)) note("killed\n");
  else if (WEXITSTATUS(status) == 0) note("goes on\n");
  else if (WEXITSTATUS(status) == 3) note("restarted\n");
  else note("failed\n");
  for (uint32_t i = 0; i < sizeof block / sizeof *block; i++) CHECK(block[i] == i * 2654435761u, "memory");
  CHECK(waitpid(-1, NULL, __WALL | WNOHANG) == -1 && errno == ECHILD, "a child is left");
  wait_for_go();
  say("ok\n");
  return 0;
}
