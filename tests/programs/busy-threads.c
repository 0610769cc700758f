/*
 * Threads that never rest and notice any harm: calls that must not be interrupted, registers that must keep their values,
 * a token that must go round in order.
 */
#include "self-check.h"
#include <poll.h>
#include <pthread.h>

static volatile int stop;

static void *sleeper(void *unused) {
  (void)unused;
  while (!stop) {
    struct timespec wanted = {0, 3000000}, before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    CHECK(nanosleep(&wanted, NULL) == 0, "nanosleep was interrupted: errno %d", errno);
    clock_gettime(CLOCK_MONOTONIC, &after);
    long long slept = (after.tv_sec - before.tv_sec) * 1000000000LL + after.tv_nsec - before.tv_nsec;
    CHECK(slept >= 3000000, "nanosleep returned after %lld ns", slept);
  }
  return NULL;
}

static void *register_keeper(void *unused) {
  (void)unused;
  while (!stop) {
    unsigned long bad = 0;
#ifdef __x86_64__
    __asm__ volatile(
        "movq %[pattern], %%xmm5\n\t"
        "mov $200000, %%ecx\n\t"
        "mov $77, %%r15\n\t"
        "std\n\t"
        "1: movq %%xmm5, %%rax\n\t"
        "cmp %[pattern], %%rax\n\t"
        "jne 2f\n\t"
        "cmp $77, %%r15\n\t"
        "jne 2f\n\t"
        "dec %%ecx\n\t"
        "jnz 1b\n\t"
        "jmp 3f\n\t"
        "2: mov $1, %[bad]\n\t"
        "3: cld\n\t"
        : [bad] "+&r"(bad)
        : [pattern] "r"(0x1234567890abcdefUL)
        : "xmm5", "rcx", "rax", "r15", "cc");
#else
    __asm__ volatile(
        "movd %[pattern], %%xmm5\n\t"
        "mov $200000, %%ecx\n\t"
        "std\n\t"
        "1: movd %%xmm5, %%eax\n\t"
        "cmp %[pattern], %%eax\n\t"
        "jne 2f\n\t"
        "dec %%ecx\n\t"
        "jnz 1b\n\t"
        "jmp 3f\n\t"
        "2: mov $1, %[bad]\n\t"
        "3: cld\n\t"
        : [bad] "+&r"(bad)
        : [pattern] "r"(0x12345678UL)
        : "xmm5", "ecx", "eax", "cc");
#endif
    CHECK(!bad, "a register has changed");
  }
  return NULL;
}

static int nothing[2];

static void *poller(void *unused) {
  (void)unused;
  struct pollfd entry = {nothing[0], POLLIN, 0};
  int result = poll(&entry, 1, -1);
  CHECK(result == 1 && stop, "poll returned %d, errno %d", result, errno);
  return NULL;
}

static void *reader(void *unused) {
  (void)unused;
  char byte;
  ssize_t count = read(nothing[0], &byte, 1);
  CHECK(count == 1 && stop, "read returned %zd, errno %d", count, errno);
  return NULL;
}

enum { RING = 4 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static long turn;
static long passes[RING];

static void *ring_member(void *number) {
  long me = (long)number;
  pthread_mutex_lock(&lock);
  while (!stop) {
    while (turn % RING != me && !stop) pthread_cond_wait(&changed, &lock);
    if (stop) break;
    passes[me]++;
    turn++;
    pthread_cond_broadcast(&changed);
  }
  pthread_mutex_unlock(&lock);
  return NULL;
}

int main(void) {
  pthread_t threads[4 + RING];
  CHECK(pipe(nothing) == 0, "pipe");
  pthread_create(&threads[0], NULL, sleeper, NULL);
  pthread_create(&threads[1], NULL, register_keeper, NULL);
  pthread_create(&threads[2], NULL, poller, NULL);
  pthread_create(&threads[3], NULL, reader, NULL);
  for (long i = 0; i < RING; i++) pthread_create(&threads[4 + i], NULL, ring_member, (void *)i);
  say("ready\n");
  wait_for_go();
  pthread_mutex_lock(&lock);
  stop = 1;
  long sum = 0;
  for (int i = 0; i < RING; i++) {
    sum += passes[i];
    CHECK(passes[i] >= turn / RING && passes[i] <= turn / RING + 1, "member %d passed %ld of %ld", i, passes[i], turn);
  }
  CHECK(sum == turn, "%ld passes, %ld turns", sum, turn);
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
  CHECK(write(nothing[1], "xx", 2) == 2, "write");
  for (int i = 0; i < 4 + RING; i++) pthread_join(threads[i], NULL);
  say("ok\n");
  return 0;
}
