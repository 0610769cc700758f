/*
 * What only a program of i386 has: memory that ends below 4 GiB, the 32-bit vDSO, signal frames and restorers of i386, three
 * thread areas of each thread, an LDT, calls by int 0x80 and through the vDSO, and a signal handler that is running.
 */
#include "self-check.h"
#include <asm/ldt.h>
#include <elf.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>

enum { THREADS = 3, MARK = 0x5ca1ab1e };
#define LDT(entry) ((entry) << 3 | 7)

static volatile int may_leave, handled, in_handler;
static int word = 1;
static pthread_barrier_t started;

static unsigned load_selectors(unsigned fs, unsigned es) {
  unsigned gs;
  __asm__ volatile("mov %1, %%fs; mov %2, %%es; mov %%gs, %0" : "=r"(gs) : "r"(fs), "r"(es));
  return gs;
}

static void check_selectors(unsigned fs, unsigned es, unsigned gs, unsigned mark) {
  unsigned now_fs, now_es, now_gs, ds, cs, there;
  __asm__ volatile("mov %%fs, %0; mov %%es, %1; mov %%gs, %2" : "=r"(now_fs), "=r"(now_es), "=r"(now_gs));
  __asm__ volatile("mov %%ds, %0; mov %%cs, %1; mov %%fs:4, %2" : "=r"(ds), "=r"(cs), "=r"(there));
  CHECK(now_fs == fs && now_es == es && now_gs == gs, "fs %x, es %x, gs %x", now_fs, now_es, now_gs);
  CHECK(ds == 0x2b && cs == 0x23, "ds %x, cs %x", ds, cs);
  CHECK(there == mark, "there is %x in fs, not %x", there, mark);
}

/* libc has the first slot; the others are ours. */
static unsigned take_area(struct user_desc *area, void *base) {
  memset(area, 0, sizeof *area);
  area->entry_number = -1;
  area->base_addr = (unsigned)(uintptr_t)base;
  area->limit = 0xfffff;
  area->limit_in_pages = 1;
  area->seg_32bit = 1;
  area->useable = 1;
  CHECK(syscall(SYS_set_thread_area, area) == 0, "set_thread_area: errno %d", errno);
  return area->entry_number << 3 | 3;
}

static void *run(void *number) {
  long me = (long)number;
  unsigned marks[2][2] = {{0, 0x1000u + (unsigned)me}, {0, 0x2000u + (unsigned)me}};
  struct user_desc one, two, now;
  unsigned first = take_area(&one, marks[0]), second = take_area(&two, marks[1]);
  unsigned fs = me == 0 ? first : me == 1 ? second : LDT(9);
  unsigned mark = me == 0 ? marks[0][1] : me == 1 ? marks[1][1] : MARK;
  unsigned gs = load_selectors(fs, 0x2b);
  pthread_barrier_wait(&started);
  if (me == 2) {
    /* A call by int 0x80 that waits without end, restarted where it is. */
    long result;
    do {
      __asm__ volatile("int $0x80" : "=a"(result) : "a"(SYS_futex), "b"(&word), "c"(FUTEX_WAIT), "d"(1), "S"(0) : "memory");
    } while (result == 0 && word == 1);
    CHECK(result == 0 || result == -EAGAIN, "futex returned %ld", result);
  }
  while (!may_leave) usleep(1000);
  check_selectors(fs, 0x2b, gs, mark);
  for (int i = 0; i < 2; i++) {
    const struct user_desc *was = i == 0 ? &one : &two;
    now = (struct user_desc){.entry_number = was->entry_number};
    CHECK(syscall(SYS_get_thread_area, &now) == 0 && memcmp(&now, was, sizeof now) == 0, "thread area %d of %ld", i, me);
  }
  return NULL;
}

static void on_signal(int number, siginfo_t *info, void *context) {
  ucontext_t *frame = context;
  CHECK(number == SIGUSR1 && info->si_value.sival_int == 77, "signal %d with %d", number, info->si_value.sival_int);
  CHECK((frame->uc_mcontext.gregs[REG_CS] & 0xffff) == 0x23, "the frame has cs %x", frame->uc_mcontext.gregs[REG_CS]);
  handled++;
}

