/*
 * What the machine itself takes for the same bytes, in nanoseconds: `reference fork|write|read BYTES FILE`. fork: fork(2) and
 * the end of the child; write: write(2) into a new file; read: read(2) of it into memory that has never been touched.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000L + time.tv_nsec;
}

static char *memory_of(size_t size) {
  char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) exit(1);
  return memory;
}

static void touch(char *memory, size_t size) {
  unsigned long seed = 1;
  for (size_t page = 0; page < size; page += 4096)
    for (size_t i = 0; i < 2048; i += 8) {
      seed = seed * 6364136223846793005UL + 1442695040888963407UL;
      *(unsigned long *)(memory + page + i) = seed;
    }
}

static long time_fork(char *memory, size_t size) {
  touch(memory, size);
  long begin = now();
  pid_t child = fork();
  if (child == 0) _exit(0);
  long end = now();
  waitpid(child, NULL, 0);
  return end - begin;
}

static long time_copy(int writes, char *memory, size_t size, const char *path) {
  if (writes) touch(memory, size);
  int file = writes ? open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600) : open(path, O_RDONLY);
  if (file < 0) exit(1);
  long begin = now();
  for (size_t done = 0; done < size;) {
    ssize_t moved = writes ? write(file, memory + done, size - done) : read(file, memory + done, size - done);
    if (moved <= 0) exit(1);
    done += (size_t)moved;
  }
  return now() - begin;
}

int main(int count, char **arguments) {
  if (count != 4) return 2;
  size_t size = strtoul(arguments[2], NULL, 0);
  char *memory = memory_of(size);
  int forks = strcmp(arguments[1], "fork") == 0, writes = strcmp(arguments[1], "write") == 0;
  printf("%ld\n", forks ? time_fork(memory, size) : time_copy(writes, memory, size, arguments[3]));
  return 0;
}
