/*
 * A 32-bit program whose memory ends at 3 GiB and is laid out from below: it executes itself anew for it. It must find room
 * where it did, also for threads and for other programs.
 */
#include "self-check.h"
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/wait.h>

enum { WANTED = ADDR_LIMIT_3GB | ADDR_COMPAT_LAYOUT };

static void *idle(void *argument) { return argument; }

static void check_room(void) {
  char *area = mmap(NULL, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(area != MAP_FAILED && (uintptr_t)area < 0x80000000u, "mmap gave %p, errno %d", (void *)area, errno);
  area[1 << 20] = 1;
  CHECK(munmap(area, 64 << 20) == 0, "munmap");
  CHECK(mmap((void *)0xc8000000u, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED, "there is memory above 3 GiB");
  char line[512];
  FILE *maps = fopen("/proc/self/maps", "r");
  CHECK(maps != NULL, "maps");
  while (fgets(line, sizeof line, maps)) CHECK(strtoull(line, NULL, 16) < 0xc0000000u, "a mapping is at %s", line);
  fclose(maps);
}

int main(void) {
  if (((unsigned)personality(0xffffffff) & WANTED) != WANTED) {
    personality((unsigned)personality(0xffffffff) | WANTED);
    execl("/proc/self/exe", "three-gigabytes", (char *)NULL);
    fail("execl: errno %d", errno);
  }
  check_room();
  say("ready\n");
  wait_for_go();
  CHECK(((unsigned)personality(0xffffffff) & WANTED) == WANTED, "the personality is %x", personality(0xffffffff));
  check_room();
  pthread_t thread;
  void *result = NULL;
  CHECK(pthread_create(&thread, NULL, idle, (void *)7) == 0, "pthread_create");
  CHECK(pthread_join(thread, &result) == 0 && result == (void *)7, "pthread_join");
  int status = -1;
  pid_t child = fork();
  if (child == 0) {
    execl("/bin/true", "true", (char *)NULL);
    _exit(9);
  }
  CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0, "the child ended with %x", status);
  say("ok\n");
  return 0;
}
