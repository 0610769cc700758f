/* Counters and interest lists: eventfd(2), epoll(7). */
#include "self-check.h"
#include <poll.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

#define LARGE 0xfedcba9876543210ull
#define LAST 0xfffffffffffffffeull

static uint64_t take(int counter) {
  uint64_t value = 0;
  CHECK(read(counter, &value, sizeof value) == sizeof value, "read of an eventfd: errno %d", errno);
  return value;
}

static void add(int counter, uint64_t value) {
  CHECK(write(counter, &value, sizeof value) == sizeof value, "write to an eventfd: errno %d", errno);
}

static int watch_as(int list, int operation, int fd, uint32_t events, uint64_t data) {
  struct epoll_event event = {.events = events, .data.u64 = data};
  return epoll_ctl(list, operation, fd, &event);
}

static void watch(int list, int fd, uint32_t events, uint64_t data) {
  CHECK(watch_as(list, EPOLL_CTL_ADD, fd, events, data) == 0, "EPOLL_CTL_ADD of %d: errno %d", fd, errno);
}

/* What the list reports of the entry with this data, 0 for nothing. Reports are taken, so each is looked at once. */
static uint32_t report(int list, uint64_t data) {
  struct epoll_event events[32];
  int count = epoll_wait(list, events, 32, 0);
  CHECK(count >= 0, "epoll_wait: errno %d", errno);
  for (int i = 0; i < count; i++)
    if (events[i].data.u64 == data) return events[i].events;
  return 0;
}

/* How many entries the list has, from its fdinfo. */
static int entries(int list) {
  char path[64], line[256];
  snprintf(path, sizeof path, "/proc/self/fdinfo/%d", list);
  FILE *info = fopen(path, "r");
  int found = 0;
  while (fgets(line, sizeof line, info) != NULL) found += strncmp(line, "tfd:", 4) == 0;
  fclose(info);
  return found;
}

struct pair {
  int read, write;
};

static struct pair new_pipe(void) {
  int ends[2];
  CHECK(pipe2(ends, O_NONBLOCK) == 0, "pipe2");
  return (struct pair){ends[0], ends[1]};
}

