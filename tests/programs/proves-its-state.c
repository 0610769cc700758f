/*
 * A process of several threads and its child, with sockets of both kinds, pipes, events, timers, and every kind of shared memory. Whenever
 * there is a folder called "ask" in the working directory, all of it is tried and looked at, and the folder is removed.
 */
#include "self-check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#define PAGE 4096
#define THREADS 3
#define MEMORIES 3
#define STANDING "standing"

/* Shared with the child: what is asked, what it has answered, and that it shall end. */
static struct board {
  volatile unsigned asked, answered;
  volatile int may_end;
} *board;

static unsigned char *memories[MEMORIES];
static int tcp[2], unix_ends[2], ends[2], event, timer, events;
static volatile unsigned turns[THREADS];
static volatile int may_end;
static unsigned round_number;

static void nap(void) {
  struct timespec moment = {0, 2000000}, left = moment;
  while (nanosleep(&left, &left) != 0) CHECK(errno == EINTR, "nanosleep: errno %d", errno);
}

static void *take_turns(void *argument) {
  long own = (long)argument;
  unsigned char pattern[512];
  memset(pattern, 0x60 + (int)own, sizeof pattern);
  while (!may_end) {
    for (size_t i = 0; i < sizeof pattern; i++) CHECK(pattern[i] == 0x60 + own, "byte %zu of thread %ld is %d", i, own, pattern[i]);
    turns[own]++;
    nap();
  }
  return NULL;
}

static void make_memories(void) {
  int memfd = memfd_create("shared", 0);
  CHECK(memfd >= 0 && ftruncate(memfd, 2 * PAGE) == 0, "memfd: errno %d", errno);
  memories[0] = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
  memories[1] = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  int id = shmget(IPC_PRIVATE, 2 * PAGE, 0600);
  CHECK(id >= 0, "shmget: errno %d", errno);
  memories[2] = shmat(id, NULL, 0);
  CHECK(memories[2] != (void *)-1 && shmctl(id, IPC_RMID, NULL) == 0, "a segment: errno %d", errno);
  for (int which = 0; which < MEMORIES; which++) CHECK(memories[which] != MAP_FAILED, "mmap: errno %d", errno);
  for (int which = 0; which < MEMORIES; which++) memset(memories[which], which, 2 * PAGE);
}

static void make_sockets(void) {
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t length = sizeof here;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(bind(listener, (struct sockaddr *)&here, length) == 0 && listen(listener, 1) == 0, "listen: errno %d", errno);
  CHECK(getsockname(listener, (struct sockaddr *)&here, &length) == 0, "getsockname: errno %d", errno);
  tcp[0] = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(connect(tcp[0], (struct sockaddr *)&here, length) == 0, "connect: errno %d", errno);
  tcp[1] = accept(listener, NULL, NULL);
  CHECK(tcp[1] >= 0, "accept: errno %d", errno);
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, unix_ends) == 0 && pipe(ends) == 0, "pairs: errno %d", errno);
}

static void make_events(void) {
  struct itimerspec far = {.it_value = {86400, 0}};
  struct epoll_event of_event = {.events = EPOLLIN, .data = {.u32 = 77}};
  event = eventfd(0, 0);
  timer = timerfd_create(CLOCK_MONOTONIC, 0);
  events = epoll_create1(0);
  CHECK(timerfd_settime(timer, 0, &far, NULL) == 0, "timerfd: errno %d", errno);
  CHECK(epoll_ctl(events, EPOLL_CTL_ADD, event, &of_event) == 0, "epoll: errno %d", errno);
}

static void put(int fd) { CHECK(write(fd, STANDING, sizeof STANDING) == sizeof STANDING, "write to %d: errno %d", fd, errno); }

static void take(int fd, const char *what) {
  char text[sizeof STANDING] = "";
  CHECK(read(fd, text, sizeof text) == sizeof text && memcmp(text, STANDING, sizeof text) == 0, "%s has %.8s", what, text);
}

/* What stands in them always: it is taken out, looked at, and put in again. */
static void fill_queues(void) {
  put(tcp[0]);
  put(tcp[1]);
  put(unix_ends[0]);
  put(ends[1]);
}

static void prove_queues(void) {
  take(tcp[1], "the connection");
  take(tcp[0], "its other direction");
  take(unix_ends[1], "the UNIX socket");
  take(ends[0], "the pipe");
  fill_queues();
}

static void prove_events(void) {
  struct epoll_event told = {0};
  unsigned long long count = 3;
  struct itimerspec left;
  CHECK(epoll_wait(events, &told, 1, 0) == 0, "an event that nobody made");
  CHECK(write(event, &count, sizeof count) == sizeof count, "eventfd: errno %d", errno);
  CHECK(epoll_wait(events, &told, 1, 0) == 1 && told.data.u32 == 77, "epoll tells of %u", told.data.u32);
  CHECK(read(event, &count, sizeof count) == sizeof count && count == 3, "the event counts %llu", count);
  CHECK(timerfd_gettime(timer, &left) == 0 && left.it_value.tv_sec > 80000, "the timer has %ld s left", (long)left.it_value.tv_sec);
}

static void prove_threads(void) {
  for (int which = 0; which < THREADS; which++) {
    unsigned before = turns[which];
    for (int i = 0; i < PATIENCE && turns[which] == before; i++) nap();
    CHECK(turns[which] != before, "thread %d stands still", which);
  }
}

/* Both write what the other reads, in all memories. */
static void prove_memories(void) {
  round_number++;
  for (int which = 0; which < MEMORIES; which++) memories[which][PAGE + 1] = (unsigned char)(round_number + which);
  board->asked = round_number;
  for (int i = 0; i < PATIENCE && board->answered != round_number; i++) nap();
  CHECK(board->answered == round_number, "the child does not answer");
  for (int which = 0; which < MEMORIES; which++) {
    CHECK(memories[which][7] == (unsigned char)(round_number * 3 + which), "memory %d: the child has written %d", which, memories[which][7]);
  }
}

static void be_child(void) {
  CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "PR_SET_PDEATHSIG: errno %d", errno);
  while (!board->may_end) {
    unsigned asked = board->asked;
    if (asked != board->answered) {
      for (int which = 0; which < MEMORIES; which++) {
        CHECK(memories[which][PAGE + 1] == (unsigned char)(asked + which), "memory %d: there is %d", which, memories[which][PAGE + 1]);
        memories[which][7] = (unsigned char)(asked * 3 + which);
      }
      board->answered = asked;
    }
    nap();
  }
  _exit(7);
}

int main(void) {
  board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(board != MAP_FAILED, "mmap: errno %d", errno);
  make_memories();
  make_sockets();
  make_events();
  fill_queues();
  pid_t child = fork();
  if (child == 0) be_child();
  CHECK(child > 0, "fork: errno %d", errno);
  pthread_t threads[THREADS];
  for (long which = 0; which < THREADS; which++) {
    CHECK(pthread_create(&threads[which], NULL, take_turns, (void *)which) == 0, "pthread_create");
  }
  prove_threads();
  say("ready\n");
  for (int i = 0; i < PATIENCE && !may_go(); i++) {
    nap();
    if (access("ask", F_OK) != 0) continue;
    prove_queues();
    prove_events();
    prove_threads();
    prove_memories();
    CHECK(rmdir("ask") == 0, "rmdir: errno %d", errno);
    i = 0;
  }
  CHECK(may_go(), "nobody told me to go on");
  board->may_end = may_end = 1;
  for (int which = 0; which < THREADS; which++) pthread_join(threads[which], NULL);
  int status;
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7, "the child ended with %x", status);
  say("ok\n");
  return 0;
}
