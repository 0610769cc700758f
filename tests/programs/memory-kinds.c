/* Memory of every kind that a single process has; afterwards all of it, and the map itself, must be as before. */
#include "self-check.h"
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { PAGE = 4096, MAPPINGS = 10000 };

static char *map_private(size_t size, int protection, int flags) {
  char *area = mmap(NULL, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  CHECK(area != MAP_FAILED, "mmap: errno %d", errno);
  return area;
}

static uint64_t next_random(uint64_t *state) {
  *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
  return *state;
}

static void fill(char *area, size_t size, uint64_t seed) {
  for (size_t i = 0; i + 8 <= size; i += 8) *(uint64_t *)(area + i) = next_random(&seed);
}

static void compare(const char *what, const char *area, size_t size, uint64_t seed) {
  for (size_t i = 0; i + 8 <= size; i += 8)
    CHECK(*(const uint64_t *)(area + i) == next_random(&seed), "%s differs at byte %zu", what, i);
}

/* The map and the flags of every mapping, without the numbers that change by themselves. */
static char *describe_map(char *text, size_t size) {
  static char line[1024];
  size_t used = 0;
  FILE *file = fopen("/proc/self/smaps", "r");
  CHECK(file != NULL, "smaps");
  while (fgets(line, sizeof line, file)) {
    int header = line[0] != 'V' && strchr(line, '-') != NULL && strchr(line, ':') != NULL && line[0] >= '0' && line[0] <= 'f' &&
                 !(line[0] >= 'A' && line[0] <= 'Z');
    if (!header && strncmp(line, "VmFlags", 7) != 0 && strncmp(line, "Size", 4) != 0) continue;
    used += (size_t)snprintf(text + used, size - used, "%s", line);
    CHECK(used < size, "the map is too long");
  }
  fclose(file);
  return text;
}

static char first_map[1 << 23], second_map[1 << 23];

static __attribute__((noinline)) long deep(int depth, unsigned long seed) {
  volatile char area[2048];
  for (size_t i = 0; i < sizeof area; i++) area[i] = (char)(seed + i * 7);
  if (depth > 0) {
    long below = deep(depth - 1, seed + 1);
    for (size_t i = 0; i < sizeof area; i++) CHECK(area[i] == (char)(seed + i * 7), "the stack differs at depth %d", depth);
    return below + 1;
  }
  wait_for_go();
  return 0;
}

int main(int count, char **arguments) {
  size_t size = (count > 1 ? strtoul(arguments[1], NULL, 10) : 4) << 20;
  char *data = map_private(size, PROT_READ | PROT_WRITE, 0);
  fill(data, size, 1);

  size_t vast = (size_t)1 << (sizeof(long) == 8 ? 33 : 29);
  char *sparse = map_private(vast, PROT_READ | PROT_WRITE, MAP_NORESERVE);
  for (size_t i = 0; i < 16; i++) sparse[i * (vast / 16) + i] = (char)(i + 1);

  char *hidden = map_private(16 * PAGE, PROT_READ | PROT_WRITE, 0);
  fill(hidden, 16 * PAGE, 2);
  CHECK(mprotect(hidden, 16 * PAGE, PROT_NONE) == 0, "mprotect");

  char *constant = map_private(16 * PAGE, PROT_READ | PROT_WRITE, 0);
  fill(constant, 16 * PAGE, 3);
  CHECK(mprotect(constant, 16 * PAGE, PROT_READ) == 0, "mprotect");

  int file = open("mapped", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(file >= 0, "open");
  char *page = malloc(PAGE);
  for (int i = 0; i < 64; i++) {
    fill(page, PAGE, 100 + (unsigned long)i);
    CHECK(write(file, page, PAGE) == PAGE, "write");
  }
  char *copied = mmap(NULL, 32 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 16 * PAGE);
  char *shared = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  CHECK(copied != MAP_FAILED && shared != MAP_FAILED, "mmap of a file");
  close(file);
  fill(copied + 3 * PAGE, PAGE, 7);
  memset(copied + 5 * PAGE, 0, PAGE);
  fill(shared + 2 * PAGE, PAGE, 8);
  msync(shared, 16 * PAGE, MS_SYNC);

  char *advised = map_private(8 * PAGE, PROT_READ | PROT_WRITE, 0);
  madvise(advised, PAGE, MADV_DONTFORK);
  madvise(advised + 2 * PAGE, PAGE, MADV_DONTDUMP);
  madvise(advised + 4 * PAGE, PAGE, MADV_WIPEONFORK);
  madvise(advised + 6 * PAGE, PAGE, MADV_SEQUENTIAL);
  fill(advised, 8 * PAGE, 9);
  char *locked = map_private(4 * PAGE, PROT_READ | PROT_WRITE, 0);
  CHECK(mlock(locked, 2 * PAGE) == 0, "mlock");

  char *many = map_private((size_t)MAPPINGS * 2 * PAGE, PROT_NONE, MAP_NORESERVE);
  for (int i = 0; i < MAPPINGS; i++) {
    char *one = many + (size_t)i * 2 * PAGE;
    CHECK(mprotect(one, PAGE, PROT_READ | PROT_WRITE) == 0, "mprotect");
    *(int *)one = i;
    if (i % 2) mprotect(one, PAGE, PROT_READ);
  }
  char *heap = malloc(1 << 20);
  char *heap_end = sbrk(0);
  fill(heap, 1 << 20, 4);
  char *before = describe_map(first_map, sizeof first_map);
  /* Reading it has buffers of its own: the second reading finds them there. */
  before = describe_map(first_map, sizeof first_map);
  say("ready\n");
  CHECK(deep(100, 5) == 100, "the stack");
  char *again = describe_map(second_map, sizeof second_map);
  char *a = before, *b = again;
  while (*a && *b) {
    char *end_a = strchr(a, '\n'), *end_b = strchr(b, '\n');
    *end_a = *end_b = 0;
    int stack = strstr(a, "[stack]") != NULL || strncmp(a, "Size", 4) == 0;
    CHECK(strcmp(a, b) == 0 || stack, "the map differs: %s became %s", a, b);
    a = end_a + 1;
    b = end_b + 1;
  }
  compare("anonymous memory", data, size, 1);
  for (size_t i = 0; i < 16; i++) CHECK(sparse[i * (vast / 16) + i] == (char)(i + 1), "the sparse area differs");
  CHECK(mprotect(hidden, 16 * PAGE, PROT_READ) == 0, "mprotect");
  compare("hidden memory", hidden, 16 * PAGE, 2);
  compare("constant memory", constant, 16 * PAGE, 3);
  for (unsigned long i = 0; i < 32; i++)
    if (i != 3 && i != 5) compare("a page of the file", copied + i * PAGE, PAGE, 116 + i);
  compare("a changed page of the file", copied + 3 * PAGE, PAGE, 7);
  for (int i = 0; i < PAGE; i++) CHECK(copied[5 * PAGE + i] == 0, "a zeroed page came back from the file");
  compare("a shared page", shared + 2 * PAGE, PAGE, 8);
  compare("advised memory", advised, 8 * PAGE, 9);
  for (int i = 0; i < MAPPINGS; i++) CHECK(*(int *)(many + (size_t)i * 2 * PAGE) == i, "mapping %d differs", i);
  compare("the heap", heap, 1 << 20, 4);
  CHECK(sbrk(0) == heap_end, "the end of the heap has moved");
  CHECK(sbrk(1 << 16) == heap_end, "the heap does not grow");
  shared[0] = 77;
  char byte;
  file = open("mapped", O_RDONLY);
  CHECK(read(file, &byte, 1) == 1 && byte == 77, "the shared mapping is not the file any more");
  say("ok\n");
  return 0;
}
