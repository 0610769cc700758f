/*
 * A parent with memory that its children have from it, copy-on-write: each changes a few pages of it, a grandchild a few more, the parent some after
 * they were born, and each gives back and moves some. All check every page.
 *
 * copy-on-write MEBIBYTES CHILDREN
 */
#include "self-check.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define PAGE 4096
#define MOST 64
/* Every so many pages somebody has one of his own. */
#define STRIDE 509

static unsigned *memory;
static size_t pages;
/* Of the file itself, until it is written to. */
static char data[64 * PAGE] = {1};

static struct board {
  volatile int ready, may_end, checked;
} *board;

/* Memory that fork(2) does not simply copy, or that the child protects otherwise: four pages each. */
enum { WIPED, LEFT_OUT, LOCKED, PROTECTED, KINDS };
static unsigned char *kinds[KINDS];

static void make_kinds(void) {
  for (int kind = 0; kind < KINDS; kind++) {
    kinds[kind] = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(kinds[kind] != MAP_FAILED, "mmap: errno %d", errno);
    memset(kinds[kind], 0x30 + kind, 4 * PAGE);
  }
  CHECK(madvise(kinds[WIPED], 4 * PAGE, MADV_WIPEONFORK) == 0, "MADV_WIPEONFORK: errno %d", errno);
  CHECK(madvise(kinds[LEFT_OUT], 4 * PAGE, MADV_DONTFORK) == 0, "MADV_DONTFORK: errno %d", errno);
  CHECK(mlock(kinds[LOCKED], 4 * PAGE) == 0, "mlock: errno %d", errno);
}

static void check_kinds(int is_child) {
  for (int kind = 0; kind < KINDS; kind++) {
    if (is_child && kind == LEFT_OUT) {
      unsigned char there[4];
      CHECK(mincore(kinds[kind], 4 * PAGE, there) == -1 && errno == ENOMEM, "memory that is left out is there");
      continue;
    }
    int want = is_child && kind == WIPED ? 0 : 0x30 + kind;
    for (int i = 0; i < 4 * PAGE; i++) CHECK(kinds[kind][i] == want, "byte %d of kind %d is %d", i, kind, kinds[kind][i]);
  }
  /* A call that would have to write to it fails, where it may only be read. */
  int result = (int)syscall(SYS_clock_gettime, CLOCK_MONOTONIC, kinds[PROTECTED]) == 0 ? 0 : errno;
  CHECK(result == (is_child ? EFAULT : 0), "clock_gettime into it: %d", result);
}

static void nap(void) {
  struct timespec moment = {0, 2000000};
  nanosleep(&moment, NULL);
}

enum { PARENT = 0, GRANDCHILD = MOST + 1 };

/* What process `who` has changed: pages of the remainder who + 1. */
static int is_changed_by(int who, size_t page) { return page % STRIDE == (size_t)who + 1; }

static void change(int who) {
  for (size_t page = 0; page < pages; page++) {
    if (!is_changed_by(who, page)) continue;
    for (unsigned i = 0; i < PAGE / 4; i++) memory[page * (PAGE / 4) + i] = 0x1000000u * (unsigned)(who + 1) + (unsigned)page + i;
  }
}

/* `makers`: who has written before it was born, and it itself, the last one first; ended by -1. */
static void check(const int *makers, size_t gone) {
  for (size_t page = 0; page < pages; page++) {
    unsigned add = 0;
    for (const int *who = makers; *who >= 0 && add == 0; who++) {
      if (is_changed_by(*who, page)) add = 0x1000000u * (unsigned)(*who + 1);
    }
    for (unsigned i = 0; i < PAGE / 4; i++) {
      unsigned want = page == gone ? 0 : add + (unsigned)page + i;
      unsigned is = memory[page * (PAGE / 4) + i];
      CHECK(is == want, "process %d of those before: word %u of page %zu is %x, not %x", makers[0], i, page, is, want);
    }
  }
}

static void check_data(int who) {
  for (int page = 0; page < 64; page++) {
    char want = page == 0 ? (page == who % 64 ? 77 : 1) : page == who % 64 ? 77 : page == 63 ? 5 : 0;
    CHECK(data[page * PAGE] == want, "process %d: page %d of the data begins with %d", who, page, data[page * PAGE]);
  }
}

