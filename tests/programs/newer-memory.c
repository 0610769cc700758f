/* Memory that younger kernels have: guard pages in the midst of others (Linux 6.13), droppable memory (6.11), sealed mappings (6.10). */
#include "self-check.h"

#include <sys/syscall.h>
#include <sys/uio.h>

#define PAGE 4096
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef SYS_mseal
#define SYS_mseal 462
#endif

static unsigned char *guarded, *locked, *dropped, *sealed;

static unsigned char *map(int flags, int pages) {
  void *at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
  CHECK(at != MAP_FAILED, "mmap: errno %d", errno);
  return at;
}

static void guard(unsigned char *at, int pages) {
  CHECK(madvise(at, pages * PAGE, MADV_GUARD_INSTALL) == 0, "guard pages: errno %d", errno);
}

/* A system call is told EFAULT where the program would be killed. */
static int is_readable(unsigned char *at) {
  int ends[2];
  CHECK(pipe(ends) == 0, "pipe: errno %d", errno);
  int readable = write(ends[1], at, 1) == 1;
  CHECK(readable || errno == EFAULT, "write: errno %d", errno);
  close(ends[0]);
  close(ends[1]);
  return readable;
}

static void check_guards(unsigned char *at, const char *pattern, const char *what) {
  for (int page = 0; pattern[page] != 0; page++) {
    int readable = is_readable(at + page * PAGE);
    CHECK(readable == (pattern[page] != 'g'), "%s: page %d is %sreadable", what, page, readable ? "" : "not ");
    if (pattern[page] == '0') CHECK(at[page * PAGE] == 0, "%s: page %d is not zero", what, page);
    if (pattern[page] == 'd') CHECK(at[page * PAGE + 7] == page + 1, "%s: page %d has lost its data", what, page);
  }
}

static void fill(unsigned char *at, const char *pattern) {
  for (int page = 0; pattern[page] != 0; page++) {
    if (pattern[page] == 'd') at[page * PAGE + 7] = page + 1;
    if (pattern[page] == 'g') guard(at + page * PAGE, 1);
  }
}

static const char guards[] = "gdg0ddgg0gd0d00g";
static const char locked_guards[] = "dgd";

int main(void) {
  guarded = map(MAP_PRIVATE | MAP_ANONYMOUS, sizeof guards - 1);
  fill(guarded, guards);
  locked = map(MAP_PRIVATE | MAP_ANONYMOUS, sizeof locked_guards - 1);
  fill(locked, locked_guards);
  CHECK(mprotect(locked, 3 * PAGE, PROT_READ) == 0, "mprotect: errno %d", errno);
  dropped = map(MAP_DROPPABLE | MAP_ANONYMOUS, 4);
  dropped[0] = 1;
  sealed = map(MAP_PRIVATE | MAP_ANONYMOUS, 2);
  sealed[PAGE] = 9;
  CHECK(syscall(SYS_mseal, sealed, 2 * PAGE, 0) == 0, "mseal: errno %d", errno);
  say("ready\n");
  wait_for_go();
  check_guards(guarded, guards, "guard pages");
  check_guards(locked, locked_guards, "guard pages of memory that is read only");
  CHECK(madvise(guarded, PAGE, 103 /* MADV_GUARD_REMOVE */) == 0 && guarded[0] == 0, "a guard cannot be removed: errno %d", errno);
  CHECK(dropped[0] == 0 || dropped[0] == 1, "droppable memory has %u", dropped[0]);
  dropped[3 * PAGE] = 4;
  CHECK(dropped[3 * PAGE] == 4, "droppable memory");
  CHECK(sealed[PAGE] == 9, "sealed memory");
  sealed[0] = 8;
  CHECK(munmap(sealed, PAGE) == -1 && errno == EPERM, "the seal is gone: errno %d", errno);
  CHECK(mprotect(sealed, PAGE, PROT_READ) == -1 && errno == EPERM, "the seal is gone: errno %d", errno);
  say("ok\n");
  return 0;
}
