/*
 * What the machine itself takes for the same bytes, in nanoseconds: `reference fork|rewrite|write|read|touch BYTES FILE`.
 * fork: fork(2) of a process with so much memory, until it returns in the parent. rewrite: fork, and then a write to every page
 * while the child still has it too. write: write(2) into a new file. read: read(2)
 * of that file into memory that nobody has touched. touch: the first write to so much memory.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory.h"

static int must(long result, const char *what) {
  if (result < 0) {
    perror(what);
    exit(1);
  }
  return (int)result;
}

static long time_touch(size_t size) {
  char *memory = new_memory(size);
  long begin = now();
  fill(memory, size, 1);
  return now() - begin;
}

static long time_fork(size_t size) {
  fill(new_memory(size), size, 1);
  long begin = now();
  pid_t child = fork();
  if (child == 0) _exit(0);
  long end = now();
  must(child, "fork");
  waitpid(child, NULL, 0);
  return end - begin;
}

static long time_rewrite(size_t size) {
  char *memory = new_memory(size);
  fill(memory, size, 1);
  long begin = now();
  pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  must(child, "fork");
  rewrite(memory, size);
  long end = now();
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  return end - begin;
}

static long time_write(size_t size, const char *path) {
  char *memory = new_memory(size);
  fill(memory, size, 1);
  int file = must(open(path, O_CREAT | O_EXCL | O_WRONLY, 0600), path);
  long begin = now();
  for (size_t done = 0; done < size;) done += must(write(file, memory + done, size - done), "write");
  return now() - begin;
}

static long time_read(size_t size, const char *path) {
  char *memory = new_memory(size);
  int file = must(open(path, O_RDONLY), path);
  long begin = now();
  for (size_t done = 0; done < size;) {
    int some = must(read(file, memory + done, size - done), "read");
    if (some == 0) exit(3);
    done += some;
  }
  return now() - begin;
}

int main(int count, char **arguments) {
  if (count != 4) return 2;
  const char *kind = arguments[1], *path = arguments[3];
  size_t size = strtoul(arguments[2], NULL, 0);
  long ns = -1;
  if (strcmp(kind, "fork") == 0) ns = time_fork(size);
  if (strcmp(kind, "rewrite") == 0) ns = time_rewrite(size);
  if (strcmp(kind, "write") == 0) ns = time_write(size, path);
  if (strcmp(kind, "read") == 0) ns = time_read(size, path);
  if (strcmp(kind, "touch") == 0) ns = time_touch(size);
  printf("%ld\n", ns);
  return ns < 0 ? 2 : 0;
}
