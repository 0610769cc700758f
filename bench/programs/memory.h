/* Clock and memory of the benchmark's programs. */
#ifndef MEMORY_H
#define MEMORY_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum { PAGE = 4096 };

static inline long now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000L + time.tv_nsec;
}

/* Memory that nobody has touched yet. */
static inline char *new_memory(size_t size) {
  char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    perror("mmap");
    exit(1);
  }
  return memory;
}

/* All pages differ, and a compressor can halve each of them: one half is noise, the other zero. */
static inline void fill(char *memory, size_t size, unsigned long seed) {
  for (size_t page = 0; page < size; page += PAGE)
    for (size_t i = 0; i < PAGE / 2; i += 8) {
      seed = seed * 6364136223846793005UL + 1442695040888963407UL;
      *(unsigned long *)(memory + page + i) = seed;
    }
}

/* Changes a word of every page; how long that took, in nanoseconds. */
static inline long rewrite(char *memory, size_t size) {
  long begin = now();
  for (size_t page = 0; page < size; page += PAGE) ++*(volatile unsigned long *)(memory + page);
  return now() - begin;
}

#endif
