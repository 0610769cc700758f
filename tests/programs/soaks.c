/*
 * A tree that works without end: a number goes round through a pipe, a thread, a UNIX socket, a child and a connection, and each of them
 * changes it, so that after so many rounds it has one value only. Meanwhile memory is allocated, looked at and freed, and timers
 * expire. Whenever there is a folder called "ask" in the working directory, it says how many rounds there have been and what the number is,
 * and removes the folder. With a number of rounds as argument it hurries, and stands still after so many: what it has allocated then is the same in
 * each run.
 */
#include "self-check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#define BLOCKS 400
#define MOST_BYTES 20000

static int to_thread[2], to_child[2], tcp[2];
static volatile unsigned ticks, signals;

static uint32_t changed(uint32_t number, uint32_t by) { return (number ^ by) * 16777619u + by; }

static void pass(int fd, uint32_t number) { CHECK(write(fd, &number, sizeof number) == sizeof number, "write: errno %d", errno); }

static uint32_t next(int fd) {
  uint32_t number;
  ssize_t length;
  do length = read(fd, &number, sizeof number);
  while (length < 0 && errno == EINTR);
  CHECK(length == sizeof number, "read: %zd, errno %d", length, errno);
  return number;
}

static void *be_between(void *unused) {
  (void)unused;
  for (;;) pass(to_child[0], changed(next(to_thread[0]), 2));
  return NULL;
}

static void *count_ticks(void *argument) {
  uint64_t expired;
  for (;;) {
    ssize_t length = read(*(int *)argument, &expired, sizeof expired);
    if (length == sizeof expired) ticks += (unsigned)expired;
    else CHECK(length < 0 && errno == EINTR, "a timer gives %zd", length);
  }
  return NULL;
}

static void count_signal(int signal) {
  (void)signal;
  signals++;
}

static void be_child(void) {
  CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "PR_SET_PDEATHSIG: errno %d", errno);
  for (;;) pass(tcp[0], changed(next(to_child[1]), 3));
}

static void connect_ends(void) {
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t length = sizeof here;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(bind(listener, (struct sockaddr *)&here, length) == 0 && listen(listener, 1) == 0, "listen: errno %d", errno);
  CHECK(getsockname(listener, (struct sockaddr *)&here, &length) == 0, "getsockname: errno %d", errno);
  tcp[0] = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(connect(tcp[0], (struct sockaddr *)&here, length) == 0, "connect: errno %d", errno);
  tcp[1] = accept(listener, NULL, NULL);
  CHECK(tcp[1] >= 0 && close(listener) == 0, "accept: errno %d", errno);
}

static void start_timers(int *timer) {
  struct itimerspec often = {{0, 10000000}, {0, 10000000}};
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
  struct sigaction action = {.sa_handler = count_signal, .sa_flags = SA_RESTART};
  timer_t made;
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && timer_create(CLOCK_MONOTONIC, &event, &made) == 0, "a timer: errno %d", errno);
  *timer = timerfd_create(CLOCK_MONOTONIC, 0);
  CHECK(timer_settime(made, 0, &often, NULL) == 0 && timerfd_settime(*timer, 0, &often, NULL) == 0, "timers: errno %d", errno);
}

static struct block {
  unsigned char *bytes;
  size_t size;
  unsigned char value;
} blocks[BLOCKS];

/* A block is looked at and freed, and another one of another size takes its place. */
static void churn(uint32_t number) {
  struct block *block = &blocks[number % BLOCKS];
  for (size_t i = 0; i < block->size; i++) CHECK(block->bytes[i] == block->value, "byte %zu of a block is %d", i, block->bytes[i]);
  free(block->bytes);
  block->size = number / BLOCKS % MOST_BYTES + 1;
  block->value = (unsigned char)(number >> 24);
  block->bytes = malloc(block->size);
  CHECK(block->bytes != NULL, "no memory");
  memset(block->bytes, block->value, block->size);
}

static void answer(unsigned rounds, uint32_t number) {
  char text[128];
  snprintf(text, sizeof text, "round %u number %u ticks %u signals %u\n", rounds, number, ticks, signals);
  say(text);
  CHECK(rmdir("ask") == 0, "rmdir: errno %d", errno);
}

int main(int count, char **arguments) {
  unsigned enough = count > 1 ? (unsigned)atoi(arguments[1]) : 0;
  static int timer;
  pthread_t threads[2];
  CHECK(pipe(to_thread) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, to_child) == 0, "pairs: errno %d", errno);
  connect_ends();
  pid_t child = fork();
  if (child == 0) be_child();
  CHECK(child > 0, "fork: errno %d", errno);
  start_timers(&timer);
  CHECK(pthread_create(&threads[0], NULL, be_between, NULL) == 0, "pthread_create");
  CHECK(pthread_create(&threads[1], NULL, count_ticks, &timer) == 0, "pthread_create");
  say("ready\n");
  uint32_t number = 1;
  struct timespec moment = {0, 500000};
  for (unsigned rounds = 0; !may_go(); rounds++) {
    if (access("ask", F_OK) == 0) answer(rounds, number);
    pass(to_thread[1], changed(number, 1));
    number = next(tcp[1]);
    churn(number);
    if (enough == 0) nanosleep(&moment, NULL);
    if (rounds + 1 == enough) {
      say("enough\n");
      wait_for_go();
    }
  }
  say("ok\n");
  return 0;
}
