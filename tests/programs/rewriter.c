/*
 * Writes the number of the round into every page of its memory, one after the other, round after round, and before it writes
 * a page checks that the page has the number of the round before. An image of more than one instant has pages of different
 * times, which the restarted program finds out.
 */
#include "self-check.h"

#define PAGE_WORDS (4096 / sizeof(unsigned long))
#define PAGES 8192

int main(void) {
  unsigned long *memory =
      mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  CHECK(memory != MAP_FAILED, "mmap: errno %d", errno);
  say("ready\n");
  unsigned long round = 0;
  for (int last = 0; !last;) {
    last = may_go();
    round++;
    for (size_t page = 0; page < PAGES; page++) {
      unsigned long *word = memory + page * PAGE_WORDS + page % PAGE_WORDS;
      CHECK(*word == round - 1, "page %zu is of round %lu in round %lu", page, *word, round);
      *word = round;
    }
  }
  CHECK(round > 1, "only one round");
  say("ok\n");
  return 0;
}
