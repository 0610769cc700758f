/*
 * Private memory of huge pages (MAP_HUGETLB) of 2 MiB: written in part, untouched, read-only, without a reservation, and what a child has of it since
 * fork(2). It takes twelve pages of the pool.
 */
#include "self-check.h"
#include <sys/wait.h>

enum { HUGE = 2 << 20, PAGE = 4096, MAPPINGS = 4 };

static const struct {
  int pages, flags, protection;
} kinds[MAPPINGS] = {
    {3, 0, PROT_READ | PROT_WRITE},
    {1, 0, PROT_READ},
    {1, MAP_NORESERVE, PROT_READ | PROT_WRITE},
    {1, 0, PROT_NONE},
};

static unsigned *memory[MAPPINGS];
static char before[MAPPINGS][2][256];
static int ask[2], answer[2];

/* Of the first pages of each but the first huge page of the first mapping, which stays untouched. */
static unsigned word(int mapping, int page, int place) { return (unsigned)(mapping * 31 + page * 7 + place * 4099 + 5); }

static int is_touched(int mapping, int page) { return mapping != 0 || page != 0; }

static void each_word(void (*use)(unsigned *at, unsigned value)) {
  for (int mapping = 0; mapping < MAPPINGS; mapping++) {
    for (int page = 0; page < kinds[mapping].pages; page++) {
      unsigned *start = memory[mapping] + (size_t)page * HUGE / sizeof **memory;
      for (int place = 0; place < HUGE / PAGE; place += 13) {
        if (is_touched(mapping, page)) use(start + (size_t)place * PAGE / sizeof **memory, word(mapping, page, place));
      }
    }
  }
}

static void set(unsigned *at, unsigned value) { *at = value; }

static void check(unsigned *at, unsigned value) { CHECK(*at == value, "the word at %p is %u, not %u", (void *)at, *at, value); }

/* Size of the pages, and flags of the mapping. */
static void describe(int mapping, char text[2][256]) {
  char line[512], start[32];
  FILE *smaps = fopen("/proc/self/smaps", "r");
  CHECK(smaps != NULL, "smaps: errno %d", errno);
  snprintf(start, sizeof start, "%lx-", (unsigned long)memory[mapping]);
  int found = 0;
  while (fgets(line, sizeof line, smaps) != NULL) {
    if (!found) found = strncmp(line, start, strlen(start)) == 0;
    else if (strncmp(line, "KernelPageSize:", 15) == 0) snprintf(text[0], 256, "%.200s", line);
    else if (strncmp(line, "VmFlags:", 8) == 0) {
      snprintf(text[1], 256, "%.200s", line);
      break;
    }
  }
  CHECK(found && fclose(smaps) == 0, "mapping %d is not where it was", mapping);
}

static void check_all(void) {
  for (int mapping = 0; mapping < MAPPINGS; mapping++) {
    char now[2][256] = {"", ""};
    describe(mapping, now);
    CHECK(strcmp(now[0], before[mapping][0]) == 0, "mapping %d has %s", mapping, now[0]);
    CHECK(strcmp(now[1], before[mapping][1]) == 0, "mapping %d has %s, not %s", mapping, now[1], before[mapping][1]);
    CHECK(strstr(now[0], "2048 kB") != NULL && strstr(now[1], " ht") != NULL, "mapping %d has no huge pages", mapping);
    CHECK(mprotect(memory[mapping], (size_t)kinds[mapping].pages * HUGE, PROT_READ | PROT_WRITE) == 0, "mprotect");
  }
  each_word(check);
  for (int i = 0; i < HUGE / 4; i++) CHECK(memory[0][i] == 0, "word %d of the untouched page is %u", i, memory[0][i]);
}

static void be_child(void) {
  char byte;
  memory[2][1] = 4711;
  CHECK(write(answer[1], "!", 1) == 1 && read(ask[0], &byte, 1) == 1, "the parent has ended");
  CHECK(memory[2][1] == 4711, "the child's own word is %u", memory[2][1]);
  memory[2][1] = 0;
  check_all();
  _exit(0);
}

int main(void) {
  char byte;
  int status;
  CHECK(pipe(ask) == 0 && pipe(answer) == 0, "pipe: errno %d", errno);
  for (int i = 0; i < MAPPINGS; i++) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (21 << MAP_HUGE_SHIFT) | kinds[i].flags;
    void *made = mmap(NULL, (size_t)kinds[i].pages * HUGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    CHECK(made != MAP_FAILED, "mmap of huge pages: errno %d", errno);
    memory[i] = made;
  }
  each_word(set);
  for (int i = 0; i < MAPPINGS; i++) {
    CHECK(mprotect(memory[i], (size_t)kinds[i].pages * HUGE, kinds[i].protection) == 0, "mprotect: errno %d", errno);
    describe(i, before[i]);
  }
  pid_t child = fork();
  CHECK(child >= 0, "fork: errno %d", errno);
  if (child == 0) be_child();
  CHECK(read(answer[0], &byte, 1) == 1, "the child has ended");
  say("ready\n");
  wait_for_go();
  CHECK(memory[2][1] == 0, "the child's word is the parent's");
  CHECK(write(ask[1], "!", 1) == 1 && waitpid(child, &status, 0) == child, "the child: errno %d", errno);
  CHECK(status == 0, "the child has ended with 0x%x", status);
  check_all();
  each_word(set);
  say("ok\n");
  _exit(0);
}
