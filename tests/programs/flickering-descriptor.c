/* Has a descriptor that cannot be saved half of the time: a save may meet it only when everything stands still. */
#include <sys/timerfd.h>
#include <unistd.h>

#include "self-check.h"

int main(void) {
  puts("ready");
  fflush(stdout);
  while (access("go", F_OK) != 0) {
    int fd = timerfd_create(CLOCK_MONOTONIC, 0);
    usleep(20000);
    close(fd);
    usleep(20000);
  }
  puts("ok");
  return 0;
}
