/*
 * Has the trap flag set: every instruction of its loop is a SIGTRAP. Each round has as many of them as the one before.
 */
#include "self-check.h"
#include <signal.h>

static volatile int traps;

static void on_trap(int number) {
  (void)number;
  traps++;
}

#ifdef __x86_64__
#define FLAGS(change) "sub $128, %%rsp; pushfq; " change "q $0x100, (%%rsp); popfq; "
#define CLEAR "pushfq; andq $~0x100, (%%rsp); popfq; add $128, %%rsp"
#else
#define FLAGS(change) "pushfl; " change "l $0x100, (%%esp); popfl; "
#define CLEAR "pushfl; andl $~0x100, (%%esp); popfl"
#endif

static int stepped(int rounds) {
  traps = 0;
  __asm__ volatile(FLAGS("or") "1: dec %0; jnz 1b; " CLEAR : "+r"(rounds) : : "cc", "memory");
  return traps;
}

int main(void) {
  signal(SIGTRAP, on_trap);
  int expected = stepped(1000);
  CHECK(expected >= 2000, "%d traps in 1000 rounds", expected);
  say("ready\n");
  for (int i = 0; !may_go(); i++) {
    CHECK(i < PATIENCE, "nobody told me to go on");
    int found = stepped(1000);
    CHECK(found == expected, "%d traps, not %d", found, expected);
  }
  say("ok\n");
  return 0;
}
