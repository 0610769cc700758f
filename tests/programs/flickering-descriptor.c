/*
 * Has a descriptor that cannot be saved half of the time: a save may meet it only when everything stands still. A thread waits
 * meanwhile in a call that a stop interrupts (signal(7)), and must not hear of it.
 */
#include "self-check.h"
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/fanotify.h>

static int ends[2];

static void *wait_for_byte(void *interest) {
  struct epoll_event event;
  int result = epoll_wait(*(int *)interest, &event, 1, -1);
  CHECK(result == 1, "epoll_wait returned %d, errno %d", result, errno);
  return NULL;
}

int main(void) {
  pthread_t thread;
  struct epoll_event watched = {.events = EPOLLIN};
  int interest = epoll_create1(0);
  CHECK(pipe(ends) == 0 && epoll_ctl(interest, EPOLL_CTL_ADD, ends[0], &watched) == 0, "epoll: errno %d", errno);
  CHECK(pthread_create(&thread, NULL, wait_for_byte, &interest) == 0, "pthread_create");
  say("ready\n");
  while (!may_go()) {
    int fd = fanotify_init(FAN_CLASS_NOTIF, 0);
    CHECK(fd >= 0, "fanotify_init: errno %d", errno);
    usleep(20000);
    close(fd);
    usleep(20000);
  }
  CHECK(write(ends[1], "x", 1) == 1, "write");
  pthread_join(thread, NULL);
  say("ok\n");
  return 0;
}
