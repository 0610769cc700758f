/*
 * Segments from a 64-bit program: an LDT from its first entry to its last, three thread areas of each thread, and selectors
 * in ds, es, fs, gs and ss, with bases of fs and gs that are the descriptor's and that are not.
 */
#include "self-check.h"
#include <asm/ldt.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>

enum { TABLE = LDT_ENTRIES * LDT_ENTRY_SIZE, FIRST_SLOT = 12, THREADS = 4 };
#define LDT(entry) ((entry) << 3 | 7)
#define SLOT(slot) ((FIRST_SLOT + (slot)) << 3 | 3)

static unsigned char before[TABLE], now[TABLE];
/* Memory that has 32-bit addresses, as segments have. */
static char *low;
static volatile int may_leave;
static pthread_barrier_t started;

static void set_local(unsigned entry, unsigned base, unsigned limit, struct user_desc rest) {
  rest.entry_number = entry;
  rest.base_addr = base;
  rest.limit = limit;
  CHECK(syscall(SYS_modify_ldt, 0x11, &rest, sizeof rest) == 0, "modify_ldt of entry %u", entry);
}

/* set_thread_area(2) and get_thread_area(2) are calls of i386 only. */
static long call32(long number, void *argument) {
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(argument) : "memory", "r8", "r9", "r10", "r11");
  return (int)result;
}

static struct user_desc *scratch_desc(long me) { return (struct user_desc *)(low + 0x2000 + me * 0x100); }

static void set_area(long me, unsigned slot) {
  struct user_desc *area = scratch_desc(me);
  memset(area, 0, sizeof *area);
  area->entry_number = FIRST_SLOT + slot;
  area->base_addr = (unsigned)(uintptr_t)low + (unsigned)me * 64 + slot * 8;
  area->limit = 0xf0000 + slot;
  area->seg_32bit = 1;
  area->limit_in_pages = slot == 1;
  area->read_exec_only = slot == 2;
  area->contents = slot == 0 && me == 2;
  area->useable = slot != 1;
  CHECK(call32(243, area) == 0, "set_thread_area of slot %u", slot);
}

static void check_area(long me, unsigned slot) {
  struct user_desc *area = scratch_desc(me);
  memset(area, 0, sizeof *area);
  area->entry_number = FIRST_SLOT + slot;
  CHECK(call32(244, area) == 0, "get_thread_area of slot %u", slot);
  if (me == 1 && slot == 1) {
    CHECK(area->seg_not_present == 1 && area->base_addr == 0, "slot 1 of thread 1 is not empty");
    return;
  }
  CHECK(area->base_addr == (unsigned)(uintptr_t)low + me * 64 + slot * 8, "base %x of slot %u", area->base_addr, slot);
  CHECK(area->limit == 0xf0000 + slot && area->seg_32bit && area->limit_in_pages == (slot == 1), "slot %u of %ld", slot, me);
  CHECK(area->read_exec_only == (slot == 2) && area->contents == (slot == 0 && me == 2), "kind of slot %u of %ld", slot, me);
  CHECK(area->useable == (slot != 1) && !area->seg_not_present, "flags of slot %u of %ld", slot, me);
}

static unsigned selector(char name) {
  unsigned value = 0;
  if (name == 'd') __asm__ volatile("mov %%ds, %0" : "=r"(value));
  if (name == 'e') __asm__ volatile("mov %%es, %0" : "=r"(value));
  if (name == 'f') __asm__ volatile("mov %%fs, %0" : "=r"(value));
  if (name == 'g') __asm__ volatile("mov %%gs, %0" : "=r"(value));
  return value;
}

static uint64_t at_gs(void) {
  uint64_t value;
  __asm__ volatile("mov %%gs:0, %0" : "=r"(value));
  return value;
}

static int has_base_instructions(void) { return (getauxval(AT_HWCAP2) & 2) != 0; }

