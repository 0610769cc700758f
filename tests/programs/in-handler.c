/*
 * Is saved while handlers of signals run: one on an alternate stack, interrupted by a second one, over code that keeps all its
 * vector registers, the x87 stack and the control words loaded; one on the ordinary stack, over a system call. What was interrupted must
 * find all as it was.
 */
#include "self-check.h"
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>

#ifdef __x86_64__
#define REGISTERS "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15"
#define ARGUMENTS "  mov %rdi, %rax\n  mov %rcx, %r8\n  mov %rdx, %rcx\n  mov %rsi, %rdx\n"
#define VALUES "%rax"
#define FLAG "%rdx"
#define RESULTS "%rcx"
enum { COUNT = 16 };
#else
#define REGISTERS "0,1,2,3,4,5,6,7"
#define ARGUMENTS "  mov 4(%esp), %eax\n  mov 8(%esp), %edx\n  mov 12(%esp), %ecx\n"
#define VALUES "%eax"
#define FLAG "%edx"
#define RESULTS "%ecx"
enum { COUNT = 8 };
#endif

/* Loads COUNT registers of 32 bytes and two of x87, says so in the second flag, waits for the first, and stores them. */
#define HOLD(name, move, kind)                                                                   \
  __asm__(".text\n" name ":\n" ARGUMENTS                                                         \
          "  fldpi\n  fldl2e\n"                                                                  \
          "  .irp n," REGISTERS "\n  " move " \\n*32(" VALUES "), %" kind "\\n\n  .endr\n"       \
          "  movl $1, 4(" FLAG ")\n"                                                             \
          "1:\n  pause\n  cmpl $0, (" FLAG ")\n  je 1b\n"                                        \
          "  .irp n," REGISTERS "\n  " move " %" kind "\\n, \\n*32(" RESULTS ")\n  .endr\n"      \
          "  fstpt " "1024(" RESULTS ")\n  fstpt 1040(" RESULTS ")\n  ret\n")
HOLD("hold_xmm", "movdqu", "xmm");
HOLD("hold_ymm", "vmovdqu", "ymm");

struct results {
  unsigned char vectors[32][32];
  long double second __attribute__((aligned(16))), first __attribute__((aligned(16)));
};
void hold_xmm(unsigned char (*values)[32], volatile int *flags, struct results *results);
void hold_ymm(unsigned char (*values)[32], volatile int *flags, struct results *results);

enum { MXCSR = 0x7f80, CONTROL = 0x0f7f };
static volatile int flags[2], reader, on_alternate, nested, on_ordinary;
static unsigned char alternate[65536];
static int ends[2];

static void spoil_registers(void) {
  unsigned mxcsr = 0x1f80;
  __asm__ volatile("fninit; ldmxcsr %0" : : "m"(mxcsr));
  __asm__ volatile("pcmpeqd %%xmm0, %%xmm0; pcmpeqd %%xmm7, %%xmm7" : :);
}

static int is_on(const void *stack, size_t size) {
  char here;
  return (uintptr_t)&here - (uintptr_t)stack < size;
}

static void on_second(int number) {
  CHECK(number == SIGUSR2 && is_on(alternate, sizeof alternate), "signal %d on another stack", number);
  nested = 1;
  wait_for_go();
  spoil_registers();
}

static void on_first(int number, siginfo_t *info, void *context) {
  (void)context;
  CHECK(number == SIGUSR1 && info->si_code == SI_TKILL, "signal %d, code %d", number, info->si_code);
  CHECK(is_on(alternate, sizeof alternate), "the handler is on another stack");
  if (on_alternate) return;
  on_alternate = 1;
  spoil_registers();
  raise(SIGUSR2);
  CHECK(nested, "the second handler did not run");
  flags[0] = 1;
}

static void on_ordinary_stack(int number) {
  CHECK(number == SIGHUP && !is_on(alternate, sizeof alternate), "signal %d on another stack", number);
  on_ordinary = 1;
  wait_for_go();
  spoil_registers();
}

static void *hold(void *unused) {
  static unsigned char values[COUNT][32];
  static struct results results __attribute__((aligned(64)));
  stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate}, now;
  unsigned mxcsr = MXCSR;
  unsigned short control = CONTROL;
  int wide = __builtin_cpu_supports("avx") != 0;
  size_t width = wide ? 32 : 16;
  CHECK(sigaltstack(&stack, NULL) == 0, "sigaltstack: errno %d", errno);
  for (int i = 0; i < COUNT; i++) memset(values[i], 0xa0 + i, 32);
  __asm__ volatile("ldmxcsr %0; fldcw %1" : : "m"(mxcsr), "m"(control));
  (wide ? hold_ymm : hold_xmm)(values, flags, &results);
  __asm__ volatile("stmxcsr %0; fnstcw %1" : "=m"(mxcsr), "=m"(control));
  CHECK(mxcsr == MXCSR && control == CONTROL, "mxcsr %x, control word %x", mxcsr, control);
  for (int i = 0; i < COUNT; i++) CHECK(memcmp(results.vectors[i], values[i], width) == 0, "vector register %d", i);
  CHECK(results.first > 3.14L && results.first < 3.15L, "x87 has %Lf", results.first);
  CHECK(results.second > 1.44L && results.second < 1.45L, "x87 has %Lf", results.second);
  CHECK(sigaltstack(NULL, &now) == 0 && now.ss_sp == alternate && now.ss_flags == 0, "the alternate stack");
  return unused;
}

static void *read_byte(void *unused) {
  char byte = 0;
  reader = (int)syscall(SYS_gettid);
  CHECK(read(ends[0], &byte, 1) == 1 && byte == 'x', "read: errno %d", errno);
  return unused;
}

/* The thread that reads waits in the kernel. */
static int is_waiting(void) {
  char path[64], text[512] = "";
  snprintf(path, sizeof path, "/proc/self/task/%d/stat", reader);
  int fd = open(path, O_RDONLY);
  CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0, "%s: errno %d", path, errno);
  close(fd);
  return strrchr(text, ')')[2] == 'S';
}

static void act(int number, void *handler, int flags) {
  struct sigaction action = {.sa_flags = flags};
  action.sa_sigaction = (void (*)(int, siginfo_t *, void *))handler;
  CHECK(sigaction(number, &action, NULL) == 0, "sigaction: errno %d", errno);
}

int main(void) {
  pthread_t holding, reading;
  CHECK(pipe(ends) == 0, "pipe: errno %d", errno);
  act(SIGUSR1, (void *)on_first, SA_SIGINFO | SA_ONSTACK);
  act(SIGUSR2, (void *)on_second, SA_ONSTACK);
  act(SIGHUP, (void *)on_ordinary_stack, SA_RESTART);
  CHECK(pthread_create(&holding, NULL, hold, NULL) == 0, "pthread_create");
  CHECK(pthread_create(&reading, NULL, read_byte, NULL) == 0, "pthread_create");
  for (int i = 0; i < PATIENCE && !(flags[1] && reader && is_waiting()); i++) usleep(2000);
  pthread_kill(holding, SIGUSR1);
  pthread_kill(reading, SIGHUP);
  for (int i = 0; i < PATIENCE && !(nested && on_ordinary); i++) usleep(2000);
  CHECK(nested && on_ordinary, "the handlers do not run");
  say("ready\n");
  wait_for_go();
  pthread_join(holding, NULL);
  CHECK(write(ends[1], "x", 1) == 1, "write: errno %d", errno);
  pthread_join(reading, NULL);
  say("ok\n");
  return 0;
}
