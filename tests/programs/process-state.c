/* What belongs to a process as a whole. */
#include "self-check.h"
#include <signal.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <ucontext.h>

static volatile int taken[64], values[64], count_taken;
static void *handler_stack;

static void on_signal(int number, siginfo_t *info, void *context) {
  (void)context;
  taken[count_taken] = number;
  values[count_taken] = info->si_value.sival_int;
  count_taken = count_taken + 1;
}

static void on_stack(int number) {
  (void)number;
  char here;
  CHECK(&here >= (char *)handler_stack && &here < (char *)handler_stack + SIGSTKSZ, "the handler is not on its stack");
}

static char *slurp(const char *path) {
  int file = open(path, O_RDONLY);
  char *text = calloc(1, 65536);
  ssize_t size = read(file, text, 65535);
  CHECK(file >= 0 && size >= 0, "cannot read %s", path);
  for (ssize_t i = 0; i < size; i++)
    if (!text[i]) text[i] = ' ';
  close(file);
  return text;
}

/* The memory fields of stat: start_code .. env_end are fields 26-28 and 45-51. */
static void memory_fields(char *out, size_t size) {
  char *text = slurp("/proc/self/stat"), *field = strrchr(text, ')') + 2;
  size_t used = 0;
  for (int number = 3; field; number++) {
    char *next = strchr(field, ' ');
    if (next) *next++ = 0;
    if ((number >= 26 && number <= 28) || (number >= 45 && number <= 51))
      used += (size_t)snprintf(out + used, size - used, "%s ", field);
    field = next;
  }
}

