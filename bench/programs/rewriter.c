/*
 * A program that writes to all its memory all the time: `rewriter BYTES` changes a word of every page, page after page, and says
 * ready. On SIGUSR1 it prints the longest time in nanoseconds that it has taken for all pages since it was asked last.
 */
#define _GNU_SOURCE
#include <signal.h>

#include "memory.h"

static volatile sig_atomic_t asked;

static void on_question(int number) {
  (void)number;
  asked = 1;
}

int main(int count, char **arguments) {
  if (count != 2) return 2;
  size_t size = strtoul(arguments[1], NULL, 0);
  char *memory = new_memory(size);
  fill(memory, size, 1);
  signal(SIGUSR1, on_question);
  printf("ready\n");
  fflush(stdout);
  for (long longest = 0;;) {
    long taken = rewrite(memory, size);
    if (taken > longest) longest = taken;
    if (!asked) continue;
    asked = 0;
    printf("%ld\n", longest);
    fflush(stdout);
    longest = 0;
  }
}
