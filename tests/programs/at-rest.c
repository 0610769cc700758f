/* Stands still: two threads that wait without end, memory, an LDT, a handler that ends it. For images that must be equal. */
#include "self-check.h"
#include <asm/ldt.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>

static volatile uint32_t block[5 << 18];
static pthread_barrier_t started;

static void leave(int number) {
  (void)number;
  _exit(0);
}

static void *rest(void *unused) {
  pthread_barrier_wait(&started);
  for (;;) pause();
  return unused;
}

int main(void) {
  pthread_t thread;
  uint32_t state = 2463534242u;
  for (size_t i = 0; i < sizeof block / sizeof *block; i++) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    block[i] = state;
  }
  for (unsigned i = 0; i < 100; i += 7) {
    struct user_desc entry = {.entry_number = i, .base_addr = i * 4096, .limit = i + 1, .seg_32bit = 1};
    CHECK(syscall(SYS_modify_ldt, 0x11, &entry, sizeof entry) == 0, "modify_ldt");
  }
  signal(SIGUSR1, leave);
  pthread_barrier_init(&started, NULL, 2);
  CHECK(pthread_create(&thread, NULL, rest, NULL) == 0, "pthread_create");
  pthread_barrier_wait(&started);
  say("ready\n");
  for (;;) pause();
}
