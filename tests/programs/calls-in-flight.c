/*
 * Threads that each stand in one system call. None may return before it is woken, and each must return what its caller
 * has asked for.
 */
#include "self-check.h"
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <sys/time.h>

static int quiet[2], full_pipe[2], interest, holder, semaphores, queue;
static atomic_int futex_word, may_return, inside;
static struct timespec begun;

static void on_usr1(int number) { (void)number; }

static void returned(const char *call) { CHECK(atomic_load(&may_return), "%s returned too early, errno %d", call, errno); }

static void *in_read(void *unused) {
  (void)unused;
  char byte;
  inside++;
  ssize_t count = read(quiet[0], &byte, 1);
  returned("read");
  CHECK(count == 1 && byte == 'r', "read returned %zd", count);
  return NULL;
}

static void *in_write(void *unused) {
  (void)unused;
  inside++;
  ssize_t count = write(full_pipe[1], "w", 1);
  returned("write");
  CHECK(count == 1, "write returned %zd, errno %d", count, errno);
  return NULL;
}

static void *in_futex(void *timeout) {
  inside++;
  long result = timeout ? syscall(SYS_futex, &futex_word, FUTEX_WAIT_BITSET, 0, timeout, NULL, FUTEX_BITSET_MATCH_ANY)
                        : syscall(SYS_futex, &futex_word, FUTEX_WAIT, 0, NULL, NULL, 0);
  returned("futex");
  CHECK(result == 0, "futex returned %ld, errno %d", result, errno);
  return NULL;
}

static void *in_nanosleep(void *unused) {
  (void)unused;
  struct timespec wanted = {1000, 0}, left = {0, 0};
  inside++;
  int result = nanosleep(&wanted, &left);
  returned("nanosleep");
  CHECK(result == -1 && errno == EINTR && left.tv_sec > 800 && left.tv_sec < 1000, "nanosleep returned %d, %ld s left", result, left.tv_sec);
  return NULL;
}

static void *in_short_sleep(void *unused) {
  (void)unused;
  struct timespec wanted = {1, 500000000}, now;
  inside++;
  int result = nanosleep(&wanted, NULL);
  clock_gettime(CLOCK_MONOTONIC, &now);
  long long took = (now.tv_sec - begun.tv_sec) * 1000000000LL + now.tv_nsec - begun.tv_nsec;
  CHECK(result == 0 && took >= 1500000000LL, "a sleep of 1.5 s returned %d after %lld ns", result, took);
  return NULL;
}

static void *in_absolute_sleep(void *unused) {
  (void)unused;
  struct timespec wanted;
  clock_gettime(CLOCK_MONOTONIC, &wanted);
  wanted.tv_sec += 1000;
  inside++;
  int result = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wanted, NULL);
  returned("clock_nanosleep");
  CHECK(result == EINTR, "clock_nanosleep returned %d", result);
  return NULL;
}

static void *in_pause(void *unused) {
  (void)unused;
  inside++;
  int result = pause();
  returned("pause");
  CHECK(result == -1 && errno == EINTR, "pause returned %d", result);
  return NULL;
}

static void *in_poll(void *unused) {
  (void)unused;
  struct pollfd entry = {quiet[0], POLLIN, 0};
  inside++;
  int result = poll(&entry, 1, -1);
  returned("poll");
  CHECK(result == 1 && entry.revents == POLLIN, "poll returned %d, errno %d", result, errno);
  return NULL;
}

static void *in_ppoll(void *unused) {
  (void)unused;
  struct pollfd entry = {quiet[0], POLLIN, 0};
  struct timespec limit = {1000, 0};
  sigset_t none;
  sigemptyset(&none);
  inside++;
  int result = ppoll(&entry, 1, &limit, &none);
  returned("ppoll");
  CHECK(result == 1, "ppoll returned %d, errno %d", result, errno);
  return NULL;
}

static void *in_select(void *unused) {
  (void)unused;
  fd_set set;
  FD_ZERO(&set);
  FD_SET(quiet[0], &set);
  inside++;
  int result = select(quiet[0] + 1, &set, NULL, NULL, NULL);
  returned("select");
  CHECK(result == 1 && FD_ISSET(quiet[0], &set), "select returned %d, errno %d", result, errno);
  return NULL;
}

static void *in_sigsuspend(void *unused) {
  (void)unused;
  sigset_t all, but_usr1, now;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, NULL);
  sigfillset(&but_usr1);
  sigdelset(&but_usr1, SIGUSR1);
  inside++;
  int result = sigsuspend(&but_usr1);
  returned("sigsuspend");
  pthread_sigmask(SIG_SETMASK, NULL, &now);
  CHECK(result == -1 && errno == EINTR && sigismember(&now, SIGUSR1), "sigsuspend returned %d", result);
  return NULL;
}

static void *in_sigwaitinfo(void *unused) {
  (void)unused;
  sigset_t wanted;
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &wanted, NULL);
  inside++;
  int result = sigwaitinfo(&wanted, NULL);
  returned("sigwaitinfo");
  CHECK(result == SIGUSR1, "sigwaitinfo returned %d, errno %d", result, errno);
  return NULL;
}

