/*
 * Looks its vDSO's functions up anew whenever it calls them, as a program does that is linked without libc, and checks what they
 * say. It uses no function of libc that goes through the vDSO: after a restart that may be another one, where the functions
 * are elsewhere.
 */
#include "self-check.h"
#include <elf.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/time.h>

#ifdef __x86_64__
#define ELF(type) Elf64_##type
#else
#define ELF(type) Elf32_##type
#endif

typedef long function(uintptr_t, uintptr_t, uintptr_t);

static function *find(const char *name) {
  const char *vdso = (const char *)getauxval(AT_SYSINFO_EHDR);
  const ELF(Ehdr) *header = (const void *)vdso;
  const ELF(Shdr) *sections = (const void *)(vdso + header->e_shoff);
  for (int i = 0; i < header->e_shnum; i++) {
    if (sections[i].sh_type != SHT_DYNSYM) continue;
    const ELF(Sym) *symbols = (const void *)(vdso + sections[i].sh_offset);
    const char *names = vdso + sections[sections[i].sh_link].sh_offset;
    for (size_t j = 0; j < sections[i].sh_size / sizeof *symbols; j++) {
      if (strcmp(names + symbols[j].st_name, name) == 0) return (function *)(uintptr_t)(vdso + symbols[j].st_value);
    }
  }
  return NULL;
}

static int checked;

static long call(const char *name, uintptr_t a, uintptr_t b, uintptr_t c) {
  function *found = find(name);
  CHECK(found != NULL, "the vDSO has no %s", name);
  checked++;
  return found(a, b, c);
}

static void check_time(const char *name, long answer, long long now) {
  struct { long long seconds, nanoseconds; } after = {0, 0};
#ifdef __i386__
  CHECK(syscall(403, CLOCK_REALTIME, &after) == 0, "clock_gettime64: errno %d", errno);
#else
  CHECK(syscall(SYS_clock_gettime, CLOCK_REALTIME, &after) == 0, "clock_gettime: errno %d", errno);
#endif
  CHECK(answer == 0, "%s returned %ld", name, answer);
  CHECK(after.seconds - 2 <= now && now <= after.seconds, "%s says %lld, it is %lld", name, now, after.seconds);
}

static void check_clocks(void) {
  struct timespec time = {0, 0};
  struct timeval day = {0, 0};
  long answer = call("__vdso_clock_gettime", CLOCK_REALTIME, (uintptr_t)&time, 0);
  check_time("clock_gettime", answer, time.tv_sec);
  answer = call("__vdso_gettimeofday", (uintptr_t)&day, 0, 0);
  check_time("gettimeofday", answer, day.tv_sec);
  check_time("time", 0, call("__vdso_time", 0, 0, 0));
  time = (struct timespec){9, 9};
  CHECK(call("__vdso_clock_getres", CLOCK_MONOTONIC, (uintptr_t)&time, 0) == 0 && time.tv_sec == 0, "clock_getres");
  unsigned cpu = 4096, node = 4096;
  CHECK(call("__vdso_getcpu", (uintptr_t)&cpu, (uintptr_t)&node, 0) == 0 && cpu < 4096 && node < 4096, "getcpu");
#ifdef __i386__
  struct { long long seconds, nanoseconds; } now = {0, 0};
  answer = call("__vdso_clock_gettime64", CLOCK_REALTIME, (uintptr_t)&now, 0);
  check_time("clock_gettime64", answer, now.seconds);
  long pid;
  __asm__ volatile("call *%1" : "=a"(pid) : "r"(find("__kernel_vsyscall")), "a"(SYS_getpid) : "memory");
  CHECK(pid == getpid(), "__kernel_vsyscall says pid %ld", pid);
#endif
}

/* Only the other vDSO has these; no kernel knows the one, and the system call stands in for the other. */
static void check_others(void) {
  if (find("__vdso_of_the_future") == NULL) return;
  CHECK(call("__vdso_of_the_future", 1, 2, 3) == -ENOSYS, "a function that is not there");
#ifdef __i386__
  struct { long long seconds, nanoseconds; } resolution = {9, 9};
  CHECK(call("__vdso_clock_getres_time64", CLOCK_MONOTONIC, (uintptr_t)&resolution, 0) == 0, "clock_getres_time64");
  CHECK(resolution.seconds == 0 && resolution.nanoseconds > 0, "the resolution is %lld", resolution.nanoseconds);
#endif
}

#ifdef __i386__
static volatile int handled;
static void on_signal(int number) { handled = number; }

/* Without a restorer, so that the frame returns through the vDSO that the kernel has now. */
static void check_signal(void) {
  struct { void *handler; unsigned flags; void *restorer; unsigned mask[2]; } action = {on_signal, SA_SIGINFO, 0, {0, 0}};
  CHECK(syscall(SYS_rt_sigaction, SIGUSR1, &action, NULL, 8) == 0, "rt_sigaction: errno %d", errno);
  handled = 0;
  CHECK(syscall(SYS_kill, getpid(), SIGUSR1) == 0 && handled == SIGUSR1, "the handler did not run");
}
#endif

int main(void) {
  char text[64];
  check_clocks();
  say("ready\n");
  wait_for_go();
  checked = 0;
  check_clocks();
  check_others();
#ifdef __i386__
  check_signal();
#endif
  snprintf(text, sizeof text, "%d calls\nok\n", checked);
  say(text);
  return 0;
}
