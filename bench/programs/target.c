/*
 * What is saved: `target BYTES MAPPINGS THREADS` fills that much memory, in that many mappings, with pages that are all
 * different and half compressible, says ready, and watches the clock: on SIGUSR1 it prints the longest gap in nanoseconds
 * that it has seen since the last time.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t asked;

static void on_question(int number) {
  (void)number;
  asked = 1;
}

static long now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000L + time.tv_nsec;
}

static void fill(char *memory, size_t size, unsigned long seed) {
  for (size_t page = 0; page < size; page += 4096)
    for (size_t i = 0; i < 2048; i += 8) {
      seed = seed * 6364136223846793005UL + 1442695040888963407UL;
      *(unsigned long *)(memory + page + i) = seed;
    }
}

static void *sleeper(void *nothing) {
  for (;;) pause();
  return nothing;
}

int main(int count, char **arguments) {
  size_t size = count > 1 ? strtoul(arguments[1], NULL, 0) : 0;
  size_t mappings = count > 2 ? strtoul(arguments[2], NULL, 0) : 1;
  int threads = count > 3 ? atoi(arguments[3]) : 0;
  for (size_t i = 0; i < mappings && size > 0; i++) {
    size_t each = size / mappings;
    /* A hole behind each mapping keeps the kernel from joining neighbours. */
    char *memory = mmap(NULL, each + (mappings > 1 ? 4096 : 0), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return 1;
    if (mappings > 1) munmap(memory + each, 4096);
    fill(memory, each, i + 1);
  }
  pthread_t thread;
  for (int i = 0; i < threads; i++)
    if (pthread_create(&thread, NULL, sleeper, NULL) != 0) return 1;
  signal(SIGUSR1, on_question);
  printf("ready\n");
  fflush(stdout);
  long last = now(), longest = 0;
  for (;;) {
    long moment = now();
    if (moment - last > longest) longest = moment - last;
    last = moment;
    if (!asked) continue;
    asked = 0;
    printf("%ld\n", longest);
    fflush(stdout);
    longest = 0;
    last = now();
  }
}
