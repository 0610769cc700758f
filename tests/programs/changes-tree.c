/*
 * A tree whose processes change memory in steps, one with each SIGUSR1 to the first: all have it at the same address, each with
 * bytes of its own. At the second step a child is born, at the third one ends.
 */
#include "self-check.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { PAGE = 4096, PAGES = 512, FIRST = 0, ENDS = 2, BORN = 3, ALL = 4, BORN_AT = 2, ENDS_AT = 3 };

static struct board {
  volatile int steps, done[ALL], checked[ALL];
} *board;
static unsigned long *memory;
static unsigned generation[PAGES];
static volatile sig_atomic_t asked;

static void on_signal(int number) {
  (void)number;
  asked++;
}

static void nap(void) {
  struct timespec moment = {0, 2000000};
  nanosleep(&moment, NULL);
}

static unsigned long word(int who, int page, unsigned of_generation, int index) {
  return ((unsigned long)(who + 1) << 48) + (unsigned long)page * 65536 + of_generation * 1024 + (unsigned long)index;
}

static void write_page(int who, int page, unsigned of_generation) {
  generation[page] = of_generation;
  for (int i = 0; i < PAGE / 8; i++) memory[page * PAGE / 8 + i] = word(who, page, of_generation, i);
}

static void check_all(int who) {
  for (int page = 0; page < PAGES; page++) {
    for (int i = 0; i < PAGE / 8; i++) {
      CHECK(memory[page * PAGE / 8 + i] == word(who, page, generation[page], i), "page %d of process %d is not of generation %u",
            page, who, generation[page]);
    }
  }
}

static void step(int who, int number) {
  for (int page = (number + who) % 31; page < PAGES; page += 31) write_page(who, page, (unsigned)number + 1);
  check_all(who);
  board->done[who] = number;
}

static pid_t have(int who) {
  pid_t pid = fork();
  CHECK(pid >= 0, "fork: errno %d", errno);
  if (pid > 0) return pid;
  CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "PR_SET_PDEATHSIG: errno %d", errno);
  int done = board->steps;
  for (int page = 0; page < PAGES; page++) write_page(who, page, 1);
  board->done[who] = done;
  for (int i = 0; i < PATIENCE && !may_go(); i++) {
    nap();
    if (done < board->steps) step(who, ++done);
    if (who == ENDS && done == ENDS_AT) _exit(0);
  }
  check_all(who);
  check_ballast();
  board->checked[who] = 1;
  _exit(20 + who);
}

static void await(volatile int *value, int wanted, int who) {
  for (int i = 0; i < PATIENCE && *value != wanted; i++) nap();
  CHECK(*value == wanted, "process %d is at %d, not %d", who, *value, wanted);
}

int main(void) {
  board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(board != MAP_FAILED && memory != MAP_FAILED, "mmap: errno %d", errno);
  struct sigaction action = {.sa_handler = on_signal};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0, "sigaction: errno %d", errno);
  for (int page = 0; page < PAGES; page++) write_page(FIRST, page, 1);
  pid_t children[ALL] = {0};
  for (int who = FIRST + 1; who < BORN; who++) children[who] = have(who);
  say("ready\n");
  for (int i = 0; i < PATIENCE && !may_go(); i++) {
    nap();
    if (board->steps >= asked) continue;
    int number = board->steps + 1;
    if (number == BORN_AT) children[BORN] = have(BORN);
    board->steps = number;
    step(FIRST, number);
    for (int who = FIRST + 1; who < ALL; who++) {
      if (children[who] != 0) await(&board->done[who], number, who);
    }
    int status;
    if (number == ENDS_AT) {
      CHECK(waitpid(children[ENDS], &status, 0) == children[ENDS] && status == 0, "it ended with %x", status);
      children[ENDS] = 0;
    }
    char text[32];
    snprintf(text, sizeof text, "step %d\n", number);
    say(text);
  }
  CHECK(may_go(), "nobody told me to go on");
  check_all(FIRST);
  check_ballast();
  for (int who = FIRST + 1; who < ALL; who++) {
    if (children[who] == 0) continue;
    int status;
    CHECK(waitpid(children[who], &status, 0) == children[who], "waitpid: errno %d", errno);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 20 + who && board->checked[who], "process %d ended with %x", who, status);
  }
  say("ok\n");
  return 0;
}