static void *in_epoll_wait(void *unused) {
  (void)unused;
  struct epoll_event event;
  inside++;
  int result = epoll_wait(interest, &event, 1, -1);
  returned("epoll_wait");
  CHECK(result == 1 && event.events == EPOLLIN, "epoll_wait returned %d, errno %d", result, errno);
  return NULL;
}

static void *in_flock(void *unused) {
  (void)unused;
  int other = open("locked", O_RDWR);
  CHECK(other >= 0, "open: errno %d", errno);
  inside++;
  int result = flock(other, LOCK_EX);
  returned("flock");
  CHECK(result == 0, "flock returned %d, errno %d", result, errno);
  close(other);
  return NULL;
}

static void *in_record_lock(void *unused) {
  (void)unused;
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  int other = open("locked", O_RDWR);
  CHECK(other >= 0, "open: errno %d", errno);
  inside++;
  int result = fcntl(other, F_OFD_SETLKW, &whole);
  returned("F_OFD_SETLKW");
  CHECK(result == 0, "F_OFD_SETLKW returned %d, errno %d", result, errno);
  close(other);
  return NULL;
}

static void *in_semop(void *unused) {
  (void)unused;
  struct sembuf down = {0, -1, 0};
  inside++;
  int result = semop(semaphores, &down, 1);
  returned("semop");
  CHECK(result == 0, "semop returned %d, errno %d", result, errno);
  return NULL;
}

struct message {
  long kind;
  char text[8];
};

static void *in_msgrcv(void *unused) {
  (void)unused;
  struct message got;
  inside++;
  ssize_t result = msgrcv(queue, &got, sizeof got.text, 0, 0);
  returned("msgrcv");
  CHECK(result == 3 && got.kind == 7 && memcmp(got.text, "abc", 3) == 0, "msgrcv returned %zd, errno %d", result, errno);
  return NULL;
}

enum { THREADS = 18 };
static struct timespec far_away;
static void *(*const bodies[THREADS])(void *) = {in_read,  in_write, in_futex,  in_futex,  in_nanosleep,  in_short_sleep, in_absolute_sleep,
                                                 in_pause, in_poll,  in_ppoll,  in_select, in_sigsuspend, in_sigwaitinfo, in_epoll_wait, in_flock, in_record_lock,
                                                 in_semop, in_msgrcv};

static void make_what_they_wait_for(void) {
  struct epoll_event watched = {.events = EPOLLIN};
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  CHECK((interest = epoll_create1(0)) >= 0 && epoll_ctl(interest, EPOLL_CTL_ADD, quiet[0], &watched) == 0, "epoll: errno %d", errno);
  CHECK((holder = open("locked", O_RDWR | O_CREAT, 0600)) >= 0 && flock(holder, LOCK_EX) == 0, "flock: errno %d", errno);
  CHECK(fcntl(holder, F_OFD_SETLK, &whole) == 0, "F_OFD_SETLK: errno %d", errno);
  CHECK((semaphores = semget(IPC_PRIVATE, 1, 0600)) >= 0 && (queue = msgget(IPC_PRIVATE, 0600)) >= 0, "System V: errno %d", errno);
}

static void give_what_they_wait_for(void) {
  struct sembuf up = {0, 1, 0};
  struct message sent = {7, "abc"};
  CHECK(semop(semaphores, &up, 1) == 0, "semop: errno %d", errno);
  CHECK(msgsnd(queue, &sent, 3, 0) == 0, "msgsnd: errno %d", errno);
  close(holder);
}

int main(void) {
  pthread_t threads[THREADS];
  signal(SIGUSR1, on_usr1);
  CHECK(pipe(quiet) == 0 && pipe(full_pipe) == 0, "pipe");
  fcntl(full_pipe[1], F_SETFL, O_NONBLOCK);
  for (char block[4096]; write(full_pipe[1], block, sizeof block) > 0;) continue;
  fcntl(full_pipe[1], F_SETFL, 0);
  make_what_they_wait_for();
  clock_gettime(CLOCK_MONOTONIC, &far_away);
  begun = far_away;
  far_away.tv_sec += 1000;
  for (int i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, bodies[i], i == 3 ? &far_away : NULL) == 0, "pthread_create");
  while (atomic_load(&inside) < THREADS) usleep(1000);
  usleep(50000);
  say("ready\n");
  wait_for_go();
  atomic_store(&may_return, 1);
  atomic_store(&futex_word, 1);
  char block[4096];
  CHECK(read(full_pipe[0], block, sizeof block) == sizeof block, "read");
  syscall(SYS_futex, &futex_word, FUTEX_WAKE, 100, NULL, NULL, 0);
  for (int i = 0; i < 4; i++) {
    static const int signalled[] = {4, 6, 7, 11};
    pthread_kill(threads[signalled[i]], SIGUSR1);
  }
  pthread_kill(threads[12], SIGUSR1);
  /* The pollers only look: the reader takes the byte last. */
  CHECK(write(quiet[1], "rrrr", 4) == 4, "write");
  give_what_they_wait_for();
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  semctl(semaphores, 0, IPC_RMID);
  msgctl(queue, IPC_RMID, NULL);
  say("ok\n");
  return 0;
}
