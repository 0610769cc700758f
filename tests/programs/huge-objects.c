/*
 * Shared memory of huge pages of 2 MiB: without a file, of a memfd, a System V segment, and of a file of hugetlbfs if its path is given. With a child that has
 * them too. It takes seven pages of the pool, and one of the file.
 */
#include "self-check.h"
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { HUGE = 2 << 20, KINDS = 4 };

#ifndef MFD_HUGETLB
#define MFD_HUGETLB 4u
#endif
#define SIZE_2MB (21 << 26)

static unsigned *memory[KINDS];
static int pages[KINDS] = {3, 2, 2, 1};
static int kinds = 3;

/* One word of every hundredth page, not of the second huge page of the first kind, which stays untouched. */
static void each(void (*use)(unsigned *at, unsigned value), unsigned round) {
  for (int kind = 0; kind < kinds; kind++) {
    for (int at = 0; at < pages[kind] * HUGE; at += 100 * 4096) {
      if (kind == 0 && at / HUGE == 1) continue;
      use(memory[kind] + at / sizeof **memory, (unsigned)(kind * 1000003 + at + 17) * round);
    }
  }
}

static void set(unsigned *at, unsigned value) { *at = value; }

static void check(unsigned *at, unsigned value) { CHECK(*at == value, "the word at %p is %u, not %u", (void *)at, *at, value); }

/* The line of smaps with this key, of the mapping that begins there. */
static void line_of(void *start, const char *key, char *into) {
  char line[512], place[32];
  FILE *smaps = fopen("/proc/self/smaps", "r");
  CHECK(smaps != NULL, "smaps: errno %d", errno);
  snprintf(place, sizeof place, "%lx-", (unsigned long)start);
  int found = 0;
  into[0] = 0;
  while (into[0] == 0 && fgets(line, sizeof line, smaps) != NULL) {
    if (!found) found = strncmp(line, place, strlen(place)) == 0;
    else if (strncmp(line, key, strlen(key)) == 0) snprintf(into, 256, "%.200s", line);
  }
  fclose(smaps);
}

int main(int count, char **arguments) {
  char flags[KINDS][256], text[256];
  memory[0] = mmap(NULL, 3 * HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB | SIZE_2MB, -1, 0);
  int file = (int)syscall(SYS_memfd_create, "huge", MFD_HUGETLB | SIZE_2MB | 2u);
  CHECK(file >= 0 && ftruncate(file, 2 * HUGE) == 0, "memfd_create: errno %d", errno);
  memory[1] = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  int segment = shmget(IPC_PRIVATE, 2 * HUGE, IPC_CREAT | 0600 | 04000 | SIZE_2MB);
  CHECK(segment >= 0, "shmget: errno %d", errno);
  memory[2] = shmat(segment, NULL, 0);
  CHECK(shmctl(segment, IPC_RMID, NULL) == 0, "shmctl: errno %d", errno);
  if (count > 1) {
    int named = open(arguments[1], O_RDWR);
    CHECK(named >= 0, "%s: errno %d", arguments[1], errno);
    memory[3] = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, named, 0);
    close(named);
    kinds = 4;
  }
  for (int kind = 0; kind < kinds; kind++) {
    CHECK(memory[kind] != MAP_FAILED, "memory of kind %d: errno %d", kind, errno);
    line_of(memory[kind], "VmFlags:", flags[kind]);
  }
  each(set, 1);
  CHECK(fcntl(file, F_ADD_SEALS, 2 | 4) == 0, "F_ADD_SEALS: errno %d", errno);
  pid_t child = fork();
  if (child == 0) {
    wait_for_go();
    each(check, 1);
    each(set, 3);
    _exit(0);
  }

  say("ready\n");
  wait_for_go();

  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0, "the child has ended with 0x%x", status);
  each(check, 3);
  for (int i = 0; i < HUGE / 4; i++) CHECK(memory[0][HUGE / 4 + i] == 0, "word %d of the untouched page", i);
  for (int kind = 0; kind < kinds; kind++) {
    line_of(memory[kind], "VmFlags:", text);
    CHECK(strcmp(text, flags[kind]) == 0, "kind %d has %s, not %s", kind, text, flags[kind]);
    line_of(memory[kind], "KernelPageSize:", text);
    CHECK(strstr(text, "2048 kB") != NULL, "kind %d has pages of %s", kind, text);
  }
  CHECK(fcntl(file, F_GET_SEALS) == (2 | 4), "the seals are %x", fcntl(file, F_GET_SEALS));
  void *again = mmap(NULL, HUGE, PROT_READ, MAP_SHARED, file, HUGE);
  CHECK(again != MAP_FAILED && memcmp(again, (char *)memory[1] + HUGE, HUGE) == 0, "the file is not its mapping");
  CHECK(shmdt(memory[2]) == 0, "shmdt: errno %d", errno);
  struct shmid_ds gone;
  CHECK(shmctl(segment, IPC_STAT, &gone) == -1 && errno == EINVAL, "the segment is still there");
  say("ok\n");
  return 0;
}
