/*
 * Threads that each stand in one call of a socket, or wait for a child. None may return before it is served, and each must return
 * what its caller has asked for. Two sockets have a timeout, which makes a stop answer EINTR (signal(7)).
 */
#include "self-check.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>

static int quiet[2], timed[2], full[2], full_timed[2], listener;
static struct sockaddr_un place = {.sun_family = AF_UNIX, .sun_path = "listener"};
static atomic_int may_return, inside;
static pid_t child;

static void returned(const char *call) { CHECK(atomic_load(&may_return), "%s returned too early, errno %d", call, errno); }

static void *in_recv(void *ends) {
  char byte;
  inside++;
  ssize_t count = recv(((int *)ends)[0], &byte, 1, 0);
  returned("recv");
  CHECK(count == 1 && byte == 'r', "recv returned %zd, errno %d", count, errno);
  return NULL;
}

static void *in_recvmsg(void *ends) {
  char bytes[2] = "";
  struct iovec vector = {bytes, 2};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
  inside++;
  ssize_t count = recvmsg(((int *)ends)[1], &message, MSG_WAITALL);
  returned("recvmsg");
  CHECK(count == 2 && bytes[0] == 'a' && bytes[1] == 'b', "recvmsg returned %zd, errno %d", count, errno);
  return NULL;
}

static void *in_send(void *ends) {
  inside++;
  /* It may find room in a new process: how much a queue takes depends on how it was filled. */
  ssize_t count = send(((int *)ends)[1], "s", 1, 0);
  CHECK(count == 1, "send returned %zd, errno %d", count, errno);
  return NULL;
}

static void *in_accept(void *unused) {
  inside++;
  int accepted = accept(listener, NULL, NULL);
  returned("accept");
  CHECK(accepted >= 0, "accept: errno %d", errno);
  close(accepted);
  return unused;
}

static void *in_wait4(void *unused) {
  int status = -1;
  inside++;
  pid_t ended = wait4(child, &status, 0, NULL);
  returned("wait4");
  CHECK(ended == child && WIFEXITED(status) && WEXITSTATUS(status) == 7, "wait4 returned %d, errno %d", ended, errno);
  return unused;
}

static void end_with_seven(int number) {
  (void)number;
  _exit(7);
}

static void fill(int end) {
  static char block[4096];
  while (send(end, block, sizeof block, MSG_DONTWAIT) > 0) continue;
}

static void drain(int end) {
  static char block[65536];
  while (recv(end, block, sizeof block, MSG_DONTWAIT) > 0) continue;
}

enum { THREADS = 7 };

int main(void) {
  pthread_t threads[THREADS];
  struct timeval limit = {1000, 0};
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, quiet) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, timed) == 0, "socketpair");
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, full) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, full_timed) == 0, "socketpair");
  CHECK(setsockopt(timed[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0, "SO_RCVTIMEO: errno %d", errno);
  CHECK(setsockopt(full_timed[1], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0, "SO_SNDTIMEO: errno %d", errno);
  fill(full[1]);
  fill(full_timed[1]);
  listener = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK(bind(listener, (void *)&place, sizeof place) == 0 && listen(listener, 4) == 0, "listen: errno %d", errno);
  signal(SIGUSR1, end_with_seven);
  child = fork();
  if (child == 0) {
    for (int i = 0; i < PATIENCE; i++) usleep(2000);
    _exit(1);
  }
  CHECK(child > 0, "fork: errno %d", errno);
  struct { void *(*body)(void *); void *argument; } works[THREADS] = {
      {in_recv, quiet}, {in_recv, timed}, {in_recvmsg, quiet}, {in_send, full}, {in_send, full_timed}, {in_accept, NULL}, {in_wait4, NULL}};
  for (int i = 0; i < THREADS; i++)
    CHECK(pthread_create(&threads[i], NULL, works[i].body, works[i].argument) == 0, "pthread_create");
  while (atomic_load(&inside) < THREADS) usleep(1000);
  usleep(50000);
  say("ready\n");
  wait_for_go();
  atomic_store(&may_return, 1);
  CHECK(kill(child, SIGUSR1) == 0, "kill: errno %d", errno);
  CHECK(send(quiet[1], "r", 1, 0) == 1 && send(timed[1], "r", 1, 0) == 1 && send(quiet[0], "ab", 2, 0) == 2, "send: errno %d", errno);
  drain(full[0]);
  drain(full_timed[0]);
  int visitor = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK(connect(visitor, (void *)&place, sizeof place) == 0, "connect: errno %d", errno);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  unlink(place.sun_path);
  say("ok\n");
  return 0;
}
