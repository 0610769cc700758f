/*
 * System V shared memory of a process and its child: with a key and without, removed, locked, given away, made by another user, attached
 * whole, in parts, read-only, moved; and one whose id is the inode number of a memfd.
 */
#include "self-check.h"

#include <stdint.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define PAGE 4096
#define NOBODY 65534
#define KEY (0x51510000 + (getpid() & 0xffff))

enum { KEYED, REMOVED, LOCKED, FOREIGN, TWIN, SEGMENTS };
static const char *names[] = {"the segment with a key", "the removed one", "the locked one", "the one of another user", "the twin of a memfd"};

/* In the segment with a key, where both see it. */
struct board {
  volatile int child_ready, child_checked, child_detached;
  volatile unsigned of_parent, of_child;
};

static int ids[SEGMENTS];
static struct shmid_ds before[SEGMENTS];
static struct board *board;
static unsigned char *keyed, *keyed_constant, *removed, *locked, *foreign, *twin, *twin_memfd, *in_between;

static int is_root(void) { return geteuid() == 0; }

static void nap(void) {
  struct timespec moment = {0, 2000000};
  nanosleep(&moment, NULL);
}

static void wait_until(volatile int *flag, const char *what) {
  for (int i = 0; i < PATIENCE && !*flag; i++) nap();
  CHECK(*flag, "%s did not come", what);
}

static int new_segment(key_t key, size_t size, int mode) {
  int id = shmget(key, size, IPC_CREAT | IPC_EXCL | mode);
  CHECK(id >= 0, "shmget: errno %d", errno);
  return id;
}

static void *attach(int id, int flags) {
  void *at = shmat(id, NULL, flags);
  CHECK(at != (void *)-1, "shmat: errno %d", errno);
  return at;
}

static void make_keyed(void) {
  ids[KEYED] = new_segment(KEY, 5 * PAGE - 100, 0640);
  keyed = attach(ids[KEYED], 0);
  board = (struct board *)keyed;
  memset(keyed + PAGE, 0x11, 3 * PAGE);
  /* Three mappings from now on, though they differ in nothing. */
  CHECK(mprotect(keyed + PAGE, PAGE, PROT_NONE) == 0, "mprotect: errno %d", errno);
  CHECK(mprotect(keyed + PAGE, PAGE, PROT_READ | PROT_WRITE) == 0, "mprotect: errno %d", errno);
  keyed_constant = attach(ids[KEYED], SHM_RDONLY);
  CHECK(mprotect(keyed_constant + 2 * PAGE, PAGE, PROT_NONE) == 0, "mprotect: errno %d", errno);
  struct shmid_ds now;
  CHECK(shmctl(ids[KEYED], IPC_STAT, &now) == 0, "IPC_STAT: errno %d", errno);
  if (is_root()) now.shm_perm.uid = 1234;
  if (is_root()) now.shm_perm.gid = 2345;
  now.shm_perm.mode = 0604;
  CHECK(shmctl(ids[KEYED], IPC_SET, &now) == 0, "IPC_SET: errno %d", errno);
}

