/*
 * One thread with only what a stream of 2008 can say: private memory with and without a file, more than 16 MiB of it in one mapping,
 * regular files, a directory, devices without state, thread areas, an LDT, selectors, the FPU, a name.
 */
#include "self-check.h"
#include <asm/ldt.h>
#include <dirent.h>
#include <sched.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { PAGE = 4096, MARK = 0x5ca1ab1e };
/* Pages of the large mapping: more than 16 MiB, unless the argument says another number. */
static uint32_t many_pages = 5000;

static uint32_t word_of(uint32_t page, uint32_t index) { return (page * 1031 + index) * 2654435761u; }

static unsigned char *map(size_t size, int protection, int flags, int file) {
  void *area = mmap(NULL, size, protection, MAP_PRIVATE | flags, file, 0);
  CHECK(area != MAP_FAILED, "mmap: errno %d", errno);
  return area;
}

static int file_with(const char *name, const char *text) {
  int file = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text), "cannot write %s", name);
  return file;
}

static void set_control_word(unsigned short word) { __asm__ volatile("fldcw %0" : : "m"(word)); }

static unsigned short control_word(void) {
  unsigned short word;
  __asm__ volatile("fnstcw %0" : "=m"(word));
  return word;
}

static unsigned vector_control(void) {
  unsigned value;
  __asm__ volatile("stmxcsr %0" : "=m"(value));
  return value;
}

/* The whole of the waiting is between these, so that libc does not touch what is loaded. */
static void load_vectors(const float *from) { __asm__ volatile("movups (%0), %%xmm6; movups 16(%0), %%xmm7" : : "r"(from)); }
static void store_vectors(float *into) { __asm__ volatile("movups %%xmm6, (%0); movups %%xmm7, 16(%0)" : : "r"(into) : "memory"); }

static void wait_with_vectors(void) {
  static const float loaded[8] = {1.5f, -2.25f, 3, 4e20f, 5, 6, 7e-20f, 8};
  static float kept[8];
  long left = PATIENCE;
  long double deep;
  __asm__ volatile("fldpi");
  load_vectors(loaded);
  for (; left > 0; left--) {
    struct timespec moment = {0, 2000000};
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(SYS_access), "b"("go"), "c"(F_OK) : "memory");
    if (result == 0) break;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(SYS_nanosleep), "b"(&moment), "c"(0) : "memory");
    if (result != 0) break;
  }
  store_vectors(kept);
  __asm__ volatile("fstpt %0" : "=m"(deep));
  CHECK(left > 0 && may_go(), "a sleep ended otherwise, or nobody told me to go on");
  CHECK(memcmp(kept, loaded, sizeof kept) == 0, "xmm6 and xmm7");
  CHECK(deep > 3.14159265358979323L && deep < 3.14159265358979324L, "st(0)");
}

