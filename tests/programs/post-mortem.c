/*
 * A program to be looked at when it is gone: three threads with text on their stacks, on the heap and in memory without a file, and
 * known values in registers while they wait in a system call.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

char text_of_program[64] = "in the data of the program";
char *volatile text_on_heap;
char *volatile text_shared;
static pthread_barrier_t all_there;

/* pi stays on the x87 stack, the pattern in xmm5, another in both halves of ymm6 where there is AVX, and nothing of ours runs between the loads and the call. */
static void wait_with_registers(void) {
  static const unsigned char pattern[16] __attribute__((aligned(16))) = "xmm5 of a thread";
  static const unsigned char upper[16] __attribute__((aligned(16))) = "a half of a ymm6";
  if (__builtin_cpu_supports("avx")) __asm__ volatile("vbroadcastf128 %0, %%ymm6" : : "m"(upper) : "xmm6");
#ifdef __x86_64__
  const long pause_number = 34;
  __asm__ volatile("fldpi; movdqa %0, %%xmm5; 1: mov %1, %%rax; syscall; jmp 1b"
                   : : "m"(pattern), "r"(pause_number) : "rax", "rcx", "r11", "xmm5", "memory");
#else
  __asm__ volatile("fldpi; movdqa %0, %%xmm5; 1: mov $29, %%eax; int $0x80; jmp 1b"
                   : : "m"(pattern) : "eax", "xmm5", "memory");
#endif
}

static void wait_in_frame(int number) {
  char text_on_stack[32];
  snprintf(text_on_stack, sizeof text_on_stack, "stack of thread %d", number);
  if (pthread_barrier_wait(&all_there) == PTHREAD_BARRIER_SERIAL_THREAD) {
    puts("ready");
    fflush(stdout);
  }
  wait_with_registers();
  puts(text_on_stack);
}

static void *thread_main(void *number) {
  wait_in_frame((int)(long)number);
  return NULL;
}

int main(void) {
  text_on_heap = strdup("on the heap");
  text_shared = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  strcpy((char *)text_shared + 2 * 4096, "in shared memory");
  pthread_barrier_init(&all_there, NULL, 3);
  pthread_t thread;
  for (long number = 1; number < 3; number++) pthread_create(&thread, NULL, thread_main, (void *)number);
  wait_in_frame(0);
  return 0;
}