/* Its first page has become other memory, and its fourth is unmapped. */
static void make_removed(void) {
  ids[REMOVED] = new_segment(KEY + 1, 6 * PAGE, 0600);
  removed = attach(ids[REMOVED], 0);
  memset(removed, 0x21, 6 * PAGE);
  CHECK(shmctl(ids[REMOVED], IPC_RMID, NULL) == 0, "IPC_RMID: errno %d", errno);
  in_between = mmap(removed, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  CHECK(in_between == removed, "mmap: errno %d", errno);
  in_between[0] = 0x22;
  CHECK(munmap(removed + 3 * PAGE, PAGE) == 0, "munmap: errno %d", errno);
}

/* Made by the child. */
static void make_locked(void) {
  ids[LOCKED] = new_segment(IPC_PRIVATE, 2 * PAGE, 0700);
  unsigned char *at = attach(ids[LOCKED], 0);
  unsigned char *elsewhere = mmap(NULL, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  locked = mremap(at, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere + PAGE);
  CHECK(locked == elsewhere + PAGE, "mremap: errno %d", errno);
  memset(locked, 0x31, PAGE);
  CHECK(mprotect(locked, PAGE, PROT_READ | PROT_EXEC) == 0, "mprotect: errno %d", errno);
  CHECK(shmctl(ids[LOCKED], SHM_LOCK, NULL) == 0, "SHM_LOCK: errno %d", errno);
}

static void make_foreign(void) {
  if (is_root()) CHECK(setegid(NOBODY) == 0 && seteuid(NOBODY) == 0, "another user: errno %d", errno);
  ids[FOREIGN] = new_segment(IPC_PRIVATE, 1, 0600);
  if (geteuid() == NOBODY) CHECK(seteuid(0) == 0 && setegid(0) == 0, "root again: errno %d", errno);
  foreign = attach(ids[FOREIGN], 0);
  foreign[0] = 0x41;
  CHECK(shmctl(ids[FOREIGN], IPC_RMID, NULL) == 0, "IPC_RMID: errno %d", errno);
}

/* Both are files of one file system of the kernel's. Only mappings show them. */
static void make_twin(void) {
  FILE *next = fopen("/proc/sys/kernel/shm_next_id", "w");
  int fd = memfd_create("twin", 0);
  struct stat of_memfd;
  CHECK(fd >= 0 && ftruncate(fd, PAGE) == 0 && fstat(fd, &of_memfd) == 0, "memfd: errno %d", errno);
  twin_memfd = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(twin_memfd != MAP_FAILED, "mmap: errno %d", errno);
  close(fd);
  twin_memfd[0] = 0x52;
  if (next != NULL && of_memfd.st_ino < INT32_MAX) fprintf(next, "%d", (int)of_memfd.st_ino);
  if (next != NULL) fclose(next);
  ids[TWIN] = new_segment(IPC_PRIVATE, PAGE, 0600);
  if (is_root()) CHECK(ids[TWIN] == (int)of_memfd.st_ino, "the id is %d, not %d", ids[TWIN], (int)of_memfd.st_ino);
  twin = attach(ids[TWIN], 0);
  twin[0] = 0x51;
  CHECK(shmctl(ids[TWIN], IPC_RMID, NULL) == 0, "IPC_RMID: errno %d", errno);
}

static void look(void) {
  for (int i = 0; i < SEGMENTS; i++) {
    CHECK(shmctl(ids[i], IPC_STAT, &before[i]) == 0, "IPC_STAT of %s: errno %d", names[i], errno);
  }
}

static void check_facts(void) {
  for (int i = 0; i < SEGMENTS; i++) {
    struct shmid_ds now;
    const struct shmid_ds *then = &before[i];
    CHECK(shmctl(ids[i], IPC_STAT, &now) == 0, "IPC_STAT of %s: errno %d", names[i], errno);
    CHECK(now.shm_perm.__key == then->shm_perm.__key, "%s has key %x", names[i], now.shm_perm.__key);
    CHECK(now.shm_perm.mode == then->shm_perm.mode, "%s has mode %o, not %o", names[i], now.shm_perm.mode, then->shm_perm.mode);
    CHECK(now.shm_perm.uid == then->shm_perm.uid && now.shm_perm.gid == then->shm_perm.gid, "%s is of user %u, group %u", names[i], now.shm_perm.uid, now.shm_perm.gid);
    CHECK(now.shm_perm.cuid == then->shm_perm.cuid && now.shm_perm.cgid == then->shm_perm.cgid, "%s was made by user %u, group %u", names[i], now.shm_perm.cuid, now.shm_perm.cgid);
    CHECK(now.shm_segsz == then->shm_segsz, "%s has %zu bytes", names[i], (size_t)now.shm_segsz);
    CHECK(now.shm_cpid == then->shm_cpid, "%s was made by %d, not %d", names[i], now.shm_cpid, then->shm_cpid);
    CHECK(now.shm_nattch == then->shm_nattch, "%s is attached %ld times, not %ld", names[i], (long)now.shm_nattch, (long)then->shm_nattch);
  }
}

static void check_name(const void *at, int which, key_t key) {
  char line[512], name[64];
  snprintf(name, sizeof name, " %d ", ids[which]);
  FILE *maps = fopen("/proc/self/maps", "r");
  int found = 0;
  while (fgets(line, sizeof line, maps) != NULL) {
    if (strtoul(line, NULL, 16) != (unsigned long)(uintptr_t)at) continue;
    found = 1;
    CHECK(strstr(line, name) != NULL, "%s is mapped as %s", names[which], line);
    snprintf(name, sizeof name, "/SYSV%08x (deleted)", (unsigned)key);
    CHECK(strstr(line, name) != NULL, "%s is mapped as %s", names[which], line);
  }
  fclose(maps);
  CHECK(found, "%s is not where it was", names[which]);
}

static void check_filled(const unsigned char *at, unsigned char value, size_t size, int which) {
  for (size_t i = 0; i < size; i++) CHECK(at[i] == value, "%s: byte %zu is 0x%02x", names[which], i, at[i]);
}

static void check_contents(void) {
  check_filled(keyed + PAGE, 0x11, 3 * PAGE, KEYED);
  check_filled(keyed + 4 * PAGE, 0, PAGE - 100, KEYED);
  check_filled(keyed_constant + PAGE, 0x11, PAGE, KEYED);
  CHECK(mprotect(keyed_constant + PAGE, PAGE, PROT_READ | PROT_WRITE) == -1 && errno == EACCES, "a read-only attachment could be written to: errno %d", errno);
  CHECK(in_between[0] == 0x22 && in_between[1] == 0, "what was mapped over a segment");
  check_filled(removed + PAGE, 0x21, 2 * PAGE, REMOVED);
  check_filled(removed + 4 * PAGE, 0x21, 2 * PAGE, REMOVED);
  check_filled(foreign, 0x41, 1, FOREIGN);
  CHECK(twin[0] == 0x51 && twin_memfd[0] == 0x52, "a segment and a memfd with one number are mixed up");
}

static void detach(const void *at, int which) { CHECK(shmdt(at) == 0, "shmdt of %s: errno %d", names[which], errno); }

static void check_unmapped(const unsigned char *at, int which) {
  unsigned char present;
  CHECK(mincore((void *)(uintptr_t)at, PAGE, &present) == -1 && errno == ENOMEM, "a part of %s is still mapped", names[which]);
}

static void check_gone(int which) {
  struct shmid_ds now;
  CHECK(shmctl(ids[which], IPC_STAT, &now) == -1 && (errno == EINVAL || errno == EIDRM), "%s is still there", names[which]);
}

/* The pipe tells the parent what the kernel called the segment that the child makes. */
static void live_as_child(int to_parent) {
  make_locked();
  CHECK(write(to_parent, &ids[LOCKED], sizeof ids[LOCKED]) == sizeof ids[LOCKED], "write: errno %d", errno);
  close(to_parent);
  unsigned char *own = attach(ids[KEYED], 0);
  board->child_ready = 1;
  wait_for_go();
  check_contents();
  CHECK(((struct board *)own)->of_parent == 1, "the parent's word has not come");
  board->of_child = 2;
  check_filled(locked, 0x31, PAGE, LOCKED);
  check_name(locked, LOCKED, 0);
  board->child_checked = 1;
  wait_until(&board->child_detached, "the word to detach");
  detach(own, KEYED);
  detach(locked, LOCKED);
  detach(removed, REMOVED);
  check_unmapped(removed + PAGE, REMOVED);
  check_unmapped(removed + 4 * PAGE, REMOVED);
  CHECK(in_between[0] == 0x22, "what was mapped over a segment went with it");
  CHECK(shmctl(ids[LOCKED], IPC_RMID, NULL) == 0, "IPC_RMID: errno %d", errno);
  check_gone(LOCKED);
  exit(0);
}

static void check(pid_t child) {
  check_facts();
  check_contents();
  check_name(keyed, KEYED, KEY);
  check_name(removed + PAGE, REMOVED, KEY + 1);
  wait_until(&board->child_checked, "the child's check");
  CHECK(board->of_child == 2, "the child's word has not come");
  board->child_detached = 1;
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0, "the child ended with %x", status);
  detach(removed, REMOVED);
  check_gone(REMOVED);
  detach(foreign, FOREIGN);
  check_gone(FOREIGN);
  detach(keyed_constant, KEYED);
  detach(keyed, KEYED);
  check_unmapped(keyed + PAGE, KEYED);
  struct shmid_ds now;
  CHECK(shmctl(ids[KEYED], IPC_STAT, &now) == 0 && now.shm_nattch == 0, "the segment with a key is still attached");
  CHECK(shmctl(ids[KEYED], IPC_RMID, NULL) == 0, "IPC_RMID: errno %d", errno);
}

int main(void) {
  make_keyed();
  make_removed();
  make_foreign();
  make_twin();
  int from_child[2];
  CHECK(pipe(from_child) == 0, "pipe: errno %d", errno);
  pid_t child = fork();
  CHECK(child >= 0, "fork: errno %d", errno);
  if (child == 0) live_as_child(from_child[1]);
  CHECK(read(from_child[0], &ids[LOCKED], sizeof ids[LOCKED]) == sizeof ids[LOCKED], "read: errno %d", errno);
  close(from_child[0]);
  close(from_child[1]);
  wait_until(&board->child_ready, "the child");
  board->of_parent = 1;
  look();
  say("ready\n");
  wait_for_go();
  check(child);
  say("ok\n");
  return 0;
}
