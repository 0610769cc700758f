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

/* The test makes a file called "go" in the working directory. */
__attribute__((unused)) static int may_go(void) { return access("go", F_OK) == 0; }

__attribute__((unused)) static void wait_for_go(void) {
  struct timespec moment = {0, 2000000};
  for (int i = 0; i < PATIENCE; i++) {
    if (may_go()) return;
    struct timespec left = moment;
    while (nanosleep(&left, &left) != 0) CHECK(errno == EINTR, "nanosleep: errno %d", errno);
  }
  fail("nobody told me to go on");
}
#endif
