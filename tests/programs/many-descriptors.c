/* Thousands of descriptors of several kinds, each with a number of its own in it. */
#include "self-check.h"
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#define COUNT 2000

int main(void) {
  struct rlimit limit;
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
  limit.rlim_cur = limit.rlim_max;
  CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max > COUNT + 100, "no room for %d descriptors", COUNT);
  int file = open("many", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(file >= 0 && ftruncate(file, COUNT) == 0 && close(file) == 0, "a file");
  int first = 3, last = first;
  while (last < COUNT) {
    int counter = eventfd(last, EFD_NONBLOCK), place = open("many", O_RDONLY), ends[2];
    CHECK(counter == last && place == last + 1 && lseek(place, place, SEEK_SET) == place, "a file");
    CHECK(pipe(ends) == 0 && ends[0] == last + 2 && write(ends[1], &ends[1], sizeof ends[1]) == sizeof ends[1], "a pipe");
    last += 4;
  }
  say("ready\n");
  wait_for_go();
  for (int fd = first; fd < last; fd += 4) {
    uint64_t value = 0;
    int number = 0;
    CHECK(read(fd, &value, sizeof value) == sizeof value && value == (uint64_t)fd, "the counter of %d", fd);
    CHECK(lseek(fd + 1, 0, SEEK_CUR) == fd + 1, "the place of %d", fd + 1);
    CHECK(read(fd + 2, &number, sizeof number) == sizeof number && number == fd + 3, "the pipe of %d", fd + 2);
  }
  CHECK(dup(0) == last, "more descriptors than %d", last);
  say("ok\n");
  return 0;
}
