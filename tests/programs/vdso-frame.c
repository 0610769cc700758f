/*
 * Is saved in the handler of a SIGTRAP that came behind the first instruction of clock_gettime in the vDSO: the program steps
 * itself by the trap flag. The handler returns into the middle of the function; in 64 bits that is where a jump would stand.
 */
#include "self-check.h"
#include <signal.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <ucontext.h>

#ifdef __x86_64__
#define RIP REG_RIP
#define FLAGS REG_EFL
#define SET_TRAP "sub $128, %%rsp; pushfq; orq $0x100, (%%rsp); popfq; add $128, %%rsp"
#else
#define RIP REG_EIP
#define FLAGS REG_EFL
#define SET_TRAP "pushfl; orl $0x100, (%%esp); popfl"
#endif

enum { VDSO_BYTES = 0x4000, TRAP = 0x100 };
static volatile int inside, waited;

/* The second trap in the vDSO comes behind its first instruction there. */
static void on_trap(int number, siginfo_t *info, void *context) {
  (void)number;
  (void)info;
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  uintptr_t ip = (uintptr_t)registers[RIP];
  if (ip - getauxval(AT_SYSINFO_EHDR) >= VDSO_BYTES || ++inside < 2) return;
  registers[FLAGS] &= ~TRAP;
  if (waited) return;
  waited = 1;
  say("ready\n");
  wait_for_go();
}

int main(void) {
  struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
  struct timespec now = {0, 0}, after;
  CHECK(sigaction(SIGTRAP, &action, NULL) == 0, "sigaction: errno %d", errno);
  /* Bound before the steps begin. */
  CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0, "clock_gettime: errno %d", errno);
  now.tv_sec = 0;
  __asm__ volatile(SET_TRAP : : : "cc", "memory");
  int answer = clock_gettime(CLOCK_MONOTONIC, &now);
  CHECK(answer == 0 && waited, "clock_gettime returned %d, %d traps in the vDSO", answer, inside);
  CHECK(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &after) == 0, "clock_gettime: errno %d", errno);
  CHECK(now.tv_sec > 0 && now.tv_sec <= after.tv_sec, "the time is %ld s", (long)now.tv_sec);
  say("ok\n");
  return 0;
}
