/* Thousands of pairs of pages with holes between them: more regions than the kernel hands over at once. */
#include "self-check.h"
#include <sys/mman.h>

enum { PAGE = 4096, PAIRS = 20000 };

int main(void) {
  char *area = mmap(NULL, (size_t)PAIRS * 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(area != MAP_FAILED, "mmap");
  for (size_t i = 0; i < PAIRS; i++) {
    *(size_t *)(area + i * 4 * PAGE) = i + 1;
    *(size_t *)(area + i * 4 * PAGE + PAGE) = ~i;
    if (i % 3 == 0) mprotect(area + i * 4 * PAGE, 2 * PAGE, PROT_READ);
  }
  say("ready\n");
  wait_for_go();
  for (size_t i = 0; i < PAIRS; i++) {
    CHECK(*(size_t *)(area + i * 4 * PAGE) == i + 1 && *(size_t *)(area + i * 4 * PAGE + PAGE) == ~i, "pair %zu differs", i);
    CHECK(*(size_t *)(area + i * 4 * PAGE + 2 * PAGE) == 0 || i % 3 != 0, "a hole is not empty");
  }
  say("ok\n");
  return 0;
}