int main(void) {
  int plain = eventfd(0, 0), large = eventfd(0, EFD_CLOEXEC), last = eventfd(0, EFD_NONBLOCK), same = dup(large);
  int semaphore = eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK);
  add(large, LARGE);
  add(last, LAST);

  /* Level-triggered, edge-triggered with the edge taken, and taken again after a new edge. */
  int list = epoll_create1(EPOLL_CLOEXEC);
  struct pair level = new_pipe(), edge = new_pipe(), quiet = new_pipe(), hung = new_pipe();
  watch(list, level.read, EPOLLIN, 0x1111222233334444ull);
  watch(list, edge.read, EPOLLIN | EPOLLET, 2);
  watch(list, quiet.read, EPOLLIN | EPOLLRDHUP | EPOLLPRI, 3);
  watch(list, hung.read, EPOLLIN, 4);
  watch(list, semaphore, EPOLLIN | EPOLLEXCLUSIVE, 5);
  CHECK(write(level.write, "level", 5) == 5, "write");
  close(hung.write);

  /* One-shot: one that has not fired, ones that have. Several fire from one call, in no order that would matter. */
  int shots = epoll_create1(0);
  struct pair armed = new_pipe(), fired = new_pipe();
  watch(shots, armed.read, EPOLLIN | EPOLLONESHOT, 10);
  watch(shots, fired.read, EPOLLIN | EPOLLONESHOT, 11);
  watch(shots, plain, EPOLLOUT | EPOLLONESHOT | EPOLLET, 12);
  CHECK(write(fired.write, "x", 1) == 1, "write");
  CHECK(report(shots, 11) == EPOLLIN && report(shots, 12) == 0, "one-shot entries");

  /* A list in a list in a list. */
  int inner = epoll_create1(0), middle = epoll_create1(0), outer = epoll_create1(0);
  struct pair deep = new_pipe();
  watch(inner, deep.read, EPOLLIN, 20);
  watch(middle, inner, EPOLLIN, 21);
  watch(outer, middle, EPOLLIN, 22);

  /* Entries outlive their numbers: one was closed, one stands for something else, which is watched under it too. */
  int stale = epoll_create1(0);
  struct pair closed = new_pipe(), reused = new_pipe(), other = new_pipe();
  int closed_is = fcntl(closed.read, F_DUPFD, 300), reused_is = dup(reused.read);
  watch(stale, closed.read, EPOLLIN, 30);
  watch(stale, reused.read, EPOLLIN, 31);
  int closed_number = closed.read, reused_number = reused.read;
  close(closed.read);
  CHECK(dup3(other.read, reused_number, O_CLOEXEC) == reused_number, "dup3");
  watch(stale, reused_number, EPOLLIN, 32);
  /* The highest number of all is one that only an entry has. */
  int highest = fcntl(level.read, F_DUPFD, 400);
  watch(stale, highest, EPOLLIN, 33);
  close(highest);

  /* A descriptor with a number of its own for the same list. */
  int alias = fcntl(list, F_DUPFD_CLOEXEC, 200);
  CHECK(fcntl(outer, F_SETFL, O_NONBLOCK) == 0, "F_SETFL");

  say("ready\n");
  wait_for_go();

  CHECK(fcntl(plain, F_GETFD) == 0 && fcntl(large, F_GETFD) == FD_CLOEXEC, "close-on-exec");
  CHECK(!(fcntl(large, F_GETFL) & O_NONBLOCK) && (fcntl(last, F_GETFL) & O_NONBLOCK), "O_NONBLOCK");
  CHECK((fcntl(plain, F_GETFL) & O_ACCMODE) == O_RDWR, "the access mode");
  struct pollfd asked[] = {{plain, POLLIN | POLLOUT, 0}, {last, POLLIN | POLLOUT, 0}, {large, POLLIN | POLLOUT, 0}};
  CHECK(poll(asked, 3, 0) == 3 && asked[0].revents == POLLOUT && asked[1].revents == POLLIN &&
            asked[2].revents == (POLLIN | POLLOUT), "poll of eventfds");
  CHECK(take(same) == LARGE, "the counter above 32 bits");
  CHECK(take(last) == LAST, "the highest counter");
  for (int i = 0; i < 3; i++) CHECK(report(list, 5) == EPOLLIN && take(semaphore) == 1, "the semaphore's unit %d", i);
  uint64_t value;
  CHECK(read(semaphore, &value, sizeof value) == -1 && errno == EAGAIN, "the semaphore has more than three units");
  add(plain, 7);
  CHECK(take(plain) == 7, "the counter that was 0");

  CHECK(entries(list) == 5 && entries(alias) == 5, "%d entries", entries(list));
  CHECK(report(list, 0x1111222233334444ull) == EPOLLIN, "the level");
  CHECK(report(alias, 0x1111222233334444ull) == EPOLLIN, "the level, again");
  CHECK(report(list, 2) == 0, "an edge that never was");
  CHECK(write(edge.write, "e", 1) == 1, "write");
  CHECK(report(list, 2) == EPOLLIN && report(list, 2) == 0, "the edge");
  CHECK(write(edge.write, "e", 1) == 1 && report(list, 2) == EPOLLIN, "the next edge");
  CHECK(report(list, 3) == 0 && write(quiet.write, "q", 1) == 1 && report(list, 3) == EPOLLIN, "the quiet pipe");
  CHECK(report(list, 4) == EPOLLHUP, "the pipe that has hung up");
  CHECK(watch_as(list, EPOLL_CTL_MOD, semaphore, EPOLLIN, 5) == -1 && errno == EINVAL, "EPOLLEXCLUSIVE");

  CHECK(entries(shots) == 3, "%d one-shot entries", entries(shots));
  close(fired.write);
  CHECK(report(shots, 11) == 0, "an entry that has fired fires again");
  add(plain, 1);
  CHECK(report(shots, 12) == 0, "an eventfd's entry that has fired fires again");
  CHECK(write(armed.write, "a", 1) == 1 && report(shots, 10) == EPOLLIN, "the entry that had not fired");
  CHECK(report(shots, 10) == 0, "it fires twice");
  CHECK(watch_as(shots, EPOLL_CTL_MOD, fired.read, EPOLLIN | EPOLLONESHOT, 13) == 0, "EPOLL_CTL_MOD");
  CHECK(report(shots, 13) == (EPOLLIN | EPOLLHUP), "the entry that was armed again");

  CHECK(report(outer, 22) == 0 && write(deep.write, "d", 1) == 1, "the nested lists");
  CHECK(report(outer, 22) == EPOLLIN && report(middle, 21) == EPOLLIN && report(inner, 20) == EPOLLIN, "the inner list");
  CHECK(fcntl(outer, F_GETFL) & O_NONBLOCK, "O_NONBLOCK of a list");

  CHECK(entries(stale) == 4, "%d entries of old numbers", entries(stale));
  CHECK(fcntl(closed_number, F_GETFD) == -1 && fcntl(highest, F_GETFD) == -1, "a number is open that was closed");
  CHECK(fcntl(reused_number, F_GETFD) == FD_CLOEXEC, "close-on-exec of the number that was used again");
  CHECK(report(stale, 33) == EPOLLIN, "the entry of the highest number");
  CHECK(write(closed.write, "c", 1) == 1 && report(stale, 30) == EPOLLIN, "the entry of a closed number");
  CHECK(write(reused.write, "r", 1) == 1 && report(stale, 31) == EPOLLIN && report(stale, 32) == 0, "the reused number's first");
  CHECK(write(other.write, "o", 1) == 1 && report(stale, 32) == EPOLLIN, "the reused number's second");
  CHECK(watch_as(stale, EPOLL_CTL_DEL, reused_number, 0, 0) == 0 && report(stale, 32) == 0, "EPOLL_CTL_DEL");
  CHECK(dup2(reused_is, reused_number) == reused_number, "dup2");
  CHECK(watch_as(stale, EPOLL_CTL_MOD, reused_number, 0, 0) == 0 && report(stale, 31) == 0, "EPOLL_CTL_MOD by the old number");
  CHECK(closed_is == 300, "dup");
  say("ok\n");
  return 0;
}
