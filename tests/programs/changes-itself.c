/* Changes some bytes of its memory, a position and its descriptors when it is told to: what two saves differ in is known. */
#include "self-check.h"

#define PAGE 4096

int main(void) {
  unsigned char *room = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  /* A hole on each side: neighbours would be joined. */
  unsigned char *shared = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  int moved = open("moved", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  CHECK(room != MAP_FAILED && shared != MAP_FAILED && moved >= 0, "errno %d", errno);
  CHECK(dup2(moved, 4) == 4 && lseek(4, 7, SEEK_SET) == 7, "errno %d", errno);
  room[5] = 1;
  shared[PAGE + 9] = 1;
  char line[128];
  snprintf(line, sizeof line, "room 0x%lx shared 0x%lx\n", (unsigned long)room, (unsigned long)shared);
  say(line);
  CHECK(mprotect(room, 8 * PAGE, PROT_READ | PROT_WRITE) == 0, "errno %d", errno);
  say("ready\n");
  while (access("change", F_OK) != 0) usleep(2000);
  room[5] = 2;
  room[3 * PAGE] = 1;
  room[3 * PAGE + 100] = 1;
  memset(room + 7 * PAGE, 0xff, PAGE);
  shared[PAGE + 9] = 2;
  CHECK(lseek(4, 9, SEEK_SET) == 9 && dup2(0, 5) == 5, "errno %d", errno);
  CHECK(mmap(NULL, 64 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED, "errno %d", errno);
  say("changed\n");
  wait_for_go();
  say("ok\n");
  return 0;
}
