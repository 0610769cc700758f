/*
 * A process and its descendants: sessions and groups with and without their leaders, children that have ended or are stopped,
 * pipes, a file and memory that they share. Each checks itself; the first one gathers what they say.
 */
#include "self-check.h"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define PAGE 4096

enum { OLDER, LEADER, YOUNGER, GROUP, MEMBER, LEFT, READER, STOPPED, TOLD, ORPHAN, ADOPTED, MEMBERS };
static const char *names[] = {"older", "leader", "younger", "group", "member", "left", "reader", "stopped", "told", "orphan", "adopted"};

struct member {
  pid_t pid, parent, group, session;
  volatile int ready, checked;
};

static struct board {
  volatile int may_end;
  pid_t root;
  struct member members[MEMBERS];
} *board;

static volatile int told_of_children;
static int shared_file, to_member[2], to_left[2];

static void count_child(int signal) {
  (void)signal;
  told_of_children++;
}

static void nap(void) {
  struct timespec moment = {0, 2000000};
  nanosleep(&moment, NULL);
}

static void wait_until(volatile int *flag, const char *what) {
  for (int i = 0; i < PATIENCE && !*flag; i++) nap();
  CHECK(*flag, "%s did not come", what);
}

static void note(int who) {
  struct member *me = &board->members[who];
  me->pid = getpid();
  me->parent = getppid();
  me->group = getpgid(0);
  me->session = getsid(0);
}

static void check_place(int who) {
  const struct member *me = &board->members[who];
  CHECK(getpid() == me->pid, "%s has pid %d", names[who], getpid());
  CHECK(getppid() == me->parent, "%s has parent %d, not %d", names[who], getppid(), me->parent);
  CHECK(getpgid(0) == me->group, "%s is in group %d, not %d", names[who], getpgid(0), me->group);
  CHECK(getsid(0) == me->session, "%s is in session %d, not %d", names[who], getsid(0), me->session);
}

/* What a member does from its birth to its end: `pattern` is in memory of its own. */
static void live(int who) {
  unsigned char *own = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(own != MAP_FAILED, "mmap: errno %d", errno);
  memset(own, 0x40 + who, 3 * PAGE);
  CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "PR_SET_PDEATHSIG: errno %d", errno);
  note(who);
  board->members[who].ready = 1;
  if (who == STOPPED || who == TOLD) raise(SIGSTOP);
  wait_for_go();
  int on_death = 0;
  CHECK(prctl(PR_GET_PDEATHSIG, &on_death) == 0 && on_death == SIGKILL, "%s: death signal %d", names[who], on_death);
  check_place(who);
  for (int i = 0; i < 3 * PAGE; i++) CHECK(own[i] == 0x40 + who, "%s: byte %d is %d", names[who], i, own[i]);
  char text[16] = "";
  if (who == MEMBER) {
    CHECK(read(to_member[0], text, 9) == 9 && memcmp(text, "to member", 9) == 0, "the pipe to the member has %s", text);
  }
  if (who == LEFT) CHECK(read(to_left[0], text, 7) == 7 && memcmp(text, "to left", 7) == 0, "the other pipe has %s", text);
  board->members[who].checked = 1;
  for (int i = 0; i < PATIENCE && !board->may_end; i++) nap();
}

static pid_t have(int who, void (*first)(void)) {
  pid_t pid = fork();
  CHECK(pid >= 0, "fork: errno %d", errno);
  if (pid > 0) return pid;
  signal(SIGCHLD, SIG_DFL);
  if (first != NULL) first();
  live(who);
  while (waitpid(-1, NULL, 0) > 0) {
  }
  _exit(20 + who);
}

#ifdef SUBREAPER
/* Becomes the root's, and stays in its session, when its parent has ended. */
static void be_orphaned(int who) {
  pid_t between = fork();
  if (between == 0) {
    if (fork() == 0) {
      while (getppid() != board->root) nap();
      live(who);
      _exit(20 + who);
    }
    _exit(0);
  }
  CHECK(waitpid(between, NULL, 0) == between, "waitpid: errno %d", errno);
}
#endif

static void lead_session(void) {
  have(OLDER, NULL);
  CHECK(setsid() == getpid(), "setsid: errno %d", errno);
  have(YOUNGER, NULL);
#ifdef SUBREAPER
  be_orphaned(ADOPTED);
#endif
}

static void lead_group(void) {
  CHECK(setpgid(0, 0) == 0, "setpgid: errno %d", errno);
  have(MEMBER, NULL);
}

static pid_t left_group;
static void join_left_group(void) { CHECK(setpgid(0, left_group) == 0, "setpgid: errno %d", errno); }

static pid_t end_with(int status, int by) {
  pid_t pid = fork();
  if (pid > 0) return pid;
  prctl(PR_SET_NAME, by ? "was killed" : "has ended");
  if (by) raise(by);
  _exit(status);
}

static void wait_zombie(pid_t pid) {
  siginfo_t info;
  CHECK(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0, "waitid: errno %d", errno);
}

