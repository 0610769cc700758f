/*
 * What is saved: `target BYTES MAPPINGS THREADS busy|idle [noise]` fills that much memory, in that many mappings, says ready, and reads
 * the clock again and again, or sleeps, while THREADS more threads sleep. On SIGUSR1 it prints the longest time in nanoseconds
 * between two readings since it was asked last. On SIGUSR2 it writes to each hundredth page of a single mapping, and says changed.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "memory.h"

static volatile sig_atomic_t asked, to_change;

static void on_question(int number) {
  (void)number;
  asked = 1;
}

static void on_change(int number) {
  (void)number;
  to_change = 1;
}

static char *only_mapping;

static void change_some(size_t size) {
  for (size_t page = 0; page < size; page += 100 * PAGE) ++*(volatile unsigned long *)(only_mapping + page);
}

static void *sleeper(void *nothing) {
  for (;;) pause();
  return nothing;
}

/* All of each page differs from all others: what nobody can compress. */
static void fill_with_noise(char *memory, size_t size) {
  unsigned long seed = 1;
  for (size_t i = 0; i < size; i += 8) {
    seed = seed * 6364136223846793005UL + 1442695040888963407UL;
    *(unsigned long *)(memory + i) = seed ^ seed >> 29;
  }
}

static void fill_mappings(size_t size, size_t mappings) {
  if (mappings == 1) {
    only_mapping = new_memory(size);
    fill(only_mapping, size, 1);
    return;
  }
  size_t each = size / mappings;
  for (size_t i = 0; i < mappings; i++) {
    /* A hole behind each keeps the kernel from joining neighbours. */
    char *memory = new_memory(each + PAGE);
    munmap(memory + each, PAGE);
    fill(memory, each, i + 1);
  }
}

static void say(const char *format, long number) {
  printf(format, number);
  fflush(stdout);
}

int main(int count, char **arguments) {
  if (count != 5 && count != 6) return 2;
  int idle = strcmp(arguments[4], "idle") == 0;
  size_t size = strtoul(arguments[1], NULL, 0);
  if (count == 6) fill_with_noise(new_memory(size), size);
  else fill_mappings(size, strtoul(arguments[2], NULL, 0));
  for (long i = atol(arguments[3]); i > 0; i--) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, sleeper, NULL) != 0) return 1;
  }
  signal(SIGUSR1, on_question);
  signal(SIGUSR2, on_change);
  say("ready\n", 0);
  for (long last = now(), longest = 0;;) {
    long moment = now();
    if (moment - last > longest) longest = moment - last;
    last = moment;
    /* The question ends the sleep, whenever it comes: what is asked in the instant before is answered a little later. */
    if (idle && !asked && !to_change) usleep(100000);
    if (to_change && only_mapping != NULL) {
      to_change = 0;
      change_some(size);
      say("changed\n", 0);
    }
    if (!asked) continue;
    asked = 0;
    say("%ld\n", longest);
    longest = 0;
    last = now();
  }
}