int main(int count, char **arguments) {
  (void)count;
  setsid();
  mkdir("below", 0700);
  umask(027);
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = 234;
  CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
  struct rlimit core = {0, 12345};
  setrlimit(RLIMIT_CORE, &core);
  struct sigaction action = {0};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigaddset(&action.sa_mask, SIGUSR2);
  sigaction(SIGRTMIN + 3, &action, NULL);
  sigaction(SIGUSR1, &action, NULL);
  struct sigaction elsewhere = {0};
  elsewhere.sa_handler = on_stack;
  elsewhere.sa_flags = SA_ONSTACK | SA_RESETHAND;
  sigaction(SIGUSR2, &elsewhere, NULL);
  signal(SIGWINCH, SIG_IGN);
  handler_stack = malloc(SIGSTKSZ);
  stack_t stack = {.ss_sp = handler_stack, .ss_size = SIGSTKSZ};
  sigaltstack(&stack, NULL);
  sigset_t blocked, now;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  sigaddset(&blocked, SIGRTMIN + 3);
  sigprocmask(SIG_BLOCK, &blocked, NULL);
  for (int i = 0; i < 5; i++) sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = 100 + i});
  kill(getpid(), SIGUSR1);
  personality(ADDR_NO_RANDOMIZE);
  int file = open("/proc/self/oom_score_adj", O_WRONLY);
  CHECK(write(file, "321", 3) == 3, "oom_score_adj");
  close(file);
  prctl(PR_SET_NAME, "new name");
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  prctl(PR_SET_TIMERSLACK, 123456);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  CHECK(setpriority(PRIO_PROCESS, 0, 7) == 0, "setpriority");
  struct itimerval timer = {{0, 0}, {1000, 0}};
  setitimer(ITIMER_REAL, &timer, NULL);
  CHECK(chdir("below") == 0, "chdir");
  char fields[512] = "", fields_after[512] = "", *command = slurp("/proc/self/cmdline"), *environment = slurp("/proc/self/environ");
  char link[512] = "", link_after[512] = "";
  memory_fields(fields, sizeof fields);
  CHECK(readlink("/proc/self/exe", link, sizeof link - 1) > 0, "readlink");
  pid_t pid = getpid();
  say("ready\n");
  struct timespec moment = {0, 2000000};
  for (int i = 0; i < PATIENCE && access("../go", F_OK) != 0; i++) {
    struct timespec left = moment;
    while (nanosleep(&left, &left) != 0) CHECK(errno == EINTR, "nanosleep");
  }
  CHECK(getpid() == pid && getpgrp() == pid && getsid(0) == pid, "pid %d group %d session %d", getpid(), getpgrp(), getsid(0));
  CHECK(umask(0) == 027, "umask");
  CHECK(access("../below", F_OK) == 0 && access("../go", F_OK) == 0, "the working directory");
  getrlimit(RLIMIT_NOFILE, &limit);
  CHECK(limit.rlim_cur == 234, "RLIMIT_NOFILE is %lu", limit.rlim_cur);
  getrlimit(RLIMIT_CORE, &limit);
  CHECK(limit.rlim_cur == 0 && limit.rlim_max == 12345, "RLIMIT_CORE");
  struct sigaction found;
  sigaction(SIGUSR1, NULL, &found);
  CHECK(found.sa_sigaction == on_signal && (found.sa_flags & SA_RESTART) && sigismember(&found.sa_mask, SIGUSR2), "SIGUSR1's action");
  sigaction(SIGWINCH, NULL, &found);
  CHECK(found.sa_handler == SIG_IGN, "SIGWINCH's action");
  sigaction(SIGPIPE, NULL, &found);
  CHECK(found.sa_handler == SIG_DFL, "SIGPIPE's action");
  sigprocmask(SIG_BLOCK, NULL, &now);
  CHECK(sigismember(&now, SIGUSR1) && sigismember(&now, SIGRTMIN + 3) && !sigismember(&now, SIGTERM), "the signal mask");
  CHECK(count_taken == 0, "a signal came too early");
  sigprocmask(SIG_UNBLOCK, &blocked, NULL);
  CHECK(count_taken == 6, "%d signals came", count_taken);
  int expected = 100;
  for (int i = 0; i < 6; i++) {
    if (taken[i] == SIGRTMIN + 3) CHECK(values[i] == expected++, "signal %d has value %d", i, values[i]);
    else CHECK(taken[i] == SIGUSR1, "signal %d is %d", i, taken[i]);
  }
  raise(SIGUSR2);
  sigaction(SIGUSR2, NULL, &found);
  CHECK(found.sa_handler == SIG_DFL, "SIGUSR2 was not reset");
  CHECK(personality(0xffffffff) == ADDR_NO_RANDOMIZE, "personality");
  CHECK(atoi(slurp("/proc/self/oom_score_adj")) == 321, "oom_score_adj");
  char name[17] = "";
  prctl(PR_GET_NAME, name);
  CHECK(strcmp(name, "new name") == 0, "the name is %s", name);
  int flag = 0;
  prctl(PR_GET_CHILD_SUBREAPER, &flag);
  CHECK(flag == 1, "subreaper");
  CHECK(prctl(PR_GET_TIMERSLACK) == 123456, "timer slack");
  CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "no_new_privs");
  CHECK(getpriority(PRIO_PROCESS, 0) == 7, "nice value");
  getitimer(ITIMER_REAL, &timer);
  CHECK(timer.it_value.tv_sec > 800 && timer.it_value.tv_sec < 1000, "the timer has %ld s left", timer.it_value.tv_sec);
  memory_fields(fields_after, sizeof fields_after);
  CHECK(strcmp(fields, fields_after) == 0, "the memory fields were %s, are %s", fields, fields_after);
  CHECK(strcmp(command, slurp("/proc/self/cmdline")) == 0, "the command line");
  CHECK(strcmp(environment, slurp("/proc/self/environ")) == 0, "the environment");
  CHECK(readlink("/proc/self/exe", link_after, sizeof link_after - 1) > 0 && strcmp(link, link_after) == 0, "exe is %s", link_after);
  CHECK(arguments[0] != NULL, "the arguments");
  say("ok\n");
  return 0;
}