int main(int count, char **arguments) {
  if (count > 1) many_pages = (uint32_t)atoi(arguments[1]);
  static uint32_t local[2] = {0, MARK};
  /* Towards its end every third page is untouched. */
  uint32_t *many = (uint32_t *)map((size_t)many_pages * PAGE, PROT_READ | PROT_WRITE, MAP_ANONYMOUS, -1);
  for (uint32_t page = 0; page < many_pages; page++)
    for (uint32_t i = 0; i < PAGE / 4; i += page < 4500 || page % 3 ? 64 : PAGE) many[page * (PAGE / 4) + i] = word_of(page, i);
  unsigned char *closed = map(3 * PAGE, PROT_READ | PROT_WRITE, MAP_ANONYMOUS, -1);
  strcpy((char *)closed + PAGE, "behind PROT_NONE");
  CHECK(mprotect(closed, 3 * PAGE, PROT_NONE) == 0, "mprotect");
  unsigned char *random = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_ANONYMOUS, -1);
  CHECK(madvise(random, 4 * PAGE, MADV_RANDOM) == 0, "madvise");
  CHECK(mlock(random, PAGE) == 0, "mlock: errno %d", errno);

  char text[3 * PAGE];
  for (size_t i = 0; i < sizeof text; i++) text[i] = (char)('a' + i % 23);
  text[sizeof text - 1] = 0;
  int mapped_file = file_with("mapped", text);
  unsigned char *mapped = map(3 * PAGE, PROT_READ | PROT_WRITE, 0, mapped_file);
  memset(mapped + PAGE, 0, PAGE); /* changed, and all zero */
  mapped[2 * PAGE] = '!';
  close(mapped_file);

  int text_file = file_with("text", "0123456789abcdefghij");
  lseek(text_file, 5, SEEK_SET);
  int same = fcntl(text_file, F_DUPFD_CLOEXEC, 300);
  close(file_with("log", "first\n"));
  int appending = open("log", O_WRONLY | O_APPEND | O_NONBLOCK);
  mkdir("folder", 0700);
  for (int i = 0; i < 20; i++) {
    char name[32];
    snprintf(name, sizeof name, "folder/entry-%02d", i);
    close(file_with(name, "x"));
  }
  DIR *folder = opendir("folder");
  int seen = 0;
  for (; seen < 9; seen++) CHECK(readdir(folder) != NULL, "readdir");
  int zero = open("/dev/zero", O_RDONLY);

  struct user_desc entry = {.entry_number = 9, .base_addr = (unsigned)(uintptr_t)local, .limit = 0xfff, .seg_32bit = 1};
  CHECK(syscall(SYS_modify_ldt, 0x11, &entry, sizeof entry) == 0, "modify_ldt: errno %d", errno);
  struct user_desc area = {.entry_number = -1, .base_addr = (unsigned)(uintptr_t)local, .limit = 0xfffff, .seg_32bit = 1, .limit_in_pages = 1, .useable = 1};
  CHECK(syscall(SYS_set_thread_area, &area) == 0, "set_thread_area: errno %d", errno);
  __asm__ volatile("mov %0, %%fs; mov %1, %%es" : : "r"(area.entry_number << 3 | 3), "r"(9 << 3 | 7));
  CHECK(prctl(PR_SET_NAME, "plain \xe4task") == 0, "PR_SET_NAME");
  set_control_word(0x0f7f); /* rounds towards zero, all exceptions masked but none pending */
  unsigned control = 0x7f80 | 0x0040;
  __asm__ volatile("ldmxcsr %0" : : "m"(control));
  pid_t pid = getpid();
  say("ready\n");
  __asm__ volatile("mov %0, %%es" : : "r"(0x2b));
  wait_with_vectors();

  unsigned fs, there;
  __asm__ volatile("mov %%fs, %0; mov %%fs:4, %1" : "=r"(fs), "=r"(there));
  CHECK(fs == (unsigned)(area.entry_number << 3 | 3) && there == MARK, "fs is %x, there is %x", fs, there);
  __asm__ volatile("mov %1, %%fs; mov %%fs:4, %0" : "=r"(there) : "r"(9 << 3 | 7));
  CHECK(there == MARK, "the LDT names %x", there);
  CHECK(control_word() == 0x0f7f && vector_control() == control, "control words %x, %x", control_word(), vector_control());
  char name[16] = "";
  CHECK(prctl(PR_GET_NAME, name) == 0 && strcmp(name, "plain \xe4task") == 0, "the name is %s", name);
  CHECK(getpid() == pid, "the pid is %d", getpid());
  for (uint32_t page = 0; page < many_pages; page++)
    for (uint32_t i = 0; i < PAGE / 4; i += page < 4500 || page % 3 ? 64 : PAGE) {
      uint32_t found = many[page * (PAGE / 4) + i];
      CHECK(found == word_of(page, i), "page %u has %x", page, found);
    }
  CHECK(mprotect(closed, 3 * PAGE, PROT_READ) == 0 && strcmp((char *)closed + PAGE, "behind PROT_NONE") == 0, "PROT_NONE");
  CHECK(mapped[0] == 'a' && mapped[PAGE] == 0 && mapped[2 * PAGE - 1] == 0 && mapped[2 * PAGE] == '!' && mapped[2 * PAGE + 1] == (unsigned char)text[2 * PAGE + 1], "the mapped file");
  char byte;
  CHECK(read(text_file, &byte, 1) == 1 && byte == '5' && lseek(same, 0, SEEK_CUR) == 6, "the duplicate");
  CHECK(fcntl(same, F_GETFD) == FD_CLOEXEC && fcntl(text_file, F_GETFD) == 0, "close-on-exec");
  CHECK((fcntl(appending, F_GETFL) & (O_APPEND | O_NONBLOCK | O_ACCMODE)) == (O_APPEND | O_NONBLOCK | O_WRONLY), "flags");
  CHECK(write(appending, "second\n", 7) == 7, "write");
  struct stat status;
  CHECK(stat("log", &status) == 0 && status.st_size == 13, "the log has %ld bytes", (long)status.st_size);
  for (; readdir(folder) != NULL; seen++) continue;
  CHECK(seen == 22, "%d entries were seen", seen);
  char nothing[4] = "xyz";
  CHECK(read(zero, nothing, 4) == 4 && nothing[0] == 0 && read(0, nothing, 4) == 0, "devices");
  const unsigned char *vdso = (const unsigned char *)getauxval(AT_SYSINFO_EHDR);
  CHECK(vdso && memcmp(vdso, "\177ELF", 4) == 0, "the vDSO");
  long vdso_pid;
  __asm__ volatile("call *%1" : "=a"(vdso_pid) : "m"((uintptr_t){getauxval(AT_SYSINFO)}), "a"(SYS_getpid) : "memory");
  CHECK(vdso_pid == pid, "__kernel_vsyscall says pid %ld", vdso_pid);
  struct timespec now;
  CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0 && now.tv_sec > 0, "clock_gettime");
  unsigned cpu = 12345;
  CHECK(syscall(SYS_getcpu, &cpu, NULL, NULL) == 0 && sched_getcpu() >= 0 && sched_getcpu() < 4096, "sched_getcpu says %d", sched_getcpu());
  void *room = malloc(100000);
  CHECK(room != NULL && sbrk(0) != (void *)-1, "malloc");
  free(room);
  say("ok\n");
  return 0;
}