static void on_old_signal(int number) {
  /* The first is being handled when the program is saved. */
  if (number == SIGUSR2 && handled == 0) {
    in_handler = 1;
    say("ready\n");
    wait_for_go();
    in_handler = 2;
  }
  handled++;
}

/* As a program without libc sets it: without a restorer, so that the frame returns through the vDSO. */
static void set_bare_action(int number, void *handler, unsigned flags) {
  struct { void *handler; unsigned flags; void *restorer; unsigned mask[2]; } action = {handler, flags, 0, {0, 0}}, old;
  CHECK(syscall(SYS_rt_sigaction, number, &action, NULL, 8) == 0, "rt_sigaction: errno %d", errno);
  CHECK(syscall(SYS_rt_sigaction, number, NULL, &old, 8) == 0 && old.handler == handler, "rt_sigaction");
}

static void check_memory(void) {
  for (int i = 0; i < 64; i++) {
    void *area = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(area != MAP_FAILED, "mmap: errno %d", errno);
  }
  const unsigned char *vdso = (const unsigned char *)getauxval(AT_SYSINFO_EHDR);
  CHECK(vdso && memcmp(vdso, "\177ELF", 4) == 0 && vdso[EI_CLASS] == ELFCLASS32, "the vDSO is no 32-bit ELF image");
  /* Its entry for system calls. */
  long pid;
  __asm__ volatile("call *%1" : "=a"(pid) : "m"((uintptr_t){getauxval(AT_SYSINFO)}), "a"(SYS_getpid) : "memory");
  CHECK(pid == getpid(), "__kernel_vsyscall says pid %ld", pid);
  struct timespec now;
  CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0 && now.tv_sec > 0, "clock_gettime");
  char line[512];
  FILE *maps = fopen("/proc/self/maps", "r");
  CHECK(maps != NULL, "maps");
  while (fgets(line, sizeof line, maps)) CHECK(strtoull(line, NULL, 16) < 0xffffe000u, "a mapping is at %s", line);
  fclose(maps);
  maps = fopen("/proc/self/auxv", "r");
  unsigned pair[2], pages = 0;
  while (maps && fread(pair, sizeof pair, 1, maps) == 1 && pair[0] != AT_NULL) pages = pair[0] == AT_PAGESZ ? pair[1] : pages;
  CHECK(maps && pages == 4096, "the auxiliary vector");
  fclose(maps);
}

int main(void) {
  pthread_t threads[THREADS];
  static unsigned local[2] = {0, MARK};
  struct user_desc entry = {.entry_number = 9, .base_addr = (unsigned)(uintptr_t)local, .limit = 0xfff, .seg_32bit = 1};
  CHECK(syscall(SYS_modify_ldt, 0x11, &entry, sizeof entry) == 0, "modify_ldt: errno %d", errno);
  set_bare_action(SIGUSR1, (void *)on_signal, SA_SIGINFO);
  set_bare_action(SIGUSR2, (void *)on_old_signal, 0);
  stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536}, now;
  CHECK(sigaltstack(&stack, NULL) == 0, "sigaltstack");
  pthread_barrier_init(&started, NULL, THREADS + 1);
  for (long i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, run, (void *)i) == 0, "pthread_create");
  pthread_barrier_wait(&started);
  raise(SIGUSR2);
  CHECK(in_handler == 2 && handled == 1, "the handler did not come back");
  CHECK(sigaltstack(NULL, &now) == 0 && now.ss_sp == stack.ss_sp && now.ss_size == 65536, "the signal stack");
  check_memory();
  CHECK(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 77}) == 0, "sigqueue");
  raise(SIGUSR2);
  CHECK(handled == 3, "%d signals were handled", handled);
  may_leave = 1;
  word = 0;
  syscall(SYS_futex, &word, FUTEX_WAKE, 10, NULL, NULL, 0);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  say("ok\n");
  return 0;
}
