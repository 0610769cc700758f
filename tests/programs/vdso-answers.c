/*
 * vdso-answers NAME=CODE...: runs machine code, given in hexadecimal, that stands in for functions of the vDSO, and checks that
 * it answers as they do.
 */
#include "self-check.h"
#include <sched.h>
#include <stdint.h>
#include <sys/time.h>

typedef long function(uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t);

static function *load(const char *text) {
  static unsigned char *room;
  if (room == NULL) room = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(room != MAP_FAILED, "mmap: errno %d", errno);
  for (size_t i = 0; text[2 * i] != 0; i++) {
    unsigned byte;
    CHECK(sscanf(text + 2 * i, "%2x", &byte) == 1, "no hexadecimal: %s", text);
    room[i] = (unsigned char)byte;
  }
  return (function *)(uintptr_t)room;
}

static void check(const char *name, function *code) {
  struct { long long seconds, nanoseconds; } wide = {-1, -1};
  struct timespec now = {-1, -1};
  struct timeval day = {-1, -1};
  unsigned cpu = 4096, node = 4096;
  unsigned char bytes[32] = {0};
  time_t before = time(NULL);
  long long seconds = before;
  if (strcmp(name, "__vdso_clock_gettime") == 0) {
    CHECK(code(CLOCK_REALTIME, (uintptr_t)&now, 0, 0, 0) == 0, "%s failed", name);
    CHECK(code(9999, (uintptr_t)&now, 0, 0, 0) == -EINVAL, "%s knows clock 9999", name);
    seconds = now.tv_sec;
  } else if (strcmp(name, "__vdso_clock_gettime64") == 0) {
    CHECK(code(CLOCK_REALTIME, (uintptr_t)&wide, 0, 0, 0) == 0, "%s failed", name);
    seconds = wide.seconds;
  } else if (strcmp(name, "__vdso_gettimeofday") == 0) {
    CHECK(code((uintptr_t)&day, 0, 0, 0, 0) == 0, "%s failed", name);
    seconds = day.tv_sec;
  } else if (strcmp(name, "__vdso_time") == 0) {
    seconds = code(0, 0, 0, 0, 0);
  } else if (strcmp(name, "__vdso_clock_getres") == 0) {
    CHECK(code(CLOCK_MONOTONIC, (uintptr_t)&now, 0, 0, 0) == 0 && now.tv_sec == 0, "%s failed", name);
  } else if (strcmp(name, "__vdso_clock_getres_time64") == 0) {
    CHECK(code(CLOCK_MONOTONIC, (uintptr_t)&wide, 0, 0, 0) == 0 && wide.seconds == 0, "%s failed", name);
  } else if (strcmp(name, "__vdso_getcpu") == 0) {
    CHECK(code((uintptr_t)&cpu, (uintptr_t)&node, 0, 0, 0) == 0 && cpu < 4096 && node < 4096, "%s failed", name);
  } else if (strcmp(name, "__vdso_getrandom") == 0) {
    static const unsigned char zeros[sizeof bytes];
    CHECK(code((uintptr_t)bytes, sizeof bytes, 0, (uintptr_t)&wide, 16) == sizeof bytes, "%s failed", name);
    CHECK(memcmp(bytes, zeros, sizeof bytes) != 0, "%s wrote nothing", name);
    CHECK(code(0, 0, 0, (uintptr_t)&wide, (uintptr_t)-1) == -ENOSYS, "%s tells its needs", name);
  } else {
    CHECK(code(1, 2, 3, 4, 5) == -ENOSYS, "%s answers", name);
  }
  CHECK(before - 1 <= seconds && seconds <= before + 2, "%s says %lld, it is %lld", name, seconds, (long long)before);
}

int main(int count, char **arguments) {
  for (int i = 1; i < count; i++) {
    char *code = strchr(arguments[i], '=');
    CHECK(code != NULL, "no code: %s", arguments[i]);
    *code = 0;
    check(arguments[i], load(code + 1));
  }
  say("ok\n");
  return 0;
}