static void load(long me) {
  __asm__ volatile("mov %0, %%ds; mov %1, %%es" : : "r"(LDT(0)), "r"(SLOT(2)));
  if (me == 1) __asm__ volatile("mov %0, %%gs" : : "r"(SLOT(0)));
  if (me == 2) __asm__ volatile("mov %0, %%gs" : : "r"(LDT(8191)));
  if (me == 3 && has_base_instructions()) {
    /* Selectors that name segments, and bases that are not theirs: libc's own in fs, one beyond 32 bits in gs. */
    __asm__ volatile("rdfsbase %%rax; mov %0, %%fs; wrfsbase %%rax; mov %1, %%gs; wrgsbase %2"
                     : : "r"(SLOT(1)), "r"(LDT(6)), "r"(0x123456789000UL) : "rax");
  }
}

static void check_loaded(long me) {
  CHECK(selector('d') == LDT(0) && selector('e') == SLOT(2), "ds %x, es %x of thread %ld", selector('d'), selector('e'), me);
  if (me == 1) CHECK(selector('g') == SLOT(0) && at_gs() == 0x1110, "gs %x of thread 1, there is %lx", selector('g'), at_gs());
  if (me == 2) CHECK(selector('g') == LDT(8191) && at_gs() == 0x2222, "gs %x of thread 2, there is %lx", selector('g'), at_gs());
  if (me == 3 && has_base_instructions()) {
    unsigned long base;
    __asm__ volatile("rdgsbase %0" : "=r"(base));
    CHECK(selector('f') == SLOT(1) && selector('g') == LDT(6), "fs %x, gs %x of thread 3", selector('f'), selector('g'));
    CHECK(base == 0x123456789000UL, "gs base of thread 3 is %lx", base);
  }
}

static void *run(void *number) {
  long me = (long)number;
  for (unsigned slot = 0; slot < 3; slot++)
    if (me != 1 || slot != 1) set_area(me, slot);
  load(me);
  pthread_barrier_wait(&started);
  if (me == 0) {
    unsigned stack;
    /* No system call: one would put the usual selector into ss. */
    __asm__ volatile("mov %2, %%ss\n1: pause; cmpl $0, %1; je 1b\n mov %%ss, %0\n mov %3, %%ss"
                     : "=&r"(stack) : "m"(may_leave), "r"(LDT(0)), "r"(0x2b));
    CHECK(stack == LDT(0), "ss is %x", stack);
  }
  while (!may_leave) usleep(1000);
  check_loaded(me);
  for (unsigned slot = 0; slot < 3; slot++) check_area(me, slot);
  return NULL;
}

int main(void) {
  pthread_t threads[THREADS];
  low = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
  CHECK(low != MAP_FAILED, "mmap");
  *(uint64_t *)(low + 64) = 0x1110;
  *(uint64_t *)(low + 0x1000) = 0x2222;
  unsigned base = (unsigned)(uintptr_t)low;
  set_local(0, 0, 0xfffff, (struct user_desc){.seg_32bit = 1, .limit_in_pages = 1, .useable = 1});
  set_local(1, base, 0xfff, (struct user_desc){.seg_32bit = 0});
  set_local(2, base + 16, 0x12345, (struct user_desc){.seg_32bit = 1, .contents = 2, .read_exec_only = 1});
  set_local(3, 0xfedcba98, 0xfffff, (struct user_desc){.seg_32bit = 1, .contents = 1, .read_exec_only = 1});
  set_local(4, base, 1, (struct user_desc){.seg_32bit = 1, .contents = 3, .seg_not_present = 1});
  set_local(6, base, 0xfff, (struct user_desc){.seg_32bit = 1, .contents = 2});
  set_local(4000, base, 0xfff, (struct user_desc){.seg_not_present = 1, .useable = 1});
  set_local(8191, base + 0x1000, 0xfff, (struct user_desc){.seg_32bit = 1, .read_exec_only = 1});
  CHECK(syscall(SYS_modify_ldt, 0, before, TABLE) == TABLE, "modify_ldt");
  pthread_barrier_init(&started, NULL, THREADS + 1);
  for (long i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, run, (void *)i) == 0, "pthread_create");
  pthread_barrier_wait(&started);
  say("ready\n");
  wait_for_go();
  CHECK(syscall(SYS_modify_ldt, 0, now, TABLE) == TABLE && memcmp(before, now, TABLE) == 0, "the LDT is not as it was");
  may_leave = 1;
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  say("ok\n");
  return 0;
}
