/*
 * What a program can do to its memory while the pages are still on their way: reads in any order from several threads, system calls that read and write
 * it, fork, mremap, munmap, madvise, execve in a child. It begins with all of it as soon as the file "go" is there.
 */
#include "self-check.h"
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

enum { PAGE = 4096, WORDS = PAGE / 8, PAGES = 4096, MOVED = 1024, MOVED_PAGES = 512, REMADE = 2048, REMADE_PAGES = 256, DROPPED = 2560, DROPPED_PAGES = 256, WIPED = 2900, WIPED_PAGES = 64, GUARDED = 3700, GUARDED_PAGES = 64 };

static unsigned long *area;

/* Before the ballast: so it lies above it, and its pages come last. */
__attribute__((constructor(101))) static void take_area(void) {
  area = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(area != MAP_FAILED, "mmap");
  for (size_t page = 0; page < PAGES; page++)
    for (size_t i = 0; i < WORDS; i++) area[page * WORDS + i] = (page + 1) * 2654435761u ^ i * 40503u;
}

static void check_page(const unsigned long *at, size_t page, const char *who) {
  for (size_t i = 0; i < WORDS; i++)
    CHECK(at[i] == ((page + 1) * 2654435761u ^ i * 40503u), "word %zu of page %zu is %lx for %s", i, page, at[i], who);
}

static void check_zero(const unsigned long *at, const char *who) {
  for (size_t i = 0; i < WORDS; i++) CHECK(at[i] == 0, "%s is not zero", who);
}

static void *stripe(void *number) {
  size_t first = (size_t)number;
  for (size_t page = 896 + first; page > 256 + first; page -= 4) check_page(area + (page - 1) * WORDS, page - 1, "a thread");
  return NULL;
}

static void await_child(pid_t child, const char *who) {
  int status;
  CHECK(child > 0, "fork for %s: errno %d", who, errno);
  CHECK(waitpid(child, &status, 0) == child && status == 0, "%s ended with 0x%x", who, status);
}

static void fork_children(void) {
  pid_t child = fork();
  if (child == 0) {
    for (size_t page = 3000; page < 3200; page++) check_page(area + page * WORDS, page, "a child");
    memset(area + 3200 * WORDS, 0xcc, 100 * PAGE);
    pid_t grandchild = fork();
    if (grandchild == 0) {
      for (size_t page = 3300; page < 3500; page++) check_page(area + page * WORDS, page, "a grandchild");
      execl("/bin/true", "true", NULL);
      _exit(9);
    }
    await_child(grandchild, "a grandchild");
    _exit(0);
  }
  await_child(child, "a child");
}

static void by_system_calls(void) {
  int fd = memfd_create("pages", 0);
  CHECK(fd >= 0, "memfd_create");
  CHECK(write(fd, area + 100 * WORDS, 8 * PAGE) == 8 * PAGE, "write of pages that are not there yet: errno %d", errno);
  CHECK(pread(fd, area + 120 * WORDS, 8 * PAGE, 0) == 8 * PAGE, "read into pages that are not there yet: errno %d", errno);
  for (size_t page = 0; page < 8; page++) check_page(area + (120 + page) * WORDS, 100 + page, "read(2)");
  /* As it was. */
  for (size_t page = 120; page < 128; page++)
    for (size_t i = 0; i < WORDS; i++) area[page * WORDS + i] = (page + 1) * 2654435761u ^ i * 40503u;
  close(fd);
}

/* A stop and a continuation by job control, and signals that are handled. */
static volatile sig_atomic_t handled;

static void on_signal(int number) {
  (void)number;
  handled++;
}

static void by_signals(void) {
  signal(SIGUSR1, on_signal);
  for (int i = 0; i < 10; i++) CHECK(raise(SIGUSR1) == 0 && handled == i + 1, "signal %d was handled %d times", i, (int)handled);
  pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  int status;
  CHECK(kill(child, SIGSTOP) == 0 && waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status), "a child was not stopped");
  CHECK(kill(child, SIGCONT) == 0 && waitpid(child, &status, WCONTINUED) == child && WIFCONTINUED(status), "a child was not continued");
  CHECK(kill(child, SIGTERM) == 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status), "a child was not ended");
}

/* What is wiped on fork is zero in a child, and not in the parent. */
static void wipe_on_fork(void) {
  unsigned long *at = area + WIPED * WORDS;
  CHECK(madvise(at, WIPED_PAGES * PAGE, MADV_WIPEONFORK) == 0, "MADV_WIPEONFORK: errno %d", errno);
  pid_t child = fork();
  if (child == 0) {
    for (size_t page = 0; page < WIPED_PAGES; page++) check_zero(at + page * WORDS, "what is wiped on fork");
    _exit(0);
  }
  await_child(child, "a child of wiped memory");
  CHECK(madvise(at, WIPED_PAGES * PAGE, MADV_KEEPONFORK) == 0, "MADV_KEEPONFORK: errno %d", errno);
}

/* Guards take the place of pages. False where the kernel has none (Linux 6.13), or does not show them (6.15). */
enum { GUARD_INSTALL = 102 };

static int guard_some(void) {
  if (madvise(area + GUARDED * WORDS, GUARDED_PAGES * PAGE, GUARD_INSTALL) == 0) return 1;
  CHECK(errno == EINVAL, "MADV_GUARD_INSTALL: errno %d", errno);
  return 0;
}

static void check_guards(void) {
  int ends[2];
  CHECK(pipe(ends) == 0, "pipe");
  for (size_t page = GUARDED; page < GUARDED + GUARDED_PAGES; page++)
    CHECK(write(ends[1], area + page * WORDS, 1) == -1 && errno == EFAULT, "the guard at page %zu is lost", page);
}

int main(void) {
  say("ready\n");
  while (!may_go()) usleep(500);
  pthread_t threads[4];
  for (size_t i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, stripe, (void *)i) == 0, "pthread_create");
  unsigned long *room = mmap(NULL, MOVED_PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  unsigned long *moved = mremap(area + MOVED * WORDS, MOVED_PAGES * PAGE, MOVED_PAGES * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room);
  CHECK(moved == room, "mremap: errno %d", errno);
  unsigned long *remade = area + REMADE * WORDS;
  CHECK(munmap(remade, REMADE_PAGES * PAGE) == 0, "munmap");
  CHECK(mmap(remade, REMADE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == remade, "mmap");
  CHECK(madvise(area + DROPPED * WORDS, DROPPED_PAGES * PAGE, MADV_DONTNEED) == 0, "madvise");
  int guarded = guard_some();
  wipe_on_fork();
  fork_children();
  by_system_calls();
  by_signals();
  CHECK(mprotect(area + 3600 * WORDS, 64 * PAGE, PROT_READ) == 0, "mprotect");
  for (size_t i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  check_ballast();
  for (size_t page = 0; page < PAGES; page++) {
    const unsigned long *at = area + page * WORDS;
    if (page >= MOVED && page < MOVED + MOVED_PAGES) check_page(moved + (page - MOVED) * WORDS, page, "mremap");
    else if (page >= REMADE && page < REMADE + REMADE_PAGES) check_zero(at, "what was mapped anew");
    else if (page >= DROPPED && page < DROPPED + DROPPED_PAGES) check_zero(at, "what was dropped");
    else if (guarded && page >= GUARDED && page < GUARDED + GUARDED_PAGES) continue;
    else check_page(at, page, "the program");
  }
  if (guarded) check_guards();
  say("ok\n");
  return 0;
}
