/* Maps the file that its argument names and keeps it open; checks both when it may go. */
#include <sys/mman.h>

#include "self-check.h"

int main(int count, char **arguments) {
  CHECK(count == 2, "which file?");
  int fd = open(arguments[1], O_RDWR | O_CREAT, 0600);
  CHECK(fd >= 0, "open: errno %d", errno);
  CHECK(write(fd, "0123456789", 10) == 10, "write: errno %d", errno);
  char *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  char *private = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  CHECK(shared != MAP_FAILED && private != MAP_FAILED, "mmap: errno %d", errno);
  private[1] = 'p';
  say("ready\n");
  wait_for_go();
  char byte = 0;
  CHECK(private[1] == 'p' && shared[1] == '1', "memory is %c and %c", private[1], shared[1]);
  shared[2] = 's';
  CHECK(pread(fd, &byte, 1, 2) == 1 && byte == 's', "the file has %c", byte);
  say("ok\n");
  return 0;
}
