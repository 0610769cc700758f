/*
 * Memory that changes in steps, one with each SIGUSR1: pages are written, dropped, moved, unmapped and made anew, in private memory, in a
 * private mapping of a file, and in shared memory. What each page must hold is known from its number and its generation.
 */
#include "self-check.h"
#include <signal.h>
#include <sys/wait.h>

enum { PAGE = 4096, PAGES = 2048, MOVED_FROM = 256, MOVED = 64, REMADE_FROM = 512, REMADE = 256, FILE_PAGES = 64 };

static unsigned long *memory, *moved, *file, *shared;
static unsigned generation[PAGES], file_generation[FILE_PAGES], shared_generation[FILE_PAGES];
static volatile sig_atomic_t asked;

static void on_signal(int number) {
  (void)number;
  asked++;
}

/* Half of a page is noise. */
static void fill(unsigned long *page, size_t index, unsigned of_generation) {
  unsigned long seed = (index + 1) * 2654435761u + of_generation * 40503u;
  for (size_t i = 0; i < PAGE / 16; i++) {
    seed = seed * 6364136223846793005UL + 1442695040888963407UL;
    page[i] = seed;
  }
}

static void check(const unsigned long *page, size_t index, unsigned of_generation, const char *where) {
  unsigned long expected[PAGE / 8] = {0};
  if (of_generation != 0) fill(expected, index, of_generation);
  CHECK(memcmp(page, expected, PAGE) == 0, "page %zu of %s is not of generation %u", index, where, of_generation);
}

static unsigned long *page_of(size_t index) {
  int is_moved = moved != NULL && index >= MOVED_FROM && index < MOVED_FROM + MOVED;
  return (is_moved ? moved - MOVED_FROM * PAGE / 8 : memory) + index * PAGE / 8;
}

static void write_page(size_t index, unsigned of_generation) {
  generation[index] = of_generation;
  fill(page_of(index), index, of_generation);
}

/* A child has the memory as it is, and what it writes is its own. */
static void fork_and_check(void) {
  pid_t child = fork();
  CHECK(child >= 0, "fork: errno %d", errno);
  if (child == 0) {
    for (size_t i = 0; i < PAGES; i += 3) check(page_of(i), i, generation[i], "the child");
    for (size_t i = 0; i < PAGES; i += 3) memset(page_of(i), 0xcc, PAGE);
    _exit(0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0, "the child ended with 0x%x", status);
}

static void step(unsigned number) {
  for (size_t i = number % 97; i < PAGES; i += 97) write_page(i, number + 1);
  for (size_t i = number % 7; i < FILE_PAGES; i += 7) {
    fill(file + i * PAGE / 8, i, file_generation[i] = number + 1);
    fill(shared + i * PAGE / 8, i, shared_generation[i] = number + 1);
  }
  if (number % 4 == 1) {
    CHECK(madvise(memory + 100 * PAGE / 8, 20 * PAGE, MADV_DONTNEED) == 0, "madvise");
    memset(generation + 100, 0, 20 * sizeof *generation);
    /* The file has zeros. */
    CHECK(madvise(file + 20 * PAGE / 8, 20 * PAGE, MADV_DONTNEED) == 0, "madvise");
    memset(file_generation + 20, 0, 20 * sizeof *file_generation);
  }
  if (number % 4 == 2) {
    unsigned long *from = page_of(MOVED_FROM);
    unsigned long *room = mmap(NULL, MOVED * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    moved = mremap(from, MOVED * PAGE, MOVED * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room);
    CHECK(moved == room, "mremap");
    fork_and_check();
  }
  if (number % 4 == 3) {
    unsigned long *remade = memory + REMADE_FROM * PAGE / 8;
    CHECK(munmap(remade, REMADE * PAGE) == 0, "munmap");
    CHECK(mmap(remade, REMADE * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == remade, "mmap");
    memset(generation + REMADE_FROM, 0, REMADE * sizeof *generation);
    for (size_t i = REMADE_FROM; i < REMADE_FROM + REMADE; i += 5) write_page(i, number + 1);
  }
  if (number % 4 == 0) {
    /* Written, but not changed. */
    for (size_t i = 1024; i < 1100; i++) fill(page_of(i), i, generation[i]);
    CHECK(mprotect(memory + 1500 * PAGE / 8, 16 * PAGE, PROT_READ) == 0, "mprotect");
    CHECK(mprotect(memory + 1500 * PAGE / 8, 16 * PAGE, PROT_READ | PROT_WRITE) == 0, "mprotect");
    for (size_t i = 1500; i < 1516; i++) write_page(i, number + 1);
  }
}

static void check_all(void) {
  for (size_t i = 0; i < PAGES; i++) check(page_of(i), i, generation[i], "the memory");
  for (size_t i = 0; i < FILE_PAGES; i++) {
    check(file + i * PAGE / 8, i, file_generation[i], "the file");
    check(shared + i * PAGE / 8, i, shared_generation[i], "the shared memory");
  }
}

int main(void) {
  int fd = open("changes-memory.data", O_RDWR | O_CREAT, 0600);
  CHECK(fd >= 0 && ftruncate(fd, FILE_PAGES * PAGE) == 0, "the file: errno %d", errno);
  memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  file = mmap(NULL, FILE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  shared = mmap(NULL, FILE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED && file != MAP_FAILED && shared != MAP_FAILED, "mmap");
  close(fd);
  for (size_t i = 0; i < PAGES; i++) write_page(i, 1);
  struct sigaction action = {.sa_handler = on_signal};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0, "sigaction");
  say("ready\n");
  struct timespec moment = {0, 2000000};
  for (int done = 0, i = 0; i < PATIENCE && !may_go(); i++) {
    nanosleep(&moment, NULL);
    if (done >= asked) continue;
    step((unsigned)++done);
    check_all();
    char text[32];
    snprintf(text, sizeof text, "step %d\n", done);
    say(text);
  }
  CHECK(may_go(), "nobody told me to go on");
  check_ballast();
  check_all();
  say("ok\n");
  return 0;
}
