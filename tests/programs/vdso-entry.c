/*
 * A thread that has everything on its stack and in its registers as it is a few instructions into a function of the vDSO: of
 * clock_gettime, behind its `push rbp`; of the entry for calls of i386, behind its three pushes, before the call. Only rip is
 * elsewhere, in a loop. A test sets it in the image, and the function returns behind the loop.
 */
#include "self-check.h"
#include <pthread.h>
#include <sys/syscall.h>

static volatile int leave;

#ifdef __x86_64__
__asm__(
    ".text\n"
    "stand:\n"
    "  push %rbx\n"
    "  push %rbp\n"
    "  mov %rsi, %rbx\n"
    "  mov %rdi, %rsi\n"
    "  mov $1, %edi\n"          /* CLOCK_MONOTONIC */
    "  lea returned(%rip), %rax\n"
    "  push %rax\n"
    "  push %rbp\n"             /* the first instruction of clock_gettime */
    "again:\n"
    "  pause\n"
    "  cmpl $0, (%rbx)\n"
    "  je again\n"
    "  add $16, %rsp\n"
    "  mov $-1, %rax\n"
    "  jmp out\n"
    "returned:\n"
    "  cmp (%rsp), %rbp\n"
    "  je out\n"
    "  mov $-2, %rax\n"
    "out:\n"
    "  pop %rbp\n"
    "  pop %rbx\n"
    "  ret\n");
long stand(struct timespec *now, volatile int *leave);

static void check_result(void) {
  struct timespec now = {0, 0}, before, after;
  CHECK(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &before) == 0, "clock_gettime: errno %d", errno);
  long answer = stand(&now, &leave);
  CHECK(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &after) == 0, "clock_gettime: errno %d", errno);
  CHECK(answer == 0, "clock_gettime returned %ld", answer);
  CHECK(now.tv_sec >= before.tv_sec && now.tv_sec <= after.tv_sec, "the time is %ld s", (long)now.tv_sec);
}
#else
__asm__(
    ".text\n"
    "stand:\n"
    "  push %ebx\n"
    "  push %ebp\n"
    "  push %esi\n"
    "  mov 16(%esp), %esi\n"
    "  mov $20, %eax\n"         /* getpid */
    "  mov $0x11, %ecx\n"
    "  mov $0x22, %edx\n"
    "  push $returned\n"
    "  push %ecx\n"             /* what __kernel_vsyscall begins with */
    "  push %edx\n"
    "  push %ebp\n"
    "again:\n"
    "  pause\n"
    "  cmpl $0, (%esi)\n"
    "  je again\n"
    "  add $16, %esp\n"
    "  mov $-1, %eax\n"
    "  jmp out\n"
    "returned:\n"
    "  cmp $0x11, %ecx\n"
    "  jne odd\n"
    "  cmp $0x22, %edx\n"
    "  jne odd\n"
    "  cmp 4(%esp), %ebp\n"
    "  je out\n"
    "odd:\n"
    "  mov $-2, %eax\n"
    "out:\n"
    "  pop %esi\n"
    "  pop %ebp\n"
    "  pop %ebx\n"
    "  ret\n");
long stand(volatile int *leave);

static void check_result(void) {
  long answer = stand(&leave);
  CHECK(answer == getpid(), "__kernel_vsyscall returned %ld", answer);
}
#endif

static void *run(void *unused) {
  char text[64];
  snprintf(text, sizeof text, "thread %ld\nready\n", (long)syscall(SYS_gettid));
  say(text);
  check_result();
  return unused;
}

int main(void) {
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, run, NULL) == 0, "pthread_create");
  wait_for_go();
  leave = 1;
  pthread_join(thread, NULL);
  say("ok\n");
  return 0;
}
