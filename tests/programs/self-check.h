/* What every target program shares: it says ready, waits until it is told to go on, checks itself, and says ok or why not. */
#ifndef SELF_CHECK_H
#define SELF_CHECK_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* About ten minutes of two milliseconds: a program that everybody forgot ends by itself. */
#define PATIENCE 300000

static void say(const char *text) {
  if (write(1, text, strlen(text)) < 0) _exit(99);
}

__attribute__((unused)) static void fail(const char *format, ...) {
  char text[512];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  say("not ok: ");
  say(text);
  say("\n");
  _exit(1);
}

#define CHECK(condition, ...)                 \
  do {                                        \
    if (!(condition)) fail(__VA_ARGS__);      \
  } while (0)

/* BALLAST=24 in the environment: as many MiB in use, so that the program is not a small one. */
static unsigned *ballast;
static size_t ballast_words;

__attribute__((constructor)) static void take_ballast(void) {
  const char *mebibytes = getenv("BALLAST");
  if (mebibytes == NULL) return;
  ballast_words = (size_t)atoi(mebibytes) * 1024 * 1024 / sizeof *ballast;
  void *room = mmap(NULL, ballast_words * sizeof *ballast, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(room != MAP_FAILED, "no room for the ballast: errno %d", errno);
  ballast = room;
  for (size_t i = 0; i < ballast_words; i++) ballast[i] = (unsigned)(i * 2654435761u);
}

__attribute__((unused)) static void check_ballast(void) {
  for (size_t i = 0; i < ballast_words; i++) {
    CHECK(ballast[i] == (unsigned)(i * 2654435761u), "word %zu of the ballast is %u", i, ballast[i]);
  }
}

/* The test makes a file called "go" in the working directory. */
__attribute__((unused)) static int may_go(void) { return access("go", F_OK) == 0; }

__attribute__((unused)) static void wait_for_go(void) {
  struct timespec moment = {0, 2000000};
  for (int i = 0; i < PATIENCE; i++) {
    if (may_go()) {
      check_ballast();
      return;
    }
    struct timespec left = moment;
    while (nanosleep(&left, &left) != 0) CHECK(errno == EINTR, "nanosleep: errno %d", errno);
  }
  fail("nobody told me to go on");
}
#endif
