/* Memory that is a file without a name: shared memory of mmap(2), memfd with seals, deleted files; mapped once, twice, by descriptor. */
#include "self-check.h"

#include <stdint.h>
#include <sys/stat.h>

#define PAGE 4096
#define SPARSE_BYTES (1ul << 30)

static int sealed_fd, second_fd, deleted_fd;
static unsigned char *shared, *shared_twin, *sparse;
static unsigned char *pool, *pool_private, *orphan, *constant;
static unsigned char *deleted_shared, *deleted_private, *deleted_open;
static unsigned char *code_to_write;
static int (*code_to_run)(void);

static void *map(int protection, int flags, int fd, size_t size) {
  void *at = mmap(NULL, size, protection, flags, fd, 0);
  CHECK(at != MAP_FAILED, "mmap: errno %d", errno);
  return at;
}

static void *map_shared(int fd) { return map(PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4 * PAGE); }

static int new_memfd(const char *name) {
  int fd = memfd_create(name, MFD_ALLOW_SEALING | MFD_CLOEXEC);
  CHECK(fd >= 0 && ftruncate(fd, 4 * PAGE) == 0, "memfd: errno %d", errno);
  return fd;
}

static int new_deleted_file(const char *name) {
  int fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
  CHECK(fd >= 0 && ftruncate(fd, 4 * PAGE) == 0 && unlink(name) == 0, "%s: errno %d", name, errno);
  return fd;
}

static void seal(int fd, int seals) { CHECK(fcntl(fd, F_ADD_SEALS, seals) == 0, "seals: errno %d", errno); }

/* mov eax, VALUE; ret */
static void write_code(unsigned value) {
  unsigned char code[6] = {0xb8};
  memcpy(code + 1, &value, 4);
  code[5] = 0xc3;
  memcpy(code_to_write, code, sizeof code);
}

static void make(void) {
  shared = map(PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 4 * PAGE);
  memset(shared, 0x11, PAGE);
  memset(shared + 3 * PAGE, 0x12, PAGE);
  shared_twin = mremap(shared, 0, 4 * PAGE, MREMAP_MAYMOVE);
  CHECK(shared_twin != MAP_FAILED, "a second mapping: errno %d", errno);
  sparse = map(PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, SPARSE_BYTES);
  sparse[5] = 1;
  sparse[SPARSE_BYTES - 1] = 2;

  int fd = new_memfd("pool");
  pool = map_shared(fd);
  memset(pool, 0x21, 2 * PAGE);
  pool_private = map(PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 4 * PAGE);
  pool_private[0] = 0x22;
  seal(fd, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE);
  CHECK(lseek(fd, 77, SEEK_SET) == 77, "lseek");
  sealed_fd = fd;
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  second_fd = open(path, O_RDONLY | O_CLOEXEC);
  CHECK(second_fd >= 0 && lseek(second_fd, 3, SEEK_SET) == 3, "a second description: errno %d", errno);

  fd = new_memfd("orphan of a descriptor");
  orphan = map_shared(fd);
  orphan[9] = 0x31;
  close(fd);

  fd = new_memfd("constant");
  CHECK(pwrite(fd, "never again", 11, 0) == 11, "pwrite");
  seal(fd, F_SEAL_WRITE | F_SEAL_SEAL);
  constant = map(PROT_READ, MAP_SHARED, fd, PAGE);
  close(fd);

  fd = new_deleted_file("gone");
  deleted_shared = map_shared(fd);
  deleted_shared[2 * PAGE] = 0x41;
  CHECK(pwrite(fd, "on disk", 7, PAGE) == 7, "pwrite");
  deleted_private = map(PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 4 * PAGE);
  deleted_private[0] = 0x42;
  close(fd);

  deleted_fd = new_deleted_file("gone, but open");
  deleted_open = map_shared(deleted_fd);
  deleted_open[1] = 0x51;

  fd = memfd_create("code", MFD_CLOEXEC);
  CHECK(fd >= 0 && ftruncate(fd, PAGE) == 0, "memfd: errno %d", errno);
  code_to_write = map(PROT_READ | PROT_WRITE, MAP_SHARED, fd, PAGE);
  code_to_run = (int (*)(void))(uintptr_t)map(PROT_READ | PROT_EXEC, MAP_SHARED, fd, PAGE);
  close(fd);
  write_code(61);
}

