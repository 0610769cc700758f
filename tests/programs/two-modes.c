/*
 * Threads that have left the mode of their program by a far jump: 32-bit code in a 64-bit program, 64-bit code in a 32-bit one.
 * Each keeps its registers while it spins, or waits in a call; one calls by int 0x80 from 64-bit code.
 */
#include "self-check.h"
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>

volatile int may_leave, word = 1;
uint32_t spin_cs, spin_bad, call_cs;
int32_t call_result = 99, sleep_result = 99;
uint64_t spin_stack, call_stack;
struct { uint32_t sec, nsec; } sleep_time = {1, 500000000};
void spin_in_other_mode(void), call_in_other_mode(void), sleep_by_int80(void);

#ifdef __x86_64__
#define PUSH_ALL "push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\n"
#define POP_ALL "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\nret\n"
__asm__(
    ".text\n.globl spin_in_other_mode\nspin_in_other_mode:\n" PUSH_ALL
    "mov %rsp, spin_stack\n"
    "movabs $0x123456789abcdef0, %r12\nmovabs $0xfedcba9876543210, %r15\n"
    "ljmp *to_spin\n"
    /* A 64-bit program has nothing in ds. */
    ".code32\nspin32:\nmov $0x2b, %eax\nmov %eax, %ds\n"
    "mov $0x11111111, %eax\nmov $0x22222222, %ebx\nmov $0xc3333333, %esi\nmov $0xf4444444, %ebp\n"
    "1: cmpl $0, may_leave\nje 1b\n"
    "cmp $0x11111111, %eax\njne 2f\ncmp $0x22222222, %ebx\njne 2f\n"
    "cmp $0xc3333333, %esi\njne 2f\ncmp $0xf4444444, %ebp\nje 3f\n"
    "2: movl $1, spin_bad\n3: mov %cs, %eax\nmov %eax, spin_cs\n"
    "ljmp $0x33, $spun32\n"
    ".code64\nspun32:\n"
    /* rsp is not compared: an interrupt of 32-bit code cuts it to 32 bits. */
    "movabs $0x123456789abcdef0, %rax\ncmp %rax, %r12\njne 4f\n"
    "movabs $0xfedcba9876543210, %rax\ncmp %rax, %r15\nje 5f\n4: movl $2, spin_bad\n5: mov spin_stack, %rsp\n" POP_ALL

    ".globl call_in_other_mode\ncall_in_other_mode:\n" PUSH_ALL
    "mov %rsp, call_stack\nljmp *to_call\n"
    ".code32\ncall32:\nmov $0x2b, %eax\nmov %eax, %ds\n"
    "mov $240, %eax\nmov $word, %ebx\nxor %ecx, %ecx\nmov $1, %edx\nxor %esi, %esi\nint $0x80\n"
    "mov %eax, call_result\nmov %cs, %eax\nmov %eax, call_cs\n"
    "ljmp $0x33, $called32\n"
    ".code64\ncalled32:\nmov call_stack, %rsp\n" POP_ALL

    ".globl sleep_by_int80\nsleep_by_int80:\n" PUSH_ALL
    "mov $162, %eax\nmov $sleep_time, %ebx\nmov $sleep_time, %ecx\nint $0x80\nmov %eax, sleep_result\n" POP_ALL
    ".data\nto_spin: .long spin32, 0x23\nto_call: .long call32, 0x23\n.text\n");
enum { OTHER_CS = 0x23 };
#else
__asm__(
    ".text\n.globl spin_in_other_mode\nspin_in_other_mode:\npusha\nmov %esp, spin_stack\n"
    "ljmp $0x33, $spin64\n"
    ".code64\nspin64:\n"
    "movabs $0x123456789abcdef0, %r12\nmovabs $0xfedcba9876543210, %r15\nmovabs $0x1111111122222222, %rax\n"
    "movabs $0x7fff00001234, %rsp\n"
    "1: cmpl $0, may_leave(%rip)\nje 1b\n"
    "movabs $0x123456789abcdef0, %rbx\ncmp %rbx, %r12\njne 2f\nmovabs $0xfedcba9876543210, %rbx\ncmp %rbx, %r15\njne 2f\n"
    "movabs $0x7fff00001234, %rbx\ncmp %rbx, %rsp\njne 2f\n"
    "movabs $0x1111111122222222, %rbx\ncmp %rbx, %rax\nje 3f\n2: movl $1, spin_bad(%rip)\n"
    "3: mov %cs, %eax\nmov %eax, spin_cs(%rip)\nmov spin_stack(%rip), %esp\nljmp *to_spun(%rip)\n"
    ".code32\nspun64: popa\nret\n"

    ".globl call_in_other_mode\ncall_in_other_mode:\npusha\nmov %esp, call_stack\nljmp $0x33, $call64\n"
    ".code64\ncall64:\n"
    "mov $202, %eax\nmov $word, %edi\nxor %esi, %esi\nmov $1, %edx\nxor %r10d, %r10d\nsyscall\n"
    "mov %eax, call_result(%rip)\nmov %cs, %eax\nmov %eax, call_cs(%rip)\nmov call_stack(%rip), %esp\nljmp *to_called(%rip)\n"
    ".code32\ncalled64: popa\nret\n"

    ".globl sleep_by_int80\nsleep_by_int80:\npusha\nljmp $0x33, $sleep64\n"
    ".code64\nsleep64: mov $162, %eax\nmov $sleep_time, %ebx\nmov $sleep_time, %ecx\nint $0x80\nmov %eax, sleep_result(%rip)\n"
    "ljmp *to_slept(%rip)\n"
    ".code32\nslept64: popa\nret\n"
    ".data\nto_spun: .long spun64, 0x23\nto_called: .long called64, 0x23\nto_slept: .long slept64, 0x23\n.text\n");
enum { OTHER_CS = 0x33 };
#endif

static void *spin(void *unused) { spin_in_other_mode(); return unused; }
static void *call(void *unused) { call_in_other_mode(); return unused; }

static void *nap(void *unused) {
  struct timespec begun, now;
  clock_gettime(CLOCK_MONOTONIC, &begun);
  sleep_by_int80();
  clock_gettime(CLOCK_MONOTONIC, &now);
  long long took = (now.tv_sec - begun.tv_sec) * 1000000000LL + now.tv_nsec - begun.tv_nsec;
  CHECK(sleep_result == 0 && took >= 1500000000LL, "a sleep of 1.5 s returned %d after %lld ns", sleep_result, took);
  return unused;
}

int main(void) {
  pthread_t threads[3];
  void *(*const bodies[3])(void *) = {spin, call, nap};
  for (int i = 0; i < 3; i++) CHECK(pthread_create(&threads[i], NULL, bodies[i], NULL) == 0, "pthread_create");
  usleep(50000);
  say("ready\n");
  wait_for_go();
  CHECK(call_result == 99, "futex returned %d too early", call_result);
  may_leave = 1;
  word = 0;
  while (call_result == 99) {
    /* It may not wait yet. */
#ifdef __x86_64__
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(202), "D"(&word), "S"(1), "d"(1) : "rcx", "r11", "memory");
#else
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(240), "b"(&word), "c"(1), "d"(1) : "memory");
#endif
    usleep(1000);
  }
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  CHECK(call_result == 0 || call_result == -EAGAIN, "futex returned %d", call_result);
  CHECK(spin_bad == 0, "a register has changed (%u)", spin_bad);
  CHECK(spin_cs == OTHER_CS && call_cs == OTHER_CS, "cs was %x and %x", spin_cs, call_cs);
  say("ok\n");
  return 0;
}
