/* What the golden stream of 2008 was made from: static, -m32; one thread that waits without end, some memory, an LDT, a thread area. */
#include "self-check.h"
#include <asm/ldt.h>
#include <sys/syscall.h>

static unsigned char block[3 * 4096] __attribute__((aligned(4096)));

int main(void) {
  for (size_t i = 0; i < sizeof block; i++) block[i] = (unsigned char)(i * 7 + i / 4096);
  struct user_desc entry = {.entry_number = 2, .base_addr = 0x1000, .limit = 0xfff, .seg_32bit = 1};
  CHECK(syscall(SYS_modify_ldt, 0x11, &entry, sizeof entry) == 0, "modify_ldt");
  struct user_desc area = {.entry_number = -1, .base_addr = 0x2000, .limit = 0xfff, .seg_32bit = 1, .useable = 1};
  CHECK(syscall(SYS_set_thread_area, &area) == 0, "set_thread_area");
  CHECK(lseek(open("/tmp/golden-2008/notes", O_RDWR | O_CREAT, 0600), 0, SEEK_SET) == 0 && open("/tmp", O_RDONLY) > 0, "open");
  say("ready\n");
  for (;;) pause();
}