static void check_filled(const unsigned char *at, unsigned char value, size_t size, const char *what) {
  for (size_t i = 0; i < size; i++) CHECK(at[i] == value, "%s: byte %zu is 0x%02x", what, i, at[i]);
}

static void check_name(const void *at, const char *name) {
  char line[512];
  int found = 0;
  FILE *maps = fopen("/proc/self/maps", "r");
  while (fgets(line, sizeof line, maps) != NULL) {
    unsigned long start = strtoul(line, NULL, 16);
    if (start != (unsigned long)(uintptr_t)at) continue;
    found = 1;
    CHECK(strstr(line, name) != NULL, "the mapping that should be %s is %s", name, line);
  }
  fclose(maps);
  CHECK(found, "no mapping begins where %s was", name);
}

static void check(void) {
  check_filled(shared, 0x11, PAGE, "shared memory");
  check_filled(shared + PAGE, 0, 2 * PAGE, "a hole of shared memory");
  check_filled(shared_twin + 3 * PAGE, 0x12, PAGE, "shared memory, seen from its other mapping");
  shared[0] = 0x13;
  CHECK(shared_twin[0] == 0x13, "the two mappings are not one memory any more");
  check_name(shared, "/dev/zero (deleted)");
  CHECK(sparse[5] == 1 && sparse[SPARSE_BYTES - 1] == 2 && sparse[SPARSE_BYTES / 2] == 0, "sparse shared memory");

  check_filled(pool, 0x21, 2 * PAGE, "a memfd");
  CHECK(pool_private[0] == 0x22 && pool_private[1] == 0x21, "a private mapping of a memfd");
  pool[PAGE - 1] = 0x23;
  CHECK(pool_private[PAGE] == 0x21, "a page of a private mapping that was never written to");
  check_name(pool, "/memfd:pool (deleted)");
  CHECK(fcntl(sealed_fd, F_GET_SEALS) == (F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE), "seals");
  CHECK(ftruncate(sealed_fd, 5 * PAGE) == -1 && errno == EPERM, "it could grow: errno %d", errno);
  CHECK(lseek(sealed_fd, 0, SEEK_CUR) == 77 && lseek(second_fd, 0, SEEK_CUR) == 3, "positions");
  CHECK((fcntl(second_fd, F_GETFL) & O_ACCMODE) == O_RDONLY, "access mode");
  unsigned char byte;
  CHECK(pread(second_fd, &byte, 1, PAGE - 1) == 1 && byte == 0x23, "the descriptor is of another file than the mapping");

  CHECK(orphan[9] == 0x31, "a memfd without a descriptor");
  check_name(orphan, "/memfd:orphan of a descriptor (deleted)");
  CHECK(memcmp(constant, "never again", 11) == 0, "a constant memfd");
  CHECK(mprotect(constant, PAGE, PROT_READ | PROT_WRITE) == -1 && errno == EACCES, "what was sealed could be written to: errno %d", errno);

  CHECK(deleted_shared[2 * PAGE] == 0x41 && memcmp(deleted_shared + PAGE, "on disk", 7) == 0, "a deleted file");
  CHECK(deleted_private[0] == 0x42 && memcmp(deleted_private + PAGE, "on disk", 7) == 0, "a private mapping of a deleted file");
  deleted_shared[PAGE] = 'O';
  CHECK(deleted_private[PAGE] == 'O', "the two mappings are of different files");
  check_name(deleted_shared, "(deleted)");
  CHECK(deleted_open[1] == 0x51, "a deleted file that is open");
  CHECK(pread(deleted_fd, &byte, 1, 1) == 1 && byte == 0x51, "its descriptor is of another file");
  struct stat now;
  CHECK(fstat(deleted_fd, &now) == 0 && now.st_nlink == 0 && (now.st_mode & 0777) == 0640, "its mode");

  CHECK(code_to_run() == 61, "code that was written through another mapping");
  write_code(62);
  CHECK(code_to_run() == 62, "code that is written now");
}

int main(void) {
  umask(0);
  make();
  say("ready\n");
  wait_for_go();
  check();
  say("ok\n");
  return 0;
}