static void live(int who, const int *makers, size_t gone) {
  CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "PR_SET_PDEATHSIG: errno %d", errno);
  data[(who % 64) * PAGE] = 77;
  /* A heap that grows where the parent's ends. */
  char *more = sbrk(3 * PAGE);
  CHECK(more != (void *)-1, "sbrk: errno %d", errno);
  memset(more, who + 1, 3 * PAGE);
  change(who);
  CHECK(mprotect(kinds[PROTECTED], 4 * PAGE, PROT_READ) == 0, "mprotect: errno %d", errno);
  CHECK(madvise(memory + gone * (PAGE / 4), PAGE, MADV_DONTNEED) == 0, "MADV_DONTNEED: errno %d", errno);
  __atomic_add_fetch(&board->ready, 1, __ATOMIC_SEQ_CST);
  wait_for_go();
  check(makers, gone);
  check_data(who);
  check_kinds(1);
  for (int i = 0; i < 3 * PAGE; i++) CHECK(more[i] == (char)(who + 1), "process %d: byte %d of its heap is %d", who, i, more[i]);
  /* What it writes is its own. */
  memory[7 * (PAGE / 4)] = 0xabcd + (unsigned)who;
  __atomic_add_fetch(&board->checked, 1, __ATOMIC_SEQ_CST);
  for (int i = 0; i < PATIENCE && !board->may_end; i++) nap();
  CHECK(memory[7 * (PAGE / 4)] == 0xabcd + (unsigned)who, "process %d: somebody else has written to its page", who);
}

static void wait_until(volatile int *flag, int value, const char *what) {
  for (int i = 0; i < PATIENCE && *flag < value; i++) nap();
  CHECK(*flag >= value, "%s: %d of %d", what, *flag, value);
}

int main(int count, char **words) {
  CHECK(count == 3, "how much memory, and how many children?");
  pages = (size_t)atoi(words[1]) * 256;
  int children = atoi(words[2]);
  CHECK(children > 0 && children <= MOST, "%d children", children);
  board = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(board != MAP_FAILED && memory != MAP_FAILED, "mmap: errno %d", errno);
  for (size_t page = 0; page < pages; page++) {
    for (unsigned i = 0; i < PAGE / 4; i++) memory[page * (PAGE / 4) + i] = (unsigned)page + i;
  }
  data[63 * PAGE] = 5;
  char *heap = sbrk(16 * PAGE);
  CHECK(heap != (void *)-1, "sbrk: errno %d", errno);
  memset(heap, 9, 16 * PAGE);
  make_kinds();
  for (int who = 1; who <= children; who++) {
    pid_t pid = fork();
    CHECK(pid >= 0, "fork: errno %d", errno);
    if (pid > 0) continue;
    const int makers[] = {who, -1};
    if (who == 1) {
      change(who);
      if (fork() == 0) {
        const int of_grandchild[] = {GRANDCHILD, 1, -1};
        live(GRANDCHILD, of_grandchild, 11);
        _exit(0);
      }
    }
    live(who, makers, 10 + (size_t)who);
    while (wait(NULL) > 0) {
    }
    _exit(0);
  }
  wait_until(&board->ready, children + 1, "not all are ready");
  /* The children keep what was there before. */
  change(PARENT);
  say("ready\n");
  wait_for_go();
  const int own[] = {PARENT, -1};
  check(own, pages);
  check_kinds(0);
  for (int i = 0; i < 16 * PAGE; i++) CHECK(heap[i] == 9, "byte %d of the heap is %d", i, heap[i]);
  wait_until(&board->checked, children + 1, "not all have checked themselves");
  CHECK(memory[7 * (PAGE / 4)] == 7, "a child has written to the page of the parent");
  board->may_end = 1;
  for (int status = 0; wait(&status) > 0;) CHECK(status == 0, "a child ended with %x", status);
  CHECK(errno == ECHILD, "wait: errno %d", errno);
  say("ok\n");
  return 0;
}