#ifdef SUBREAPER
/* It becomes ours when its parent, the leader of its session, has ended. */
static void have_orphan(void) {
  pid_t between = fork();
  if (between == 0) {
    CHECK(setsid() == getpid(), "setsid: errno %d", errno);
    pid_t root = getppid();
    if (fork() == 0) {
      while (getppid() != root) nap();
      live(ORPHAN);
      _exit(20 + ORPHAN);
    }
    _exit(0);
  }
  CHECK(waitpid(between, NULL, 0) == between, "waitpid: errno %d", errno);
}
#endif

int main(void) {
  board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(board != MAP_FAILED, "mmap: errno %d", errno);
  shared_file = open("shared", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(write(shared_file, "0123456789", 10) == 10 && lseek(shared_file, 3, SEEK_SET) == 3, "a file: errno %d", errno);
  CHECK(pipe(to_member) == 0 && pipe(to_left) == 0, "pipe: errno %d", errno);
  CHECK(write(to_member[1], "to member", 9) == 9 && write(to_left[1], "to left", 7) == 7, "write: errno %d", errno);
  signal(SIGCHLD, count_child);
  board->root = getpid();
#ifdef SUBREAPER
  CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0, "PR_SET_CHILD_SUBREAPER: errno %d", errno);
#endif

  pid_t leader = have(LEADER, lead_session);
  pid_t group = have(GROUP, lead_group);
  pid_t first = end_with(0, SIGSTOP);
  CHECK(waitpid(first, NULL, WUNTRACED) == first && setpgid(first, first) == 0, "a group: errno %d", errno);
  left_group = first;
  pid_t left = have(LEFT, join_left_group);
  wait_until(&board->members[LEFT].ready, "the member of a group");
  CHECK(kill(first, SIGKILL) == 0 && waitpid(first, NULL, 0) == first, "the end of a leader: errno %d", errno);
  pid_t reader = have(READER, NULL);
  pid_t ended = end_with(7, 0), killed = end_with(0, SIGTERM);
  wait_zombie(ended);
  wait_zombie(killed);
  pid_t stopped = have(STOPPED, NULL), told = have(TOLD, NULL);
  int status;
  CHECK(waitpid(told, &status, WUNTRACED) == told && WIFSTOPPED(status), "a stop: status %x", status);
  siginfo_t info;
  CHECK(waitid(P_PID, (id_t)stopped, &info, WSTOPPED | WNOWAIT) == 0, "waitid: errno %d", errno);
  int members = ORPHAN;
#ifdef SUBREAPER
  have_orphan();
  members = MEMBERS;
#endif
  for (int i = 0; i < members; i++) wait_until(&board->members[i].ready, names[i]);
  pid_t me = getpid(), mine = getpgid(0), session = getsid(0);
  int children = told_of_children;
  say("ready\n");

  wait_for_go();
  CHECK(told_of_children == children, "%d signals of children, not %d", told_of_children, children);
  CHECK(getpid() == me && getpgid(0) == mine && getsid(0) == session, "the first one is somewhere else");
  CHECK(waitpid(told, &status, WUNTRACED | WNOHANG) == 0, "a stop is told twice");
  CHECK(waitpid(stopped, &status, WUNTRACED | WNOHANG) == stopped && WIFSTOPPED(status), "a stop is not told");
  CHECK(WSTOPSIG(status) == SIGSTOP, "it was stopped by %d", WSTOPSIG(status));
  CHECK(kill(stopped, SIGCONT) == 0 && kill(told, SIGCONT) == 0, "kill: errno %d", errno);
  for (int i = 0; i < members; i++) wait_until(&board->members[i].checked, names[i]);
  char text[4] = "";
  CHECK(read(shared_file, text, 3) == 3 && memcmp(text, "345", 3) == 0, "the file gives %s", text);
  CHECK(waitpid(ended, &status, 0) == ended && WIFEXITED(status) && WEXITSTATUS(status) == 7, "status %x", status);
  CHECK(waitpid(killed, &status, 0) == killed && WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM, "status %x", status);
  board->may_end = 1;
  const struct {
    pid_t pid;
    int who;
  } mine_to_wait_for[] = {{leader, LEADER}, {group, GROUP}, {left, LEFT}, {reader, READER}, {stopped, STOPPED}, {told, TOLD}};
  for (size_t i = 0; i < sizeof mine_to_wait_for / sizeof *mine_to_wait_for; i++) {
    CHECK(waitpid(mine_to_wait_for[i].pid, &status, 0) == mine_to_wait_for[i].pid, "waitpid: errno %d", errno);
    int who = mine_to_wait_for[i].who;
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 20 + who, "%s ended with %x", names[who], status);
  }
#ifdef SUBREAPER
  for (int orphans = 0; orphans < 2; orphans++) {
    CHECK(waitpid(-1, &status, 0) > 0 && WEXITSTATUS(status) >= 20 + ORPHAN, "an orphan ended with %x", status);
  }
#endif
  CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD, "there is one more child");
  say("ok\n");
  return 0;
}
